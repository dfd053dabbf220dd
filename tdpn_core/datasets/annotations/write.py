"""Write predicted segments for annotation tools, so that corrections are what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.datasets.annotations import elan, label_studio, table
from tdpn_core.datasets.annotations.segment import ScoredSegment
from tdpn_core.errors import UsageError
from tdpn_core.files import make_folder, write_text

_TABLE, _TASKS, _ELAN = ".csv", ".json", ".eaf"


@dataclass(frozen=True)
class SegmentFile:
    """Where to write segments: a CSV file, Label Studio's JSON, or a file of ELAN for each video."""

    path: Path
    """`.csv`, `.json`, `.eaf` for one video, or a folder for a file of ELAN for each video."""

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in (_TABLE, _TASKS, _ELAN, ""):
            what = f"segments are written as .csv, .json or .eaf, not {self.path.suffix}"
            raise UsageError(what, where=self.path, hint="or name a folder for a file of ELAN for each video")

    def files(self, videos: Sequence[str]) -> list[Path]:
        """Return the files to be written.

        Raises:
            UsageError: several videos, and the file describes one.
        """
        ending = self.path.suffix.lower()
        if ending == _ELAN and len(videos) > 1:
            hint = f"name a folder, such as {self.path.with_suffix('')}"
            raise UsageError(f"one file of ELAN for {len(videos)} videos", where=self.path, hint=hint)
        return [self.path] if ending else [self.path / f"{name}{_ELAN}" for name in _names(videos)]

    def write(
        self, videos: Sequence[str], rates: Mapping[str, float], segments: Iterable[ScoredSegment], network: str
    ) -> None:
        """Write the segments of videos.

        Args:
            videos: names of all videos, which files of ELAN are named after.
            rates: frames per second of the videos to write, also of those without a segment.
            segments: in seconds.
            network: which network made them.

        Raises:
            TdpnError: a file cannot be written.
        """
        own: dict[str, list[ScoredSegment]] = {video: [] for video in rates}
        for segment in segments:
            own[segment.video].append(segment)
        ending = self.path.suffix.lower()
        files = dict(zip(videos, self.files(videos), strict=True)) if ending in (_ELAN, "") else {}
        make_folder(self.path.parent if ending else self.path)
        if ending == _TABLE:
            write_text(self.path, table.written(one for found in own.values() for one in found))
        elif ending == _TASKS:
            write_text(self.path, label_studio.written(own, rates, network))
        for video, file in files.items():
            if video in own:
                write_text(file, elan.written(video, own[video], file.parent))


def _names(videos: Sequence[str]) -> list[str]:
    """Return a different name for each video, from its file name."""
    seen: Counter[str] = Counter()
    names = []
    for video in videos:
        stem = Path(video).stem
        seen[stem] += 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names
