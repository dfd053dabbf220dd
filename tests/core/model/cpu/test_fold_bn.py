"""Networks for inference: the same numbers, without the normalisations."""

import pytest
import torch
from random_statistics import randomise
from small_families import smallest
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tdpn_core.config.families import FAMILIES
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.cpu.memory_layout import set_layout
from tdpn_core.model.layers import FRAME, ConvNorm

UNFOLDED = {"tdpn": 2, "r2plus1d": 17}
"""Normalisations behind no convolution: attention's, and those behind R(2+1)D's pairs of convolutions."""


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_the_same_logits_within_rounding(small, clip_for, name):
    model = randomise(small(**smallest(name))).eval()
    clip = clip_for(model)
    with torch.no_grad():
        before = model(clip)
        fused = for_inference(model, torch.device("cpu"))
        for layout in ("plain", "channels_last", "folded"):
            set_layout(fused, layout)
            after = fused(clip)
            assert (after - before).abs().max() <= 1e-5 * before.abs().max()
    left = [place for place, part in fused.named_modules() if isinstance(part, _BatchNorm)]
    assert len(left) == UNFOLDED.get(name, 0), left


def test_in_double_precision_nothing_is_lost(small, clip_for):
    model = randomise(small(arch="r50")).double().eval()
    clip = clip_for(model).double()
    with torch.no_grad():
        before = model(clip)
        torch.testing.assert_close(for_inference(model, torch.device("cpu"))(clip), before, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_convolution_is_the_formula(affine, bias):
    conv, norm = nn.Conv3d(3, 4, 1, bias=bias).double(), nn.BatchNorm3d(4, eps=0.1, affine=affine).double()
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 2, 5, 5, dtype=torch.float64)
    sequence = nn.Sequential(conv, norm).eval()
    before = sequence(x)
    folded = for_inference(sequence, torch.device("cpu"))
    torch.testing.assert_close(folded(x), before)
    assert isinstance(folded[1], nn.Identity)
    assert isinstance(sequence[1], nn.BatchNorm3d), "the original is left as it is"


def test_a_normalisation_that_no_convolution_precedes_is_left():
    sequence = nn.Sequential(nn.BatchNorm3d(3), nn.ReLU(), nn.Conv3d(3, 3, 1), nn.ReLU(), nn.BatchNorm3d(3))
    folded = for_inference(sequence, torch.device("cpu"))
    assert [type(part) for part in folded][::4] == [nn.BatchNorm3d, nn.BatchNorm3d]
    assert not folded.training


def test_batch_statistics_that_are_not_kept_cannot_be_folded():
    part = ConvNorm(3, 4, FRAME)
    part.bn = nn.BatchNorm3d(4, track_running_stats=False)
    assert isinstance(for_inference(part, torch.device("cpu")).bn, nn.BatchNorm3d)


def test_a_checkpoint_builds_a_network_to_run_or_one_to_train(prepared, tiny, tmp_path):
    from tdpn_core.checkpoint import Checkpoint, TrainingState
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.model.registry import build_model
    from tdpn_core.training.launch import plan

    config = plan(prepared, runtime=set_up(0), overrides=TrainOverrides(settings=tiny))
    weights = randomise(build_model(config.model)).state_dict()
    stored = Checkpoint(config=config, state=TrainingState(), weights=weights, optimiser={})
    run, whole = stored.build(torch.device("cpu")), stored.build(torch.device("cpu"), "train")
    assert set(whole.state_dict()) == set(weights)
    assert sum(isinstance(part, _BatchNorm) for part in run.modules()) == 2
    clip = torch.randn(2, 3, config.model.num_frames * config.model.frames_per_step, 32, 32)
    with torch.no_grad():
        expected, found = whole(clip), run(clip)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
