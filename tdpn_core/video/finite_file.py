"""Recognise from its first bytes a file that was complete before it was sent, in contrast to a live stream."""

from __future__ import annotations

MOST = 1 << 16
"""Bytes after which the answer is known."""

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_FRAGMENTS = (b"moof", b"styp", b"sidx")


def is_finite(head: bytes) -> bool | None:
    """Return whether a file begins with `head` whose header was written after its end; None: more bytes are needed.

    These are AVI, MP4 and MOV without fragments, and Matroska and WebM of known size. A live stream cannot be any of
    them; what is of another format may be either, and counts as a stream.
    """
    if len(head) < 12:
        return None
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:4] == _EBML:
        return _known_segment(head)
    if head[4:8] == b"ftyp":
        return _without_fragments(head)
    return False


def _known_segment(head: bytes) -> bool | None:
    """Return whether Matroska's Segment states its size; of a live recording all bits of the size are ones."""
    at = head.find(_SEGMENT) + len(_SEGMENT)
    if at < len(_SEGMENT) or at >= len(head):
        return False if len(head) >= MOST else None
    count = 9 - head[at].bit_length()
    size = head[at : at + count]
    if len(size) < count or not 1 <= count <= 8:
        return None if 1 <= count <= 8 and len(head) < MOST else False
    value = int.from_bytes(size, "big") & ((1 << 7 * count) - 1)
    return value != (1 << 7 * count) - 1


def _without_fragments(head: bytes) -> bool | None:
    """Return whether the index of an MP4 file describes all of it (ISO/IEC 14496-12: `mvex` announces fragments)."""
    at = 0
    while at + 8 <= len(head):
        size, name = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if name in _FRAGMENTS:
            return False
        if name == b"mdat" or (name == b"moov" and size > MOST // 2):  # an index without samples is small
            return True
        if name == b"moov":
            if at + size > len(head):
                return None
            return b"mvex" not in head[at : at + size]
        if size < 8:
            return False
        at += size
    return True if len(head) >= MOST else None
