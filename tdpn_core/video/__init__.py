"""From a video file to frames: ffmpeg's programs, each clip in a child process with limits."""

from tdpn_core.video.program import Program, find_ffmpeg

__all__ = ["Program", "find_ffmpeg"]
