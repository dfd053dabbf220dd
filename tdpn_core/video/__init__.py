"""From a video file to frames: the ffmpeg and decord programs, each clip in a child process with limits."""

from tdpn_core.video.decode import VideoInfo, probe_video, read_frames
from tdpn_core.video.program import Program, find_ffmpeg

__all__ = ["Program", "VideoInfo", "find_ffmpeg", "probe_video", "read_frames"]
