"""Ablations: a grid of settings, each trained and evaluated as a run, and compared clip by clip with the first."""
