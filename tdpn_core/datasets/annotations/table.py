"""Lists with a header and a segment per row: video, start, end, label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tdpn_core.datasets.annotation_io import check_quotes, read_fields, shorten
from tdpn_core.datasets.annotations.segment import EVERY, Annotations, Collector, ScoredSegment, Segment
from tdpn_core.datasets.annotations.times import parse_frame, parse_seconds
from tdpn_core.datasets.columns import END, LABEL, NAME, PATH, SPLIT, START, places_of, plain
from tdpn_core.datasets.list_grammar import split_labels
from tdpn_core.errors import DatasetError
from tdpn_core.wording import counted

SUFFIXES = (".csv", ".tsv", ".txt", ".list")
_SEPARATORS = ("\t", ";", ",")
_DURATION = ("duration", "duration_s", "duration_sec", "segment_duration")
TITLE = "list of segments"
_NOTHING = {"", "nan", "none", "null", "n/a", "na"}


def matches(path: Path) -> bool:
    """Return whether the first line names a video and a start or end."""
    header, _ = _header(path)
    roles = places_of(header)
    return PATH in roles and (START in roles or END in roles)


def read(path: Path) -> Annotations:
    """Read a list.

    Raises:
        DatasetError: it has no column of the start, end or label, or a row gives another split than the video's first.
    """
    header, separator = _header(path)
    roles = places_of(header)
    found = Collector(path, TITLE)
    rows = read_fields(path, separator)
    next(rows, None)
    columns = _Columns(path, header, roles)
    found.columns = columns.named()
    found.ignored = columns.ignored()
    several = 0
    for line, fields in rows:
        several += columns.add(line, fields, found, separator)
    if several:
        rows_have = counted(several, "row has", "rows have")
        found.notes.append(f"{path.name}: {rows_have} several labels, with a segment for each")
    return found.finished()


def written(segments: Iterable[ScoredSegment]) -> str:
    """Return segments in seconds as CSV: `video,start,end,label,score`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("video", "start", "end", "label", "score"))
    writer.writerows(
        (one.video, f"{one.start:.3f}", f"{one.stop:.3f}", one.label, f"{one.score:.6f}") for one in segments
    )
    return out.getvalue()


def _header(path: Path) -> tuple[list[str], str]:
    """Return the header and the separator under which it has the most fields."""
    best: tuple[list[str], str] = ([], ",")
    for separator in _SEPARATORS:
        fields = next((fields for _, fields in islice(read_fields(path, separator), 1)), [])
        if len(fields) > len(best[0]):
            best = (fields, separator)
    return best


class _Columns:
    """The columns of a list by role."""

    def __init__(self, path: Path, header: list[str], roles: dict[str, list[int]]) -> None:
        self._path, self._header = path, header
        names = [plain(name) for name in header]
        self._duration = next((names.index(name) for name in _DURATION if name in names), None)
        self._video = roles[PATH][0]
        labels = roles.get(NAME, roles.get(LABEL))
        if not labels:
            hint = f"its header is {','.join(header)}; name it label"
            raise DatasetError("has times but no column of the labels", where=path, hint=hint)
        self._label = labels[0]
        self._split = roles[SPLIT][0] if SPLIT in roles else None
        starts, ends = roles.get(START, []), roles.get(END, [])
        seconds = [[place for place in places if "frame" not in names[place]] for places in (starts, ends)]
        frames = [[place for place in places if "frame" in names[place]] for places in (starts, ends)]
        stops = seconds[1] or ([self._duration] if self._duration is not None else [])
        self._lasts = not seconds[1]  # the end is a duration
        if seconds[0] and stops:
            self._start, self._stop, self.in_frames = seconds[0][0], stops[0], False
        elif frames[0] and frames[1]:
            self._start, self._stop, self.in_frames, self._lasts = frames[0][0], frames[1][0], True, False
        else:
            lacking = "end" if starts else "start"
            hint = "give start and end in seconds, or start_frame and end_frame"
            raise DatasetError(f"has no matching {lacking} column; its header is {','.join(header)}", where=path,
                               hint=hint)  # fmt: skip
        self._used = [self._video, self._label, self._start, self._stop]
        self._used += [] if self._split is None else [self._split]
        self._needed = max(self._used)

    def named(self) -> dict[str, str]:
        """Return the header's name of each role."""
        roles = {PATH: self._video, LABEL: self._label, START: self._start, END: self._stop}
        if self._split is not None:
            roles[SPLIT] = self._split
        return {role: self._header[place] for role, place in roles.items()}

    def ignored(self) -> list[str]:
        """Return the names of the other columns."""
        used = set(self.named().values())
        return [name for name in self._header if name and name not in used]

    def add(self, line: int, fields: list[str], found: Collector, separator: str) -> bool:
        """Add the segments of a row; return whether it has several labels."""
        text = separator.join(fields)
        short = len(fields) <= self._needed
        check_quotes(self._path, line, fields if short else [fields[place] for place in self._used])
        if len(fields) > len(self._header):
            found.odd(line, f"has {len(fields)} fields, but the header has {len(self._header)} (quote decimal commas)",
                      shorten(text), lacks=fields[self._video] or EVERY)  # fmt: skip
            return False
        if short:
            video = fields[self._video] if len(fields) > self._video else EVERY
            what = f"has {len(fields)} fields, but the header has {len(self._header)}"
            found.odd(line, what, shorten(text), lacks=video)
            return False
        video = fields[self._video]
        if not video:
            found.odd(line, "names no video", shorten(text), lacks=EVERY)
            return False
        split = fields[self._split] if self._split is not None else ""
        found.video(video, line, split or None)
        times = self._times(fields)
        if isinstance(times, str):
            found.odd(line, times, shorten(text), lacks=video)
            return False
        label = fields[self._label]
        labels = split_labels(label)
        for one in labels or [""]:
            name = "" if one.lower() in _NOTHING else one
            found.add(Segment(video, *times, name, line, self.in_frames))
        return len(labels) > 1

    def _times(self, fields: list[str]) -> tuple[float, float] | str:
        parse = parse_frame if self.in_frames else parse_seconds
        values: list[float] = []
        for place in (self._start, self._stop):
            value = parse(fields[place])
            if value is None:
                unit = "a frame number" if self.in_frames else "a time (12.5, 1:02.5 or 1:02:03)"
                return f"{self._header[place]} {shorten(fields[place])} is not {unit}"
            values.append(value)
        start, stop = values
        return start, (start + stop if self._lasts else stop + self.in_frames)
