"""From a video file to frames: ffmpeg's programs, each clip in a child process with limits."""

from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg

__all__ = ["Program", "find_ffmpeg"]
