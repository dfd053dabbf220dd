"""Rar: the outside program is not believed."""

import random
import shutil
import stat
from pathlib import Path

import pytest
from stored_rar import pretend, rar

from tdpn_core.download import ArchiveLimits, extract
from tdpn_core.download import rar as module
from tdpn_core.errors import TdpnError, ToolError

rarfile = pytest.importorskip("rarfile", reason="needs the package rarfile")

CLIP = random.Random(2).randbytes(70_000)
MEMBERS = {"UCF-101/A b/v_&!(1).avi": CLIP, "UCF-101/C/[x]*.avi": CLIP[::-1], "UCF-101/C/empty.avi": b""}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "-archive.rar"
    path.write_bytes(rar(("UCF-101/", b""), *MEMBERS.items()))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", ["unrar", "unar", "7zz", "7z", "bsdtar"])
def test_extract_of_a_rar_with_a_real_program(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs the program {program}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / program).symlink_to(path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    try:
        got = extract(archive, tmp_path / "out")
    except ToolError as error:
        if "Cannot open the file as archive" in str(error):
            pytest.skip(f"this {program} was built without rar")
        raise
    assert tree(tmp_path / "out") == MEMBERS
    assert len(got) == 3


def test_extract_of_a_rar_gives_its_files(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "unrar").parent))
    extract(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == MEMBERS
    assert stat.S_IMODE((tmp_path / "out/UCF-101/C/empty.avi").stat().st_mode) & ~0o644 == 0


LIES = {
    "other bytes": ("write(b'x' + content[1:])", r"unrar: 'UCF-101/A b/v_&!\(1\).avi' has checksum"),
    "too few": ("write(content[:-1])", "its output ends early"),
    "too many": ("write(content + b'x')", "its output is longer than the archive's list"),
    "exit code": (
        "write(content); print('CRC failed', file=sys.stderr); sys.exit(3)",
        "exit code 3; its message: CRC failed",
    ),
    "silence": ("write(content[:9]); sys.stdout.flush(); time.sleep(60)", "no output for 0.5 s"),
}


@pytest.mark.parametrize("lie", LIES)
def test_extract_by_a_lying_program_is_an_error(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    monkeypatch.setattr(module, "_SILENCE", 0.5 if lie == "silence" else 30)
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "unrar", LIES[lie][0]).parent))
    with pytest.raises(ToolError, match=LIES[lie][1]):
        extract(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-archive.rar", "bin"]


def test_extract_where_one_program_fails_tries_the_next(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path / "bin", "unrar", "write(content[:-5])")
    pretend(tmp_path / "bin", "bsdtar")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    extract(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == MEMBERS


ATTACKS = {
    "parent": (rar(("ok", CLIP), ("../evil", CLIP)), "leads out of the archive"),
    "absolute": (rar(("/evil", CLIP)), "has no relative name"),
    "link": (rar(("l", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "'l' is a link"),
    "cut": (rar(("a", CLIP), ("b", CLIP))[:-60_000], "damaged|ends early"),
    "no rar": (b"Rar!\x1a\x07\x00" + b"x" * 100, "damaged"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_before_a_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content, text = ATTACKS[name]
    pretend(tmp_path / "bin", "unrar", f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "a.rar").write_bytes(content)
    with pytest.raises(TdpnError, match=text):
        extract(tmp_path / "a.rar", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "ran") == ["a.rar", "bin"]
    assert name == "cut" or not (tmp_path / "ran").exists()


def test_extract_beyond_a_limit_is_refused(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path / "bin", "unrar")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(TdpnError, match="more than 2 members"):
        extract(archive, tmp_path / "out", limits=ArchiveLimits(max_members=2))


def test_extract_of_a_rar_without_a_program_says_what_to_install(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"need a program that unpacks them.*install one of the programs unrar"):
        extract(archive, tmp_path / "out")
