"""Batch normalisations to which nothing is neutral."""

from torch import nn


def randomise(module: nn.Module) -> nn.Module:
    """Random statistics and affine parameters for every batch normalisation, zero-initialised ones included."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm3d):
            nn.init.normal_(norm.weight, 1.0, 0.2)
            nn.init.normal_(norm.bias, 0.0, 0.2)
            nn.init.normal_(norm.running_mean, 0.0, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module
