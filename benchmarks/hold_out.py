"""Hold out a random third of each class of a folder of clips, as links: `python benchmarks/hold_out.py FOLDER OUT`."""

import random
import sys
from pathlib import Path

source, out = map(Path, sys.argv[1:])
draw = random.Random(0)
for folder in sorted(path for path in source.iterdir() if path.is_dir()):
    files = sorted(path for path in folder.iterdir() if path.is_file())
    held = set(draw.sample(files, round(len(files) / 3)))
    for file in files:
        link = out / ("val" if file in held else "train") / folder.name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.absolute())
