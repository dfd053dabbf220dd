"""ELAN's `.eaf`: annotations on tiers between time slots in milliseconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from tdpn_core.datasets.annotations.segment import Annotations, Collector, Segment
from tdpn_core.datasets.annotations.xml_file import read_xml
from tdpn_core.errors import DatasetError


def matches(path: Path) -> bool:
    """Return whether the root element is ELAN's."""
    return read_xml(path).tag == "ANNOTATION_DOCUMENT"


def read(path: Path) -> Annotations:
    """Read a file of one video; the values of all time-aligned tiers are labels.

    Raises:
        DatasetError: the file is malformed or names no media.
    """
    root = read_xml(path)
    video, origin = _media(root, path)
    slots = {slot.get("TIME_SLOT_ID", ""): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    found = Collector(path, "ELAN")
    found.video(video, 1)
    position, tiers, depending = 0, [], 0
    for tier in root.iter("TIER"):
        aligned = list(tier.iter("ALIGNABLE_ANNOTATION"))
        depending += sum(1 for _ in tier.iter("REF_ANNOTATION"))
        tiers += [tier.get("TIER_ID", "")] if aligned else []
        for entry in aligned:
            position += 1
            times = [_seconds(slots.get(entry.get(f"TIME_SLOT_REF{end}", "")), origin) for end in (1, 2)]
            label = " ".join((entry.findtext("ANNOTATION_VALUE") or "").split())
            if times[0] is None or times[1] is None:
                found.odd(position, "has a time slot without a time", f"{video} {label}", lacks=video)
            else:
                found.add(Segment(video, times[0], times[1], label, position))
    if len(tiers) > 1:
        found.notes.append(f"{path.name}: the labels of {len(tiers)} tiers are read: {', '.join(tiers)}")
    if depending:
        found.notes.append(f"{path.name}: {depending} annotations that refer to others have no times and are not read")
    return found.finished()


def _media(root: Element, path: Path) -> tuple[str, float]:
    """Return the path of the first medium, and the time in it of the annotations' zero, in seconds."""
    media = [one for one in root.iter("MEDIA_DESCRIPTOR") if one.get("RELATIVE_MEDIA_URL") or one.get("MEDIA_URL")]
    video = [one for one in media if (one.get("MIME_TYPE") or "").startswith("video")]
    if not media:
        raise DatasetError("names no media file (MEDIA_DESCRIPTOR)", where=path, hint="link the video in ELAN")
    first = (video or media)[0]
    url = first.get("RELATIVE_MEDIA_URL") or first.get("MEDIA_URL") or ""
    try:
        origin = int(first.get("TIME_ORIGIN") or 0) / 1000
    except ValueError:
        raise DatasetError(f"TIME_ORIGIN is not a number: {first.get('TIME_ORIGIN')!r}", where=path) from None
    return unquote(url.removeprefix("file://")), origin


def _seconds(milliseconds: str | None, origin: float) -> float | None:
    if milliseconds is None or not milliseconds.isdecimal():
        return None
    return int(milliseconds) / 1000 + origin


def written(video: str, segments: Sequence[Segment], folder: Path) -> str:
    """Return a document of one video, for a file in `folder`; a tier has no overlaps, so these need several tiers.

    Args:
        video: path or address.
        segments: in seconds.
        folder: where the document will be, for the relative path of the video.
    """
    root = Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE=datetime.now(UTC).isoformat(), FORMAT="3.0", VERSION="3.0")
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    SubElement(header, "MEDIA_DESCRIPTOR", _addresses(video, folder), MIME_TYPE="video/*")
    order = SubElement(root, "TIME_ORDER")
    number = 0
    for place, tier in enumerate(_tiers(segments), 1):
        named = SubElement(root, "TIER", LINGUISTIC_TYPE_REF="action", TIER_ID="actions" + f" {place}" * (place > 1))
        for one in tier:
            number += 1
            start = round(one.start * 1000)
            slots = {}
            for end, time in enumerate((start, max(start + 1, round(one.stop * 1000))), 1):
                slots[f"TIME_SLOT_REF{end}"] = f"ts{2 * number + end - 2}"
                SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slots[f"TIME_SLOT_REF{end}"], TIME_VALUE=str(time))
            annotation = SubElement(named, "ANNOTATION")
            aligned = SubElement(annotation, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number}", **slots})
            SubElement(aligned, "ANNOTATION_VALUE").text = one.label
    SubElement(root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="action", TIME_ALIGNABLE="true", GRAPHIC_REFERENCES="false")
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _addresses(video: str, folder: Path) -> dict[str, str]:
    if "://" in video:
        return {"MEDIA_URL": video}
    path = Path(video).resolve()
    near = quote(os.path.relpath(path, folder.resolve()))
    return {"MEDIA_URL": f"file://{quote(str(path))}", "RELATIVE_MEDIA_URL": near}


def _tiers(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the segments in as few lists without overlaps as possible; one list without segments."""
    tiers: list[list[Segment]] = [[]]
    for one in sorted(segments, key=lambda one: (one.start, one.stop)):
        free = next((tier for tier in tiers if not tier or tier[-1].stop <= one.start), None)
        if free is None:
            tiers.append(free := [])
        free.append(one)
    return tiers
