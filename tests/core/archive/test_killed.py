"""What a killed process or a lost node costs: no clip is lost, none is doubled."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import warm
from counting import Count, started_by

from tdpn_core.archive import ArchiveFiles, ArchiveResult, parts, run_archive
from tdpn_core.claim import claimed
from tdpn_core.errors import DatasetError, InUseError, Stopped
from tdpn_core.progress import Silent
from tdpn_core.video.inputs import find_inputs

FILES = 200


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:03}.mp4").touch()
    return folder


def _run(videos: Path, table: Path, notes: Path, waits: str = "", **where: Any) -> ArchiveResult:
    clips = find_inputs([videos])
    result = run_archive(Count(notes, waits), clips, ArchiveFiles(table), command="tdpn predict", gpus=0, **where)
    assert result is not None
    return result


class Stopping(Silent):
    """Sends SIGTERM to this process after some clips."""

    def __init__(self, clips: int) -> None:
        self.left = clips

    def advance(self, steps: int = 1, **fields: str) -> None:
        self.left -= steps
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGTERM)


def _check_complete(result: ArchiveResult, videos: Path) -> None:
    """Each clip is in the table once, in order."""
    assert (result.clips, result.failed, result.lacking) == (FILES, 0, 0)
    rows = [(row["clip"], int(row["row"])) for row in csv.DictReader(result.table.read_text().splitlines())]
    assert rows == [(str(clip), row) for clip in sorted(videos.iterdir()) for row in range(3)]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 150
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_archive_of_two_processes_one_killed_loses_and_doubles_nothing(videos: Path, tmp_path: Path) -> None:
    table, notes = tmp_path / "found.csv", tmp_path / "notes.txt"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "counting", str(videos), str(table), str(notes), "151.mp4"]
    with warm.Popen([*command, "1", "2"], env=environment) as killed:
        _wait_for(started_by(notes))
        killed.kill()
    assert warm.run([*command, "0", "2"], env=environment, check=True).returncode == 0
    saved = FILES // 2 + 70  # of the killed process, clips 1, 3, ... 139 in parts of 7
    assert len(list(table.with_name("found-parts").glob(".tmp-*"))) == 1
    half = _run(videos, table, notes, join_only=True)
    assert (half.clips, half.lacking) == (FILES, FILES - saved)
    computed = len(notes.read_text().splitlines())
    _check_complete(_run(videos, table, notes), videos)
    assert len(notes.read_text().splitlines()) - computed == FILES - saved, "only what was not saved"
    assert list(table.with_name("found-parts").glob(".tmp-*")) == []


def test_archive_stopped_by_a_signal_saves_every_complete_clip(videos: Path, tmp_path: Path) -> None:
    table, notes = tmp_path / "found.csv", tmp_path / "notes.txt"

    with pytest.raises(Stopped, match="run the same tdpn predict command again"):
        _run(videos, table, notes, progress=Stopping(50))
    _check_complete(_run(videos, table, notes), videos)
    assert len(notes.read_text().splitlines()) == FILES, "none was computed a second time"


def test_archive_with_a_damaged_part_and_clips_that_fail_or_change_computes_these_again(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SAVE_EVERY_CLIPS", 50)
    table, notes = tmp_path / "found.csv", tmp_path / "notes.txt"
    broken, changed = videos / "000.mp4", videos / "199.mp4"
    broken.write_text("not empty")
    result = _run(videos, table, notes)
    assert (result.failed, result.lacking) == (1, 0)
    assert result.failures.read_text() == f"clip,reason\n{broken},{broken}: is not empty\n"
    assert str(broken) not in table.read_text(), "it has no rows"
    broken.write_text("")
    os.utime(changed, (1, 1))
    first = next(path for path in table.with_name("found-parts").glob("*.jsonl") if "050.mp4" in path.read_text())
    first.write_bytes(first.read_bytes()[:-3])
    notes.unlink()
    _check_complete(_run(videos, table, notes), videos)
    assert len(notes.read_text().splitlines()) == 50 + 2


def test_archive_without_results_or_in_use_is_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no result of these clips and this network; run the command again"):
        _run(videos, tmp_path / "found.csv", tmp_path / "notes.txt", join_only=True)
    with (
        claimed(tmp_path / "found-parts", "counting", hint="wait"),
        pytest.raises(InUseError, match="has been counting here since"),
    ):
        _run(videos, tmp_path / "found.csv", tmp_path / "notes.txt")


@pytest.fixture
def nodes(cluster: tuple[Any, dict[str, int]]) -> tuple[Any, dict[str, int]]:
    """The cluster, whose nodes do not know the folders of tests: the module of the work is sent to them."""
    import counting
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(counting)
    return cluster


@pytest.mark.filterwarnings("ignore")  # Ray's own, on import and while it runs
def test_archive_on_ray_stopped_by_a_signal_continues(
    nodes: tuple[Any, dict[str, int]], videos: Path, tmp_path: Path
) -> None:
    table, notes = tmp_path / "found.csv", tmp_path / "notes.txt"
    where = {"executor": "ray", "ray_address": nodes[0].address}
    with pytest.raises(Stopped, match="run the same tdpn predict command again"):
        _run(videos, table, notes, progress=Stopping(8), **where)
    saved = _run(videos, table, notes, join_only=True)
    assert 8 <= saved.clips - saved.lacking < FILES
    _check_complete(_run(videos, table, notes), videos)


@pytest.mark.filterwarnings("ignore")  # Ray's own, on import and while it runs
def test_archive_on_two_nodes_one_killed_loses_and_doubles_nothing(
    nodes: tuple[Any, dict[str, int]], videos: Path, tmp_path: Path
) -> None:
    made, size = nodes
    table, notes = tmp_path / "found.csv", tmp_path / "notes.txt"
    outcome = []

    def run() -> None:
        where = {"executor": "ray", "ray_address": made.address}
        outcome.append(_run(videos, table, notes, "100.mp4", **where))

    thread = threading.Thread(target=run)
    thread.start()
    _wait_for(started_by(notes))
    node = next(node for node in made.list_all_nodes() if node.node_id == started_by(notes).read_text())
    made.remove_node(node, allow_graceful=False)
    thread.join(120)
    made.add_node(**size)
    assert not thread.is_alive()
    _check_complete(outcome[0], videos)
    computed = len(notes.read_text().splitlines())
    assert FILES <= computed < FILES + 2 * 8, "what the node was at is computed again"
    _check_complete(_run(videos, table, notes, executor="ray", ray_address=made.address), videos)
    assert len(notes.read_text().splitlines()) == computed
