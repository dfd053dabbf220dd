"""Program of the child process of `tdpn_core.video.probe`: reads containers with PyAV without decoding.

It reads one JSON object per line from standard input (`path`, `formats`, `max_pixels`, `scan`) and writes one to
standard output. It imports nothing from tdpn, so that it starts fast, and is run by its path.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import av
from av.stream import Disposition

_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
_PEEK = 10_000  # largest number of packets read to find which of several video streams moves


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        try:
            answer = probe(**json.loads(line))
        except av.error.FFmpegError as error:  # an error of libav about the file
            answer = {"error": type(error).__name__}
        except Exception as error:
            answer = {"error": f"cannot be read ({type(error).__name__})"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def probe(path: str, formats: str, max_pixels: int, scan: bool) -> dict[str, Any]:
    """Return a container's metadata; with `scan`, also counts over all its packets."""
    options = {"format_whitelist": formats, "protocol_whitelist": "file", "max_pixels": str(max_pixels)}
    with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
        streams = [_stream(stream) for stream in container.streams]
        films = [stream["index"] for stream in streams if stream["kind"] == "video" and not stream["cover"]]
        fault = _count(container, streams, [] if scan else films) if scan or len(films) > 1 else ""
        return {
            "container": container.format.name,
            "seconds": None if container.duration is None else container.duration / av.time_base,
            "start": (container.start_time or 0) / av.time_base,
            "streams": streams,
            "scanned": scan,
            "fault": fault,
        }


def _stream(stream: Any) -> dict[str, Any]:
    tick = float(stream.time_base or 0)
    known = {
        "index": stream.index,
        "kind": stream.type,
        "codec": stream.codec_context.name if stream.codec_context else "",
        "cover": bool(stream.disposition & _PICTURES),
        "default": bool(stream.disposition & Disposition.default),
        "tick": tick,
        "seconds": None if stream.duration is None else stream.duration * tick,
        "tag": stream.metadata.get("DURATION", ""),
        "frames": stream.frames,
        "packets": 0,
        "shown": 0,
        "corrupt": 0,
        "end": None,
    }
    if stream.type == "video":
        rates = (stream.average_rate, stream.base_rate)
        size = {"width": stream.codec_context.width, "height": stream.codec_context.height}
        known |= {**size, "rates": [[rate.numerator, rate.denominator] for rate in rates if rate]}
    return known


def _count(container: Any, streams: list[dict[str, Any]], until: list[int]) -> str:
    """Count packets into `streams`: all, or until each stream in `until` has two. Returns the error that ended it."""
    try:
        for number, packet in enumerate(container.demux()):
            if packet.size == 0 and packet.dts is None and packet.pts is None:
                continue  # end-of-stream marker
            if packet.stream_index >= len(streams):
                continue  # a stream that began later
            found = streams[packet.stream_index]
            found["packets"] += 1
            found["shown"] += not packet.is_discard
            found["corrupt"] += packet.is_corrupt
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * found["tick"]
                found["end"] = end if found["end"] is None else max(end, found["end"])
            if until and (number >= _PEEK or all(streams[index]["packets"] > 1 for index in until)):
                break
    except Exception as error:
        return type(error).__name__
    return ""


if __name__ == "__main__":
    main()
