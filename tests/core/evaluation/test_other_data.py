"""Data is compared by content: other data is refused or reported, with the clips that the run was trained on."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scored import CPU, fresh, saved

from tdpn_cli.evaluate import show
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import CheckpointError, ShardError
from tdpn_core.evaluation.evaluate import evaluate, evaluate_files, find_inputs
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.evaluation.report import summary, write_report
from tdpn_core.evaluation.report.published import published_rows
from tdpn_core.evaluation.score_file import Overlap
from tdpn_core.evaluation.training_clips import overlap, write_training_clips
from tdpn_core.shards import ClipStore, load_manifest


@pytest.fixture
def moved(config: RunConfig, checkpoint: Path, prepared: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and the place of its data, where the data is prepared again with the splits exchanged."""
    data = shutil.copytree(prepared, tmp_path / "data")
    run = saved(tmp_path / "run" / "best.pt", checkpoint, replace(config, data=replace(config.data, path=str(data))))
    write_training_clips(run.parent, ClipStore(data, "train"))
    manifest = load_manifest(data)
    other = {"train": "val", "val": "train"}
    exchanged = replace(manifest, shards=[replace(shard, split=other[shard.split]) for shard in manifest.shards])
    (data / "manifest.json").write_bytes(exchanged.to_json())
    return run, data


def test_eval_of_other_data_at_the_same_path_is_refused_with_the_way_to_score_it(moved: tuple[Path, Path]) -> None:
    run, data = moved
    message = rf"holds other data than this run was trained on \(digest .*; --data {data} scores it anyway"
    with pytest.raises(ShardError, match=message):
        evaluate(run, runtime=CPU, workers=0)


def test_eval_of_other_data_by_option_reports_it_and_the_clips_trained_on(
    moved: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = moved
    result = evaluate(run, runtime=CPU, data=data, workers=0, out=tmp_path / "out")
    assert result.scores.origin.training == Overlap(clips=24, by_id=24, by_content=24)
    values = summary(result)
    assert values["same_data"] is False
    assert values["training_clips"] == {"clips": 24, "by_id": 24, "by_content": 24}
    other = "is not the data that the checkpoint was trained on"
    known = "24 of the 24 scored clips are in the run's training split: 24 by name, 24 by content"
    report = write_report(result)
    page = report.with_suffix(".html").read_text()
    show(result)
    terminal = " ".join(capsys.readouterr().err.split())
    for text in (report.read_text(), page.replace("&#39;", "'"), terminal):
        assert other in text
        assert known in text


def test_eval_of_the_runs_own_data_has_no_such_note(checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate(checkpoint, runtime=CPU, workers=0, out=tmp_path)
    values = summary(result)
    assert (values["same_data"], values["notes"]) == (True, [])
    assert values["training_clips"] == {"clips": 0, "by_id": 0, "by_content": 0}, "read from the data itself"


def test_overlap_of_a_renamed_clip_is_found_by_content(config: RunConfig, prepared: Path, tmp_path: Path) -> None:
    clips = ClipStore(prepared, "train")
    write_training_clips(tmp_path, clips)
    data = replace(config.data, path="gone", absolute="")
    given = SimpleNamespace(ids=["new name", clips.ids[1], "x"], digests=[clips.digests[0], "0" * 64, "1" * 64])
    assert overlap(data, tmp_path, given, np.arange(3)) == Overlap(clips=2, by_id=1, by_content=1)
    assert overlap(data, tmp_path / "elsewhere", given, np.arange(3)) is None, "neither note nor data is there"
    assert overlap(replace(data, digest="0" * 64), tmp_path, given, np.arange(3)) is None, "the note of other data"


@pytest.fixture
def larger(config: RunConfig, tmp_path: Path) -> Path:
    """A checkpoint of ten classes, of which the data has eight, in another order."""
    names = config.data.classes["action"]
    classes = {"action": ["first", *reversed(names), "last"]}
    known = replace(config.data, classes=classes, digest="0" * 64)
    return fresh(
        tmp_path / "run" / "best.pt",
        replace(config, model=replace(config.model, num_classes={"action": 10}), data=known),
    )


def test_eval_on_a_part_of_the_classes_predicts_over_all_and_says_so(
    larger: Path, prepared: Path, tmp_path: Path
) -> None:
    options = ScoreOptions(workers=0, data=prepared)
    result = evaluate_files([larger], runtime=CPU, options=options, out=tmp_path / "all")
    names = ClipStore(prepared, "val").classes["action"]
    assert result.scores.classes["action"] == [*names, "first", "last"]
    assert result.probabilities["action"].sum(axis=1) == pytest.approx(1)
    text = write_report(result).read_text()
    assert "the data has 8 of the checkpoint's 10 action classes; predictions are over all 10" in text
    assert published_rows(result) == {}
    few = evaluate_files([larger], runtime=CPU, options=replace(options, only_shared=True), out=tmp_path / "few")
    assert few.scores.classes["action"] == names
    shares = result.probabilities["action"][:, :8]
    assert few.probabilities["action"] == pytest.approx(shares / shares.sum(axis=1, keepdims=True), rel=1e-4)
    assert "predictions are restricted to these 8, which is an easier task" in write_report(few).read_text()


def test_eval_on_a_class_that_the_checkpoint_lacks_is_refused(
    larger: Path, config: RunConfig, prepared: Path, tmp_path: Path
) -> None:
    known = replace(config.data, classes={"action": config.data.classes["action"][:7]})
    run = fresh(
        tmp_path / "few" / "best.pt",
        replace(config, model=replace(config.model, num_classes={"action": 7}), data=known),
    )
    with pytest.raises(CheckpointError, match="trained on other classes than folder has: 7 and 8 action classes"):
        evaluate(run, runtime=CPU, data=prepared, workers=0)


def test_find_inputs_takes_a_run_folder_for_its_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for name in ("best.pt", "last.pt"):
        (run / name).write_bytes(b"")
    assert find_inputs([run, run / "last.pt"]) == [run / "best.pt", run / "last.pt"]
    monkeypatch.chdir(tmp_path)
    assert find_inputs([]) == [Path("runs/a/best.pt")]
    with pytest.raises(CheckpointError, match="a folder without best"):
        evaluate(tmp_path, runtime=CPU)
