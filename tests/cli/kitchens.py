"""A miniature of EPIC-KITCHENS-100: its csv files and its tree, over small videos whose segments can be told apart."""

import subprocess
from pathlib import Path

from tdpn_core.video.ffmpeg_binary import find_ffmpeg

VERBS, NOUNS = 97, 300
SEGMENT_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame"
)
LABEL_HEADER = "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
MOTIONS = {0: "scroll=h=0.03", 1: "scroll=v=0.03", 2: "null"}
"""What a verb looks like; a noun is a hue."""

TRAIN = {
    "P01_01": [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)],
    "P02_101": [(0, 0), (1, 1), (2, 2), (0, 2), (1, 2), (2, 0)],
}
VAL = {"P01_102": [(0, 0), (1, 1), (2, 2)], "P18_03": [(0, 1), (1, 0), (2, 1)]}
TEST = {"P33_101": [(0, 0), (1, 1)]}
"""(verb, noun) of the segments of each video, which last a second each."""

UNSEEN, TAIL_VERBS, TAIL_NOUNS = ["P18"], [2], [2]
"""Participants apart in validation, and rare classes."""


def make_kitchens(root: Path, *, lists: bool = True, absent: int = 2) -> Path:
    """The data set below `root`; without `lists`, those of unseen participants and tail classes are not there.

    Of the validation list, `absent` segments are of a video that is not on disk.
    """
    for video, pairs in (TRAIN | VAL | TEST).items():
        _render(root / "EPIC-KITCHENS" / video[:3] / "videos" / f"{video}.MP4", pairs)
    folder = root / "annotations"
    folder.mkdir()
    gone = {"P18_07": [(0, 0)] * absent}
    for name, videos in (("train", TRAIN), ("validation", VAL | gone)):
        rows = [_segment(video, number) + _label(*pair) for video, pairs in videos.items() for number, pair in
                enumerate(pairs)]  # fmt: skip
        _write(folder / f"EPIC_100_{name}.csv", f"{SEGMENT_HEADER},{LABEL_HEADER}", rows)
    rows = [_segment(video, number) for video, pairs in TEST.items() for number in range(len(pairs))]
    _write(folder / "EPIC_100_test_timestamps.csv", SEGMENT_HEADER, rows)
    for head, count in (("verb", VERBS), ("noun", NOUNS)):
        rows = [f"{label},{head}-{label},\"['{head}-{label}']\",some" for label in range(count)]
        _write(folder / f"EPIC_100_{head}_classes.csv", "id,key,instances,category", rows)
    if lists:
        write_lists(folder)
    return root


def write_lists(folder: Path) -> None:
    """The lists of what the challenge scores apart."""
    folder.mkdir(exist_ok=True)
    _write(folder / "EPIC_100_tail_verbs.csv", "verb", map(str, TAIL_VERBS))
    _write(folder / "EPIC_100_tail_nouns.csv", "noun", map(str, TAIL_NOUNS))
    _write(folder / "EPIC_100_unseen_participant_ids_validation.csv", "participant_id", UNSEEN)
    _write(folder / "EPIC_100_unseen_participant_ids_test.csv", "participant_id", ["P33"])


def _segment(video: str, number: int) -> str:
    rate = 60 if len(video) == 6 else 50
    time = f"00:00:{number + 0.1:05.2f},00:00:{number + 0.9:05.2f}"
    frames = f"{round((number + 0.1) * rate)},{round((number + 0.9) * rate)}"
    return f"{video}_{number},{video[:3]},{video},00:00:{number:02}.000,{time},{frames}"


def _label(verb: int, noun: int) -> str:
    return f",do it,verb-{verb},{verb},noun-{noun},{noun},\"['noun-{noun}', 'noun-9']\",\"[{noun}, 9]\""


def _write(path: Path, header: str, rows) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")


def _render(path: Path, pairs: list[tuple[int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = []
    for verb, noun in pairs:
        picture = f"testsrc2=size=96x64:rate=25:duration=1,trim=end_frame=1,loop=24:1,hue=h={noun * 120}"
        inputs += ["-f", "lavfi", "-i", f"{picture},{MOTIONS[verb]},setpts=N/25/TB"]
    joined = "".join(f"[{number}:v]" for number in range(len(pairs))) + f"concat=n={len(pairs)}"
    command = [find_ffmpeg().path, "-y", "-loglevel", "error", *inputs, "-filter_complex", joined, "-threads", "1"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
