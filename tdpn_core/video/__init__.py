"""Decode videos to frames with ffmpeg, each clip in a resource-limited child process."""

from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg

__all__ = ["Program", "find_ffmpeg"]
