"""Long videos with annotated actions: rendered, and the way from them to a measured timeline."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tdpn_core import PredictOptions, TrainOverrides, Windowing, evaluate_timeline, predict, train
from tdpn_core.datasets import DatasetOptions
from tdpn_core.datasets.background import BackgroundOptions
from tdpn_core.datasets.segments import read_segments
from tdpn_core.demo.long_videos import ACTIONS, render_long_videos
from tdpn_core.demo.render import FPS
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.probe import probe

SECONDS = 20.0


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_long_videos(tmp_path_factory.mktemp("long"), videos=3, seconds=SECONDS, seed=0)


def test_render_long_videos_gives_actions_with_gaps_within_videos_of_the_length(annotations: Path) -> None:
    found = read_segments(annotations)
    assert found.videos == ("000.mp4", "001.mp4", "002.mp4")
    assert {one.label for one in found.segments} <= set(ACTIONS)
    for video in found.videos:
        assert probe(annotations.parent / video).video.frames == SECONDS * FPS
        own = [one for one in found.segments if one.video == video]
        assert all(after.start - before.stop >= 2 for before, after in pairwise(own))
        assert own[-1].stop < SECONDS


def test_prep_train_predict_and_eval_give_a_measured_timeline(
    annotations: Path, tiny: dict[str, str], tmp_path: Path
) -> None:
    videos, data = annotations.parent, tmp_path / "data"
    head, *rows = annotations.read_text().splitlines()
    split = (f"{row},{'val' if row.startswith('002') else 'train'}" for row in rows)
    listed = tmp_path / "split.csv"
    listed.write_text("\n".join([f"{head},split", *split]))
    options = DatasetOptions(background=BackgroundOptions(margin=0.2), annotations=(listed,))
    report = prepare("auto", videos, data, settings=PrepConfig(encoding=Encoding(short_side=40), dataset=options))
    assert min(report.clips["train"], report.clips["val"]) > 0
    settings = tiny | {"train.epochs": "1", "train.batch_size": "2", "sampling.mode": "dense", "sampling.interval": "4"}
    trained = train(
        data=data, out=tmp_path / "run", recipe="small", overrides=TrainOverrides(settings=settings), gpus=0
    )
    asked = PredictOptions(timeline=Windowing(seconds=2.0), segments=tmp_path / "found.csv")
    clips = sorted(videos.glob("*.mp4"))
    table = tmp_path / "predicted.csv"
    predicted = list(predict(clips, checkpoint=trained.best, options=asked, csv=table, gpus=0))
    assert [one.seconds for one in predicted] == [pytest.approx(SECONDS, abs=0.1)] * 3
    direct = evaluate_timeline(
        trained.best, annotations, options=PredictOptions(timeline=Windowing(seconds=2.0)), out=tmp_path / "a", gpus=0
    )
    assert {one.label for one in direct.predicted} <= set(ACTIONS), "background is a gap"
    read = [(one.start, one.stop, one.label) for one in read_segments(tmp_path / "found.csv").segments]
    own = [(one.start, one.stop, one.label) for one in direct.predicted]
    assert [label for *_, label in read] == [label for *_, label in own]
    assert [start for start, *_ in read] == pytest.approx([start for start, *_ in own], abs=1e-3)
    assert own
    of_file = evaluate_timeline(table, annotations, out=tmp_path / "b")
    assert of_file.scores.average_map == pytest.approx(direct.scores.average_map, abs=1e-2)
    assert (tmp_path / "a" / "report.html").is_file()


def test_overlapping_actions_are_other_actions_of_a_second_object(tmp_path: Path) -> None:
    alone, both = (
        read_segments(render_long_videos(tmp_path / name, videos=1, seconds=20, seed=3, overlapping=share)).segments
        for name, share in (("alone", 0.0), ("both", 1.0))
    )
    assert set(alone) < set(both)
    added = [one for one in both if one not in alone]
    assert added
    for one in added:
        inside = [other for other in alone if other.start <= one.start < other.stop]
        assert [other.label != one.label for other in inside] == [True]
