"""Roles of list file columns, by the names used in headers."""

from __future__ import annotations

from collections.abc import Sequence

PATH, LABEL, NAME, SPLIT, START, END = "path", "label", "class name", "split", "start", "end"

COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    PATH: (
        "path", "file_path", "filepath", "video_path", "clip_path", "relative_path", "full_path", "frame_path",
        "file_name", "filename", "file", "fname", "video_name", "video_file", "clip_name", "video", "clip", "name",
        "video_id", "vid_name", "vid", "clip_id", "id",
    ),
    LABEL: (
        "label", "labels", "class", "classes", "target", "category", "tag", "action", "activity", "gesture", "gloss",
        "label_id", "class_id", "category_id", "action_id", "label_idx", "class_idx", "class_index", "label_index",
        "class_number", "y",
    ),
    NAME: (
        "label_name", "class_name", "category_name", "action_name", "label_text", "class_label", "labelname",
        "classname", "action_label",
    ),
    SPLIT: ("split", "subset", "set", "partition", "usage", "phase"),
    START: ("start", "start_time", "time_start", "start_sec", "start_s", "t_start", "start_frame", "start_timestamp",
            "begin", "onset", "segment_start"),
    END: ("end", "end_time", "time_end", "end_sec", "end_s", "t_end", "end_frame", "end_timestamp", "stop",
          "stop_time", "stop_frame", "stop_timestamp", "segment_end"),
}  # fmt: skip
"""Names for each role, the preferred first; compared in lower case, with spaces and hyphens as underscores."""


def plain(name: str) -> str:
    """Return a column's name as used for comparison."""
    return name.strip().strip("\"'").lower().replace(" ", "_").replace("-", "_")


def places_of(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns for each role in a header, the preferred first; each column has one role."""
    names = [plain(name) for name in header]
    places = {role: [names.index(known) for known in known_names if known in names]
              for role, known_names in COLUMN_NAMES.items()}  # fmt: skip
    return {role: found for role, found in places.items() if found}
