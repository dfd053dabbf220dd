"""Read the exports of annotation tools to segments: one file per tool, and a line in `formats`."""
