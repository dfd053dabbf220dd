"""Multi-label clips in the demo's style: several objects that move at the same time, and a list of what they do."""

from __future__ import annotations

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tdpn_core.demo.motions import draw_path
from tdpn_core.demo.render import FRAMES, draw_background, draw_objects, encode
from tdpn_core.files import make_folder, write_text
from tdpn_core.rng import derive
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

ACTIONS = ("circling slowly", "moving left", "moving right", "swinging fast")

TOGETHER = 0.8
"""Share of clips with an object that circles in which another one swings; without the first, it is `ALONE`."""

ALONE = 0.25
_CIRCLING, _LEFT, _RIGHT = 0.4, 0.3, 0.3


def render_several_actions(out: Path, *, train: int, val: int, seed: int) -> Path:
    """Write `train` + `val` MP4 files and their `labels.csv` into a folder, and return the list.

    A clip has any number of `ACTIONS`, or none. Objects never move left and right in one clip. Existing clips are
    kept; a seed gives the same clips.

    Raises:
        ToolError: ffmpeg failed.
        TdpnError: a file cannot be written.
    """
    make_folder(out)
    ffmpeg = find_ffmpeg().path
    names = [f"{number:04d}.mp4" for number in range(train + val)]
    drawn = [draw_actions(derive(seed, number)) for number in range(len(names))]

    def write(number: int) -> None:
        path = out / names[number]
        if not path.exists():
            rng = derive(seed, number, 1)
            paths = [draw_path(action, FRAMES, rng) for action in drawn[number]]
            still = np.repeat(rng.random((1, 2)), FRAMES, axis=0)  # an object without an action is always there
            encode(draw_objects([still, *paths], draw_background(rng), rng), path, ffmpeg)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(len(names))))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("path", "labels", "split"))
    writer.writerows(
        (name, "|".join(actions), "train" if number < train else "val")
        for number, (name, actions) in enumerate(zip(names, drawn, strict=True))
    )
    listed = out / "labels.csv"
    write_text(listed, table.getvalue())
    return listed


def draw_actions(rng: np.random.Generator) -> list[str]:
    """Draw the actions of a clip, in the order of `ACTIONS`."""
    circling = rng.random() < _CIRCLING
    swinging = rng.random() < (TOGETHER if circling else ALONE)
    side = rng.random()
    has = (circling, side < _LEFT, _LEFT <= side < _LEFT + _RIGHT, swinging)
    return [action for action, own in zip(ACTIONS, has, strict=True) if own]
