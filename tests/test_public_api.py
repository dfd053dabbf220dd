"""The Python API: each public name is there, documented and typed, and the command line uses only these names."""

import ast
import importlib.util
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdpn_core

ROOT = Path(__file__).parents[1]
FUNCTIONS = [
    "ablate",
    "bench_models",
    "compare",
    "draw_clips",
    "evaluate",
    "evaluate_timeline",
    "export",
    "extract_archive",
    "fetch_weights",
    "inspect_data",
    "predict",
    "predict_archive",
    "prepare",
    "push",
    "review_labels",
    "train",
    "understand",
]

HELPERS = {
    # light modules that options, messages and exit codes are made of
    "defaults",
    "errors",
    "modality",
    "offline",
    "progress",
    "process_exit",
    "startup_signals",
    # one command in several processes
    "distributed.command",
    "distributed.exit_reports",
    # results as text, tables and plain values
    "ablation.statistics",
    "ablation.tables",
    "evaluation.report",
    "evaluation.report.compared",
    "evaluation.report.multilabel",
    "evaluation.report.text",
    "evaluation.timeline",
    "evaluation.timeline_report",
    "prediction.results",
    "prep.inspect",
    "prep.overview",
    "weights.resolve",
    "weights.zoo",
    "wording",
}
"""Modules that the command line may import from besides the public names, by what it needs them for."""


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Each name that a file imports from `tdpn_core`, with the module below it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tdpn_core":
            yield from (((node.module or "").partition(".")[2], alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("tdpn_core.")]
            yield from ((name.partition(".")[2], "") for name in names)


def test_command_line_imports_only_public_names_and_listed_helpers() -> None:
    files = sorted((ROOT / "tdpn_cli").glob("*.py"))
    found = [(path.name, *one) for path in files for one in _imports(path)]
    strange = [
        f"{file}: {module or 'tdpn_core'}.{name}"
        for file, module, name in found
        if (module or name) not in HELPERS and not (not module and name in tdpn_core.__all__)
    ]
    assert not strange
    used = {module or name for _, module, name in found}
    assert used >= HELPERS, f"no longer used: {sorted(HELPERS - used)}"


def test_command_line_names_of_the_package_are_public() -> None:
    """`tdpn_core.train(...)` after `import tdpn_core`."""
    named = {
        (path.name, node.attr)
        for path in (ROOT / "tdpn_cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tdpn_core"
    }
    assert len(named) > 20
    assert not [(file, name) for file, name in named if name not in tdpn_core.__all__]


def test_public_names_are_the_same_for_type_checkers_and_at_run_time() -> None:
    tree = ast.parse(Path(tdpn_core.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {
        alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown == {name: f"tdpn_core.{module}" for name, module in tdpn_core._HOME.items()}
    assert {*shown, "__version__"} == set(tdpn_core.__all__)


def test_public_names_are_imported_on_first_use_only() -> None:
    check = (
        "import sys, tdpn_core; dir(tdpn_core); tdpn_core.TrainOverrides; tdpn_core.ScoreOptions\n"
        "heavy = {'torch', 'pandas', 'h5py'} & set(sys.modules); assert not heavy, heavy\n"
        "for name in tdpn_core.__all__: getattr(tdpn_core, name)\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("name", [name for name in tdpn_core.__all__ if name != "__version__"])
def test_public_name_is_documented(name: str) -> None:
    value = getattr(tdpn_core, name)
    assert inspect.getdoc(value)
    assert not (inspect.isclass(value) and (value.__doc__ or "").startswith(f"{name}("))  # what dataclasses write


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_a_command_documents_every_argument_and_is_typed(name: str) -> None:
    function = getattr(tdpn_core, name)
    doc = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters
    undocumented = [parameter for parameter in parameters if f"\n    {parameter}: " not in doc]
    assert not undocumented
    assert all(section in doc for section in ("Args:", "Raises:"))
    assert "Returns:" in doc or "Yields:" in doc
    assert all(parameter.annotation not in (inspect.Parameter.empty, typing.Any) for parameter in parameters.values())
    assert not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        tdpn_core.trian  # noqa: B018


def test_walkthrough_goes_from_videos_to_an_exported_network(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("walkthrough", ROOT / "docs" / "walkthrough.py")
    assert spec is not None
    assert spec.loader is not None
    walkthrough = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(walkthrough)
    exported = walkthrough.main(tmp_path, clips=2, epochs=1, export_format="pt2")
    assert exported.path == tmp_path / "network.pt2"
    assert exported.check.difference < 1e-4
    assert (tmp_path / "run" / "eval-val-1x1" / "report.html").exists()
