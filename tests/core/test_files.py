"""Files are there whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdpn_core import files
from tdpn_core.errors import TdpnError


def test_a_written_file_has_its_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "deep" / "file", b"content")
    assert (tmp_path / "deep" / "file").read_bytes() == b"content"
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["file"]


def test_an_exception_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    files.write_text(target, "old")

    def write() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write()
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_disk_is_an_error_with_the_files_name_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    target = tmp_path / "file"
    files.write_text(target, "old")

    def fail(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(TdpnError, match=os.strerror(code)) as caught:
        files.write_text(target, "new")
    assert caught.value.where == target
    assert ("free some space" in str(caught.value)) == (code == errno.ENOSPC)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_killed_writer_leaves_the_old_file_and_a_stray_that_sweep_removes(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "old")
    child = """
import os, signal, sys
from pathlib import Path
from tdpn_core import files
with files.atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", child, str(tmp_path / "file")], check=False).returncode == -9
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    files.sweep(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_json_refuses_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_digests_of_bytes_and_files_agree(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert files.digest_file(tmp_path / "file") == files.digest(b"abc")
    assert files.digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
