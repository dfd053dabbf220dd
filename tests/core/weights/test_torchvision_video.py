"""R(2+1)D-18, restated with torchvision's names from its published layout."""

import pytest
import torch
from torch import nn

import tdpn_core


def pair(channels, between, out, stride=1):
    """Over space, then over time."""
    return nn.Sequential(
        nn.Conv3d(channels, between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(),
        nn.Conv3d(between, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        between = (channels * out * 27) // (channels * 9 + 3 * out)
        self.conv1 = nn.Sequential(pair(channels, between, out, stride), nn.BatchNorm3d(out), nn.ReLU())
        self.conv2 = nn.Sequential(pair(out, between, out), nn.BatchNorm3d(out))
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv3d(channels, out, 1, stride, bias=False), nn.BatchNorm3d(out))

    def forward(self, x):
        beside = self.downsample(x) if hasattr(self, "downsample") else x
        return torch.relu(self.conv2(self.conv1(x)) + beside)


class Theirs(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(45),
            nn.ReLU(),
            nn.Conv3d(45, 64, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(),
        )
        widths = (64, 64, 128, 256, 512)
        for stage in range(1, 5):
            before, out = widths[stage - 1], widths[stage]
            self.add_module(
                f"layer{stage}", nn.Sequential(Block(before, out, 1 if stage == 1 else 2), Block(out, out, 1))
            )
        self.fc = nn.Linear(512, classes)

    def forward(self, clip):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(clip)))))
        return self.fc(x.mean((2, 3, 4)))


def test_r2plus1d_18_is_torchvisions(write):
    torch.manual_seed(0)
    theirs = Theirs(7).eval()
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm3d):
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.normal_(norm.running_mean, std=0.1)
    assert sum(value.numel() for value in theirs.parameters()) - theirs.fc.bias.numel() * 513 == 31_505_325 - 400 * 513
    model = tdpn_core.load_model(write(theirs.state_dict()))
    assert (model.config.name, model.config.arch, model.config.num_classes) == ("r2plus1d", "r18", {"action": 7})
    clip = torch.randn(1, 3, 8, 32, 48)
    with torch.no_grad():
        expected, found = theirs(clip), model(clip)
    assert (found - expected).abs().max().item() == pytest.approx(0, abs=1e-4 * expected.abs().max().item())
