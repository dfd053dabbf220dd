"""The demo's classes: motions that differ in direction, acceleration or tempo, but not in single frames.

The frame is a torus: what leaves it on one side returns on the other. A motion starts anywhere, so that at any time the
object's position is uniformly distributed for every class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.float64]
"""A path (frames, 2), x to the right and y downward, as shares of the frame's side."""

Motion = Callable[[npt.NDArray[np.float64], np.random.Generator], Positions]
"""Draws a path relative to its start, at the given times in frames."""


def _moving(direction: int) -> Motion:
    def motion(time: npt.NDArray[np.float64], rng: np.random.Generator) -> Positions:
        return np.outer(direction * rng.uniform(0.014, 0.036) * time, [1.0, 0.0])

    return motion


def _changing_speed(faster: bool) -> Motion:
    def motion(time: npt.NDArray[np.float64], rng: np.random.Generator) -> Positions:
        slow, fast = rng.uniform(0.002, 0.008), rng.uniform(0.036, 0.05)
        speed = slow + (fast - slow) * (time if faster else time[::-1]) / max(time[-1], 1)
        return np.outer(rng.choice([-1, 1]) * np.cumsum(speed), [0.0, 1.0])

    return motion


def _swinging(shortest: float, longest: float) -> Motion:
    def motion(time: npt.NDArray[np.float64], rng: np.random.Generator) -> Positions:
        turn = rng.uniform(0, np.pi)
        phase = 2 * np.pi * (time / rng.uniform(shortest, longest) + rng.random())
        return np.outer(rng.uniform(0.14, 0.24) * np.sin(phase), [np.cos(turn), np.sin(turn)])

    return motion


def _circling(shortest: float, longest: float) -> Motion:
    def motion(time: npt.NDArray[np.float64], rng: np.random.Generator) -> Positions:
        phase = 2 * np.pi * (rng.choice([-1, 1]) * time / rng.uniform(shortest, longest) + rng.random())
        return rng.uniform(0.14, 0.24) * np.stack([np.cos(phase), np.sin(phase)], axis=1)

    return motion


MOTIONS: dict[str, Motion] = {
    "circling fast": _circling(13, 18),
    "circling slowly": _circling(40, 60),
    "moving left": _moving(-1),
    "moving right": _moving(1),
    "slowing down": _changing_speed(faster=False),
    "speeding up": _changing_speed(faster=True),
    "swinging fast": _swinging(11, 15),
    "swinging slowly": _swinging(33, 48),
}
"""Motions by class name; periods are in frames."""


def draw_path(name: str, frames: int, rng: np.random.Generator) -> Positions:
    """Draw a path of class `name` over `frames` frames from a random start, (frames, 2), on the torus [0, 1)²."""
    return (rng.random(2) + MOTIONS[name](np.arange(frames, dtype=np.float64), rng)) % 1.0
