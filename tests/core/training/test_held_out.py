"""A part of the training clips held out for validation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ConfigError
from tdpn_core.evaluation.training_clips import overlap
from tdpn_core.shards import ClipStore
from tdpn_core.shards.data_config import data_config
from tdpn_core.training.held_out import held_out_clips, hold_out
from tdpn_core.training.launch import train

CPU = Runtime(torch.device("cpu"))


def held(labels: list[int], videos: list[str], digests: list[str] | None = None, share: float = 0.5) -> list[bool]:
    own = digests or [str(number) for number in range(len(labels))]
    chosen = held_out_clips(np.array(labels), videos, own, share=share, rng=np.random.default_rng(1))
    return chosen.tolist()


def test_held_out_share_is_of_every_class_and_at_least_one_video() -> None:
    labels = [0] * 40 + [1] * 8 + [2] * 2
    chosen = np.array(held(labels, [str(number) for number in range(50)], share=0.25))
    assert [int(chosen[np.array(labels) == label].sum()) for label in range(3)] == [10, 2, 1]


def test_class_with_one_video_and_unlabelled_clips_are_kept_for_training() -> None:
    assert held([0, 0, -1, -1, 1, 1], ["a", "a", "b", "c", "d", "e"], share=0.9)[:4] == [False] * 4


def test_clips_of_one_video_or_with_equal_pixels_are_never_separated() -> None:
    videos = ["a", "a", "b", "b", "c", "d", "e", "f"]
    digests = ["1", "2", "2", "3", "4", "5", "6", "7"]  # the second clip of a equals the first of b
    for share in (0.2, 0.4, 0.6, 0.8):
        chosen = held([0] * 8, videos, digests, share)
        assert len(set(chosen[:4])) == 1
        assert any(chosen)
        assert not all(chosen)


def test_subset_reads_the_chosen_clips_in_their_order(prepared: Path) -> None:
    store = ClipStore(prepared, "train")
    part = store.subset([3, 1])
    assert (len(part), part.ids) == (2, [store.ids[3], store.ids[1]])
    assert part.labels["action"].tolist() == store.labels["action"][[3, 1]].tolist()
    assert np.array_equal(part.decode(0, [0]), store.decode(3, [0]))
    assert [part.size(1), part.source(1), part.counts[1]] == [store.size(1), store.source(1), store.counts[1]]
    assert np.array_equal(part.times(0), store.times(3))


def test_hold_out_depends_on_the_seed_alone_and_parts_all_clips(prepared: Path) -> None:
    store = ClipStore(prepared, "train")
    training, held_out = hold_out(store, 0.25, 7)
    assert sorted([*training.ids, *held_out.ids]) == sorted(store.ids)
    assert hold_out(store, 0.25, 7)[1].ids == held_out.ids
    assert hold_out(store, 0.25, 8)[1].ids != held_out.ids
    with pytest.raises(ConfigError, match=r"train\.holdout: cannot hold out 0\.25 of the training clips"):
        hold_out(store.subset([0]), 0.25, 7)


def test_run_with_held_out_clips_validates_on_them_and_not_on_the_validation_split(
    prepared: Path, tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = ClipStore.__init__

    def noted(store: ClipStore, folder: Path, split: str, **more: object) -> None:
        opened.append(split)
        original(store, folder, split, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ClipStore, "__init__", noted)
    settings = {**tiny, "train.epochs": "1", "train.holdout": "0.25"}
    overrides = TrainOverrides(settings=settings)
    result = train(data=prepared, out=tmp_path / "run", recipe="small", gpus=0, workers=0, overrides=overrides)
    assert set(opened) == {"train"}
    store = ClipStore(prepared, "train")
    training, held_out = hold_out(store, 0.25, 0)
    (row,) = result.state.history
    assert row["val_top1"] * len(held_out) == pytest.approx(round(row["val_top1"] * len(held_out)))
    trained_on = overlap(data_config(prepared), tmp_path / "run", store, np.arange(len(store)))
    assert trained_on is not None
    assert trained_on.clips == len(training)
    assert "train, held out" in (tmp_path / "run" / "best.md").read_text()
