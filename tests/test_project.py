"""What the project promises about itself: documentation that cannot rot, and rules that hold everywhere."""

import functools
import re
import shlex
import sys
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FORBIDDEN = {
    "pickles are not read or written": r"\bpickle\b|torch\.load|torch\.save",
    "no text is run as code": r"(?<![\w.])(eval|exec)\(",
    "no shell": r"shell=True|os\.system|os\.popen",
    "artefacts are written by files.py only": r"(?<!files)\.write_(text|bytes)\(|save_file\(",
    "nothing is unfinished": r"\bTODO\b|\bFIXME\b|NotImplementedError",
}
EXCEPTIONS = {
    "artefacts are written by files.py only": {
        "tdpn_core/files.py",
        "tdpn_core/checkpoint.py",  # safetensors' own function, into the writer's temporary file
        "tdpn_core/evaluation/array_file.py",  # likewise
        "tdpn_core/claim.py",  # the name of the process in a lock file, which is no artefact
    },
    "pickles are not read or written": {
        "tdpn_core/weights/safe_load.py",  # foreign checkpoints, with weights_only=True, which its tests attack
        "tdpn_core/sampling/transport.py",  # between the processes of one run, over a socket that only they have
    },
}
GROUPS = {"bench"}  # commands that have commands of their own


def _commands() -> list[list[str]]:
    """Every `tdpn` command line of the documentation."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
        inline = re.findall(r"`(tdpn [^`]+)`", page.read_text())
        for line in "\n".join([*blocks, *inline]).splitlines():
            for part in line.partition("#")[0].split("&&"):
                words = shlex.split(part)
                if words[:1] == ["tdpn"] and not words[1].startswith("-"):
                    found.append(words[1:])
    return found


@functools.cache
def _help_page(*name: str) -> str:
    command = [sys.executable, "-m", "tdpn_cli", *name, "--help"]
    return warm.run(command, check=True, cwd=ROOT).stdout


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_documented_command_and_option_exists(words: list[str]) -> None:
    name = words[: 2 if words[0] in GROUPS else 1]
    page = _help_page(*name)
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", page), f"{' '.join(name)} has no {option}"


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_a_rule_holds_in_every_module(rule: str) -> None:
    modules = [path for package in ("tdpn_core", "tdpn_cli") for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 50
    broken = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in modules
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(FORBIDDEN[rule], line) and str(path.relative_to(ROOT)) not in EXCEPTIONS.get(rule, set())
    ]
    assert not broken


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{page.name} -> {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not dead


def test_pages_paths_of_the_repository_exist() -> None:
    named = {
        (page.name, path.rstrip("."))
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        for path in re.findall(r"\b(?:tdpn_core|tdpn_cli|tests|benchmarks)/[\w./-]+", page.read_text())
    }
    assert len(named) > 10
    assert not [(page, path) for page, path in sorted(named) if not (ROOT / path).exists()]
