"""What happens to a run's state: kills, full and failing disks, damaged files, peculiar data."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import warm

from tdpn_core import failpoints
from tdpn_core.checkpoint import load_checkpoint, save_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import CheckpointError, ConfigError, DatasetError, ShardError, Stopped, TdpnError, UsageError
from tdpn_core.progress import Silent
from tdpn_core.recipes.presets import set_fields
from tdpn_core.signals import stop_requests
from tdpn_core.training import trainer
from tdpn_core.training.checkpoints import newest_good, on_data, states
from tdpn_core.training.launch import plan, train
from tdpn_core.training.trainer import TrainResult

CPU = Runtime(torch.device("cpu"))
CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"


class Heard(Silent):
    """Keeps what was said; asks to stop after `batches`."""

    def __init__(self, batches: int = 0, number: int = signal.SIGTERM) -> None:
        self.lines: list[str] = []
        self.left = batches
        self.number = number

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, steps: int = 1, **fields: str) -> None:
        if "loss" in fields:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


@pytest.fixture
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny))


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tiny: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny)), folder)
    return folder


@pytest.fixture(autouse=True)
def fresh_failpoints() -> Iterator[None]:
    failpoints._passed.clear()
    yield
    failpoints._passed.clear()


def run(config: RunConfig, folder: Path, **options: Any) -> TrainResult:
    return trainer.train(config, folder, runtime=CPU, **{"workers": 0, **options})


def same(one: Path, other: Path) -> bool:
    a, b = load_checkpoint(one / "last.pt"), load_checkpoint(other / "last.pt")
    return a.state.step == b.state.step and all(
        mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)
        for mine, yours in ((a.weights, b.weights), (a.optimiser, b.optimiser))
    )


def command(prepared: Path, tiny: dict[str, str], out: Path, *options: str) -> list[str]:
    words = [sys.executable, "-W", "error", "-c", CODE, "train", "--data", str(prepared), "--recipe", "small"]
    settings = [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
    return [*words, *settings, "--workers", "0", "--out", str(out), *options]


@pytest.mark.parametrize(
    "point", ["train.step#5", "write.sync/last.pt#2", "write.rename/last.pt#2", "write.end/last.pt#2"]
)
def test_a_run_killed_anywhere_resumes_to_the_same_weights(
    prepared: Path, tiny: dict[str, str], config: RunConfig, undisturbed: Path, tmp_path: Path, point: str
) -> None:
    environment = {**os.environ, "TDPN_FAILPOINT": f"{point}:kill", "OMP_NUM_THREADS": "1"}
    words = command(prepared, tiny, tmp_path / "run")
    killed = warm.run(words, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.epoch == (2 if "end" in point else 1)
    run(config, tmp_path / "run", resume=True)
    assert same(tmp_path / "run", undisturbed)
    assert not list((tmp_path / "run").glob(".tmp-*"))


def test_a_second_interrupt_while_saving_drops_the_new_state_whole(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "write.rename/last.pt#2:interrupt")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", progress=Heard(5, signal.SIGINT))
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 3
    assert not list((tmp_path / "run").glob(".tmp-*"))


@pytest.mark.parametrize("phase", ["open", "sync", "rename"])
@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EACCES"])
def test_a_state_that_cannot_be_written_ends_the_run_and_leaves_the_one_before(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path, phase: str, code: str
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    longer = replace(config, train=replace(config.train, epochs=3))
    monkeypatch.setattr("tdpn_core.training.trainer.Trainer.resume_from", _restored_as(longer))
    before = (tmp_path / "run" / "last.pt").read_bytes()
    monkeypatch.setenv(failpoints.VARIABLE, f"write.{phase}/last.pt:{code}")
    with pytest.raises(TdpnError, match=r"last.pt: cannot write: ") as caught:
        run(longer, tmp_path / "run", resume=True)
    assert caught.value.exit_code == 1
    assert ("free some space" in str(caught.value)) == (code == "ENOSPC")
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def _restored_as(config: RunConfig) -> Any:
    """`Trainer.resume_from` for a run of more epochs, so that one more save is made in a second."""

    def restore(trainer: Any, path: Path, progress: object = None) -> None:
        checkpoint = load_checkpoint(path)
        trainer.learner.load_state_dict(checkpoint.weights, checkpoint.optimiser)
        trainer.state = checkpoint.state

    return restore


def test_a_disk_that_is_really_full_is_one_clear_line(undisturbed: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(undisturbed / "last.pt")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(TdpnError, match=r"last.pt: cannot write: File too large"):
            save_checkpoint(tmp_path / "last.pt", checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_the_newest_states_are_kept_and_one_is_there_at_any_time(config: RunConfig, tmp_path: Path) -> None:
    longer = replace(config, train=replace(config.train, epochs=4))
    run(longer, tmp_path / "run", keep=3)
    assert [path.name for path in states(tmp_path / "run")] == ["last.pt", "last-1.pt", "last-2.pt"]
    assert [load_checkpoint(path).state.epoch for path in states(tmp_path / "run")] == [4, 3, 2]
    with pytest.raises(Stopped):
        run(replace(longer, recipe="x"), tmp_path / "other", keep=1, progress=Heard(4))
    assert [path.name for path in states(tmp_path / "other")] == ["last.pt"]


def test_a_damaged_newest_state_is_said_and_the_one_before_is_used(
    config: RunConfig, tmp_path: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    last = tmp_path / "run" / "last.pt"
    content = bytearray(last.read_bytes())
    for damaged in (content[:1000], bytes([*content[:-9], content[-9] ^ 1, *content[-8:]])):
        last.unlink()  # it shares no content with the state before
        last.write_bytes(damaged)
        heard = Heard()
        assert newest_good(tmp_path / "run", heard.say) == tmp_path / "run" / "last-1.pt"
        assert "last.pt: " in heard.lines[0]
        assert "resuming from the older last-1.pt" in heard.lines[0]
    heard = Heard()
    train(out=tmp_path / "run", resume=True, workers=0, progress=heard)
    assert any("resuming from the older last-1.pt" in line for line in heard.lines)
    assert same(tmp_path / "run", undisturbed)
    (tmp_path / "run" / "last.pt").write_bytes(content[:1000])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        train(out=tmp_path / "run", resume=tmp_path / "run" / "last.pt", workers=0)
    (tmp_path / "run" / "last-1.pt").write_bytes(content[:1000])
    with pytest.raises(CheckpointError, match=r"last.pt: not a readable checkpoint"):
        train(out=tmp_path / "run", resume=True, workers=0)


def test_a_named_state_is_continued_and_a_finished_run_says_so(tmp_path: Path, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    train(resume=tmp_path / "run" / "last-1.pt", workers=0)
    assert same(tmp_path / "run", undisturbed)
    heard = Heard()
    train(out=tmp_path / "run", resume=True, workers=0, progress=heard)
    assert f"{tmp_path / 'run'} is finished: 2 epochs, no more training" in heard.lines


def test_how_a_run_is_computed_may_change_on_the_way_and_nothing_else(
    config: RunConfig, tmp_path: Path, undisturbed: Path
) -> None:
    with pytest.raises(Stopped):
        run(config, tmp_path / "run", progress=Heard(4))
    train(
        out=tmp_path / "run", resume=True, workers=0, overrides=TrainOverrides(settings={"train.checkpointing": "true"})
    )
    assert load_checkpoint(tmp_path / "run" / "last.pt").config.train.checkpointing
    assert same(tmp_path / "run", undisturbed)
    both = {"train.checkpointing": "false", "train.momentum": "0.5"}
    with pytest.raises(ConfigError, match=r"the run to resume has another train.momentum \(0.9, not 0.5\); omit these"):
        train(out=tmp_path / "run", resume=True, workers=0, overrides=TrainOverrides(settings=both))
    other = replace(config, train=replace(config.train, lr=1.0), recipe="x")
    with pytest.raises(
        ConfigError,
        match=r"last.pt: written with another recipe \(small, not x\), train.lr \(.*, not 1.0\) than this run's",
    ):
        run(other, tmp_path / "run", resume=True)


def test_data_may_move_on_the_way_but_other_data_is_refused(
    prepared: Path, config: RunConfig, tmp_path: Path, undisturbed: Path
) -> None:
    with pytest.raises(Stopped):
        run(config, tmp_path / "run", progress=Heard(4))
    shutil.copytree(prepared, tmp_path / "moved")
    train(out=tmp_path / "run", resume=True, workers=0, data=tmp_path / "moved")
    assert load_checkpoint(tmp_path / "run" / "last.pt").config.data.path == str(tmp_path / "moved")
    assert same(tmp_path / "run", undisturbed)
    stored = load_checkpoint(tmp_path / "run" / "last.pt").config
    other = replace(stored.data, digest="0" * 64)
    for data, message in (
        (other, "other clips of the same classes"),
        (replace(other, classes_digest="0", classes={"action": ["a", "b"]}), "8 action classes, not 2 action"),
    ):
        with pytest.raises(ConfigError, match=rf"trained on other data \({message} ?[a-z]*\); omit --data"):
            on_data(stored, data, tmp_path / "run")


def test_states_can_be_read_by_whom_other_files_can_be_read(undisturbed: Path) -> None:
    modes = {(undisturbed / name).stat().st_mode & 0o777 for name in ("last.pt", "best.pt", "config.json")}
    assert len(modes) == 1


def test_ctrl_c_on_a_terminal_is_answered_at_once(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for tell in (False, True):
        with stop_requests(tell=tell) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal == signal.SIGINT
    assert capfd.readouterr().err.count("stopping: saves once this step or validation is done; Ctrl-C again") == 1


def test_a_requeued_job_goes_on_by_the_same_command(
    prepared: Path, tiny: dict[str, str], tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"data": prepared, "recipe": "small", "overrides": TrainOverrides(settings=tiny), "workers": 0}
    with pytest.raises(Stopped):
        train(**words, out=tmp_path / "run", progress=Heard(4, signal.SIGUSR1))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    heard = Heard()
    train(**words, out=tmp_path / "run", progress=heard)
    assert heard.lines[0] == f"restart 1: resuming in {tmp_path / 'run'}"
    assert same(tmp_path / "run", undisturbed)
    with pytest.raises(UsageError, match="--out: this run was restarted, but its folder is unknown"):
        train(**words)


def test_a_shard_damaged_while_training_is_named_with_the_clip_and_the_state_is_kept(
    prepared: Path, config: RunConfig, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "data")
    moved = replace(config, data=replace(config.data, path=str(tmp_path / "data")))

    class Damage(Silent):
        def say(self, line: str) -> None:
            if line.startswith("epoch 1/"):
                (shard,) = (tmp_path / "data").glob("train-*.h5")
                content = bytearray(shard.read_bytes())
                middle = len(content) // 4
                content[middle : 3 * middle] = bytes(2 * middle)
                shard.write_bytes(content)

    with pytest.raises(ShardError, match=r"train-.*\.h5") as caught:
        run(moved, tmp_path / "run", progress=Damage())
    assert "moving" in str(caught.value) or "train/" in str(caught.value)
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.epoch == 1


def test_files_of_a_run_that_vanish_do_not_end_it(config: RunConfig, tmp_path: Path) -> None:
    class Remove(Silent):
        def say(self, line: str) -> None:
            if line.startswith("epoch 1/"):
                for name in ("last.pt", "best.pt", "metrics.csv", "status.json"):
                    (tmp_path / "run" / name).unlink()

    run(config, tmp_path / "run", progress=Remove())
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.epoch == 2
    assert len(list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))) == 2


def test_a_reader_that_goes_away_and_a_poor_locale_end_nothing(
    prepared: Path, tiny: dict[str, str], tmp_path: Path, undisturbed: Path
) -> None:
    words = command(prepared, tiny, tmp_path / "run")
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    with child.stderr:
        text = child.stderr.read()
    assert "Traceback" not in text
    assert "unexpected" not in text
    child.wait(60)
    assert same(tmp_path / "run", undisturbed)


def test_two_runs_of_one_seed_are_the_same_run(config: RunConfig, tmp_path: Path, undisturbed: Path) -> None:
    run(config, tmp_path / "again")
    assert same(tmp_path / "again", undisturbed)
    kept = ("epoch", "step", "lr", "loss", "top1", "val_loss", "val_top1", "val_top5")
    rows = [
        [{name: row[name] for name in kept} for row in load_checkpoint(folder / "last.pt").state.history]
        for folder in (tmp_path / "again", undisturbed)
    ]
    assert rows[0] == rows[1]


def test_classes_without_clips_and_batches_larger_than_the_data_are_noted(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tdpn_core.shards import ClipStore

    classes = {"action": [*config.data.classes["action"], "never seen"]}
    monkeypatch.setattr(ClipStore, "classes", property(lambda store: classes))
    heard = Heard(1)
    large = replace(config, train=replace(config.train, batch_size=64))
    with pytest.raises(Stopped):
        run(large, tmp_path / "run", progress=heard)
    assert "note: 1 of 9 action classes have no training clips: 'never seen'" in heard.lines
    assert "note: a batch of 64 clips exceeds the 24 training clips: it has all" in heard.lines
    classes["action"] = ["only"]
    with pytest.raises(DatasetError, match="action has the single class 'only': there is nothing to distinguish"):
        run(config, tmp_path / "single")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("train.lrr", "train.lr"),
        ("train.sync_bm", "train.sync_bn"),
        ("flwo", "model.flow"),
        ("zzz", "for example --set"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(config: RunConfig, name: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"--set: no setting '{name}'; .*{near}"):
        set_fields(config, {name: "1"})
