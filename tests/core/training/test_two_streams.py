"""Two-stream networks: prepared as optical flow, trained, scored, and fused with the network of the pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.families import model_config
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.distributed.runtime import set_up
from tdpn_core.errors import ConfigError
from tdpn_core.evaluation.evaluate import evaluate_files
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.sampling.dataset import TrainingClips, ViewClips
from tdpn_core.sampling.transforms import mirror, normalise
from tdpn_core.shards import ClipStore
from tdpn_core.training.launch import plan, train

NETWORKS = {
    "tsn": {"arch": "r18", "width": "0.125", "num_frames": "2"},
    "i3d": {"arch": "inception", "width": "0.125", "num_frames": "16"},
}


@pytest.fixture(scope="session")
def flow(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`videos`, prepared as optical flow."""
    from tdpn_core.prep import PrepConfig
    from tdpn_core.prep.prepare import prepare
    from tdpn_core.video.encode_options import Encoding

    folder = tmp_path_factory.mktemp("flow") / "folder"
    encoding = Encoding(short_side=40, modality="flow", flow_method="dis")
    prepare("folder", videos, folder, settings=PrepConfig(encoding=encoding))
    return folder


def settings(name: str, tiny: dict[str, str]) -> dict[str, str]:
    return {**tiny, "train.epochs": "1", **{f"model.{field}": value for field, value in NETWORKS[name].items()}}


@pytest.mark.parametrize(("name", "channels"), [("tsn", 10), ("i3d", 2)])
def test_a_flow_network_trains_and_is_scored(flow, tiny, tmp_path, name, channels):
    result = train(
        data=flow, out=tmp_path / "run", workers=0, overrides=TrainOverrides(model=name, settings=settings(name, tiny))
    )
    checkpoint = load_checkpoint(result.best)
    assert checkpoint.config.model.modality == "flow"
    assert checkpoint.config.sampling.mean == (0.5, 0.5, 0.5)
    first = next(
        value for key, value in checkpoint.weights.items() if key.endswith((".conv1.weight", "7x7.conv.weight"))
    )
    assert first.shape[1] == channels
    assert np.isfinite(result.state.history[0]["val_loss"])


def test_items_have_two_channels_and_the_views_too(flow):
    store = ClipStore(flow, "train")
    model = model_config(name="tsn", arch="r18", num_frames=2, input_size=32, modality="flow")
    item = TrainingClips(store, model, SamplingConfig(short_side=36), seed=0)[0, 0]
    assert item.clip.shape == (2, 2 * 5, 32, 32)
    views = ViewClips(store, model, SamplingConfig(short_side=36, views="2x3"))[0]
    assert views.clip.shape == (6, 2, 10, 36, 36)


def test_a_flip_of_flow_negates_what_goes_to_the_right():
    frames = torch.randint(0, 256, (3, 2, 4, 5), dtype=torch.uint8)
    flipped = mirror(frames)
    assert torch.equal(flipped[:, 0], 255 - frames[:, 0].flip(-1))
    assert torch.equal(flipped[:, 1], frames[:, 1].flip(-1))
    assert torch.equal(mirror(flipped), frames)
    pictures = torch.randint(0, 256, (3, 3, 4, 5), dtype=torch.uint8)
    assert torch.equal(mirror(pictures), pictures.flip(-1))


def test_flow_is_normalised_around_rest():
    sampling = SamplingConfig(mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    clip = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert normalise(clip, sampling).flatten().tolist() == [-2.0, 1.0]


def test_the_modality_is_the_datas(flow, prepared):
    runtime = set_up(0)
    assert plan(flow, runtime=runtime, overrides=TrainOverrides(model="tsn")).model.modality == "flow"
    assert plan(prepared, runtime=runtime, overrides=TrainOverrides(model="tsn")).model.modality == "rgb"
    i3d = plan(flow, runtime=runtime, overrides=TrainOverrides(model="i3d", arch="inception"))
    assert i3d.sampling.std == (0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match="--modality flow, but the data is packed as rgb; tdpn prep --flow"):
        plan(prepared, runtime=runtime, overrides=TrainOverrides(model="tsn", modality="flow"))
    with pytest.raises(ConfigError, match="--modality rgb, but the data is packed as flow; prepare the data without"):
        plan(flow, runtime=runtime, overrides=TrainOverrides(model="tsn", modality="rgb"))


def test_colours_are_no_augmentation_of_flow(flow):
    config = plan(flow, runtime=set_up(0), overrides=TrainOverrides(model="tsn"))
    with pytest.raises(ConfigError, match="apply to RGB and not to optical flow"):
        replace(config, sampling=replace(config.sampling, randaugment=2))


def test_the_two_streams_of_the_same_clips_fuse(flow, prepared, tiny, tmp_path):
    runs = {
        name: train(
            data=folder,
            out=tmp_path / name,
            workers=0,
            overrides=TrainOverrides(model="tsn", settings=settings("tsn", tiny)),
        ).best
        for name, folder in (("rgb", prepared), ("flow", flow))
    }
    options = ScoreOptions(workers=0, allow_mismatch=True)
    single = [
        evaluate_files([path], runtime=set_up(0), options=options).probabilities["action"] for path in runs.values()
    ]
    fused = evaluate_files(
        list(runs.values()), runtime=set_up(0), options=options, weights=(1, 1.5), out=tmp_path / "fused"
    )
    expected = (single[0] + 1.5 * single[1]) / 2.5
    np.testing.assert_allclose(fused.probabilities["action"], expected, atol=1e-9)
    assert abs(single[0] - single[1]).max() > 1e-3
