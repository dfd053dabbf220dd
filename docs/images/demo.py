"""Draws demo.png from a folder of `tdpn demo` and, on stdin, what its network predicts.

tdpn demo && tdpn predict tdpn-demo/videos/val --checkpoint tdpn-demo/runs/demo --json | python demo.py tdpn-demo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

FRAMES, SIDE, GAP, CAPTION, COLUMNS = 6, 80, 2, 20, 2


def draw(folder: Path, answer: dict) -> Image.Image:
    """One held-out clip of each class, with the class that the network predicts."""
    clips = {}
    for clip in answer["clips"]:
        clips.setdefault(Path(clip["clip"]).parent.name, clip)
    width, height = FRAMES * (SIDE + GAP) + 4 * GAP, CAPTION + SIDE + 2 * GAP
    rows = -(-len(clips) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width - 5 * GAP, rows * height - 2 * GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (label, clip) in enumerate(sorted(clips.items())):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        best = clip["heads"]["action"][0]
        pen.text((left, top + 1), f"{label}: predicted {best['label']}, {best['probability']:.0%}", "black", font)
        for place, frame in enumerate(_frames(folder, clip["clip"])):
            sheet.paste(frame.resize((SIDE, SIDE)), (left + place * (SIDE + GAP), top + CAPTION))
    return sheet


def _frames(folder: Path, name: str) -> list[Image.Image]:
    path = next(path for path in (Path(name), folder / name) if path.exists())
    with av.open(str(path)) as container:
        pictures = [frame.to_image() for frame in container.decode(video=0)]
    return [pictures[place * (len(pictures) - 1) // (FRAMES - 1)] for place in range(FRAMES)]


if __name__ == "__main__":
    picture = draw(Path(sys.argv[1]), json.load(sys.stdin))
    picture.quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)
