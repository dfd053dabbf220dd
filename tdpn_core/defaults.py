"""Defaults shared by the library and the command line, each defined once; imports nothing heavy."""

from __future__ import annotations

from typing import Final, Literal

MODEL = "tdpn"
"""Model family."""

SEED = 0
"""Random seed."""

# preparation
SHORT_SIDE = 256
"""Pixels of the shorter side of stored frames."""

JPEG_QUALITY = 3
"""ffmpeg's JPEG quantiser."""

MAX_FRAMES = 36_000
"""Longest clip that is packed, in frames: 20 minutes at 30 frames per second."""

MAX_PIXELS = 8192 * 4320
"""Largest picture that is packed, in pixels: both 8K formats fit."""

OFFICIAL_SPLIT = 1
"""Official split of UCF101 and HMDB51: 1, 2 or 3."""

LABEL_ORDER: Final = "official"
"""Order of the classes."""

SOURCES: Final = "auto"
"""What is read where a clip is there both as a video and as frames."""

OVERLAPS: Final = "refuse"
"""Which of overlapping segments with different labels are used."""

BACKGROUND_SHARE: Final = 0.2
"""Share of the clips of a split that are background."""

BACKGROUND_LENGTH: Final = 1.0
"""Shortest background clip in seconds."""

BACKGROUND_MARGIN: Final = 0.5
"""Seconds between a background clip and the nearest segment."""

CODEC: Final = "jpeg"
"""How frames are stored."""

EXECUTOR: Final = "local"
"""Where clips are packed."""

# training
ProbeKind = Literal["linear", "attentive"]
"""Classifiers of frozen features."""

KEEP = 2
"""Checkpoints of a run to keep, so that an older one exists if the newest is damaged."""

TIMEOUT = 600.0
"""Seconds without progress after which hung processes are ended."""

NODES = 1
"""Machines that train together."""

MAX_RESTARTS = 3
"""Restarts from the last checkpoint after a process died."""

# evaluation and prediction
SPLIT = "val"
"""Clips that are scored."""

TOP_K = (1, 5)
"""Each k of top-k accuracy."""

SEARCH_ON = "half"
"""Where fusion weights are searched: half of the reported split's clips; the other half is reported."""

SUPERVISION_LEVELS = (2, 3, 3)
"""Supervision levels of an EPIC-KITCHENS-100 submission: pre-training, training labels, training data."""

PREDICTED_CLASSES = 5
"""Number of classes in a prediction."""

KEEP_RIGHT: Final = 0.95
"""Share of the right answers on validation clips that the threshold of a calibrated network keeps."""
FEW_CALIBRATED = 50
"""Clips below which a calibration is reported as uncertain."""

THRESHOLD = 0.0
"""Probability below which windows are left out of a timeline."""

MIN_LENGTH = 1.0
"""Shortest segment of a timeline in seconds."""

BACKGROUND: Final = "background"
"""Name of the class that means that nothing happens: a gap in a timeline, not an answer."""

TIMELINE_OVERLAPS = tuple(round(0.1 + 0.05 * step, 2) for step in range(18))
"""Temporal IoU thresholds of detection mAP: 0.1 to 0.95."""

TIMELINE_F1 = (10, 25, 50)
"""Overlaps of segment F1 in percent."""

TIMELINE_RATE = 25.0
"""Moments a second at which a timeline's accuracy is measured."""

FRAME_RATE = 25.0
"""Frames a second of numbered pictures, and of a video that does not say."""

FETCH_SECONDS = 600.0
"""For the download of a video that is predicted."""

IDLE_SECONDS = 30.0
"""Without progress, after which the server of a video is given up."""

# export
FORMAT: Final = "onnx"
"""File format."""

COMPARED_CLIPS = 8
"""Clips that an exported file is compared on."""

COMPARED_CLIPS_INT8 = 64
"""The same where it is quantised, which few clips cannot judge."""

CALIBRATION_CLIPS = 32
"""Number of clips from which int8 ranges are derived."""

TOLERANCE = 1e-4
"""Largest accepted difference of a probability between a network and its exported file."""

# ablation
SEEDS = 1
"""Runs per row, with different seeds."""

JOBS = 1
"""Parallel runs on the CPU."""

SEARCH_HOLDOUT = 0.25
"""Share of the training videos on which learning rates are compared."""

# benchmarks
BENCH_SIZE = 224
"""Input size in pixels."""

BENCH_BATCH = 2
"""Clips per step."""

BENCH_ROUNDS = 5
"""Measurements of a network; the median is reported."""

READING_SPLIT = "train"
"""Clips of which split are read."""

READING_CLIPS = 32
"""Number of clips to read."""

READING_ROUNDS = 7
"""Measurements of reading; the median is reported."""

# demo
DEMO_FOLDER = "tdpn-demo"
"""Output folder."""

DEMO_EPOCHS = 10
"""Training epochs."""

DEMO_CLIPS = 64
"""Training clips per class; validation has a quarter as many."""
