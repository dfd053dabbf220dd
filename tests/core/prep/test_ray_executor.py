"""The same preparation on a Ray cluster of two nodes on this machine."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tdpn_core.errors import ToolError
from tdpn_core.prep.journal import Ledger
from tdpn_core.prep.prepare import prepare
from tdpn_core.prep.storage import LocalPlace

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, on import and while it runs


@pytest.fixture(scope="module")
def undisturbed(source, small, tmp_path_factory):
    return prepare("folder", source, tmp_path_factory.mktemp("undisturbed"), settings=small).digest


def test_two_nodes_make_the_same_bytes(cluster, source, small, tmp_path, undisturbed):
    made, _ = cluster
    report = prepare("folder", source, tmp_path, settings=small, executor="ray", ray_address=made.address)
    assert report.digest == undisturbed
    assert (report.added, report.failed) == (11, 1)


def test_the_death_of_a_node_costs_only_what_it_was_at(cluster, source, small, tmp_path, undisturbed, program):
    made, size = cluster
    marker = f"100.{os.getpid()}8"
    started = tmp_path / "started"
    shim = tmp_path / "ffmpeg"
    hang = f"[ -e {started} ] || {{ touch {started}; exec sleep {marker}; }}"
    shim.write_text(f'#!/bin/sh\ncase "$*" in *image2pipe*) {hang};; esac\nexec {program.path} "$@"\n')
    shim.chmod(0o755)
    outcome = []

    def run():
        outcome.append(
            prepare("folder", source, tmp_path / "out", settings=small, executor="ray", ray_address=made.address,
                    ffmpeg=shim)
        )  # fmt: skip

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    node = next(node for node in made.list_all_nodes() if _has_child(node, marker))
    made.remove_node(node, allow_graceful=False)
    thread.join(120)
    made.add_node(**size)
    assert not thread.is_alive()
    assert outcome[0].digest == undisturbed
    for record in Ledger(LocalPlace(tmp_path / "out")).blocks():
        for shard in record.shards:
            assert (tmp_path / "out" / shard.file).stat().st_size == shard.bytes


def _has_child(node, marker):
    raylet = next(info.process.pid for info in node.all_processes["raylet"])
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if marker in (entry / "cmdline").read_text():
                sleeping = int(entry.name)
        except OSError:
            continue
    pid = sleeping
    while pid in parents:
        if pid == raylet:
            return True
        pid = parents[pid]
    return False


DRIVER = """
import sys
from pathlib import Path
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.progress import Silent
from tdpn_core.video.encode_options import Encoding

class Marks(Silent):
    def advance(self, steps=1, **fields):
        print("clip", flush=True)

settings = PrepConfig(encoding=Encoding(short_side=32), shard_bytes=60_000, block_clips=4)
prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]), settings=settings, executor="ray", ray_address=sys.argv[3],
        progress=Marks())
"""


def test_a_killed_driver_costs_only_what_was_not_recorded(cluster, source, small, tmp_path, undisturbed):
    made, _ = cluster
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, str(source), str(out), made.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert "clip\n" in child.stdout  # Ray prints there too: that the other test's node is gone
        child.kill()
    recorded = {clip.id for block in Ledger(LocalPlace(out)).blocks() for clip in block.clips}
    report = prepare("folder", source, out, settings=small, executor="ray", ray_address=made.address)
    assert report.digest == undisturbed
    assert report.added <= 11 - len(recorded & {clip for clip in recorded if not clip.endswith("8.mkv")})


@pytest.mark.parametrize("way", ["option", "client", "variable", "remembered"])
def test_where_no_cluster_answers_it_says_so_within_seconds(way, source, small, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.socket() as taken:  # bound and not listening, so that nobody can
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = {"option": address, "client": f"ray://{address}", "remembered": "auto"}.get(way)
        if way == "variable":
            monkeypatch.setenv("RAY_ADDRESS", address)
        if way == "remembered":
            (tmp_path / "ray").mkdir()
            (tmp_path / "ray" / "ray_current_cluster").write_text(address)
            monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        began = time.monotonic()
        with pytest.raises(ToolError, match=rf"{address}: no Ray cluster: no answer .*; check with ray status"):
            prepare("folder", source, tmp_path / "out", settings=small, executor="ray", ray_address=given)
    assert time.monotonic() - began < 20


def test_an_address_that_is_none_is_refused(source, small, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(ToolError, match="nonsense: no Ray cluster: Invalid address format"):
        prepare("folder", source, tmp_path, settings=small, executor="ray", ray_address="nonsense")


def test_without_ray_it_says_how_to_get_it(source, small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ToolError, match=r"Ray is not installed; pip install 'tdpn\[ray\]'"):
        prepare("folder", source, tmp_path, settings=small, executor="ray")
