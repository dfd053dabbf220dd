"""Draws demo.png, one held-out clip of each class: `tdpn demo && python docs/images/demo.py tdpn-demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

FRAMES, SIDE, GAP, CAPTION, COLUMNS = 6, 80, 2, 20, 2


def draw(classes: list[Path]) -> Image.Image:
    """Six frames of the first clip in each folder, under its name."""
    width, height = FRAMES * (SIDE + GAP) + 4 * GAP, CAPTION + SIDE + 2 * GAP
    rows = -(-len(classes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width - 5 * GAP, rows * height - 2 * GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, folder in enumerate(sorted(classes)):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        pen.text((left, top + 1), folder.name, "black", font)
        for place, frame in enumerate(_frames(min(folder.glob("*.mp4")))):
            sheet.paste(frame.resize((SIDE, SIDE)), (left + place * (SIDE + GAP), top + CAPTION))
    return sheet


def _frames(clip: Path) -> list[Image.Image]:
    with av.open(str(clip)) as container:
        pictures = [frame.to_image() for frame in container.decode(video=0)]
    return [pictures[place * (len(pictures) - 1) // (FRAMES - 1)] for place in range(FRAMES)]


if __name__ == "__main__":
    picture = draw(list((Path(sys.argv[1]) / "videos" / "val").iterdir()))
    picture.quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)
