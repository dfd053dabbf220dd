"""Defaults that the library and the command line share: each is written here once, and nothing heavy is imported."""

from __future__ import annotations

from typing import Final

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
"""Frames of the longest clip that is packed: 20 minutes at 30 frames a second."""

MAX_PIXELS = 8192 * 4320
"""Pixels of the largest picture that is packed: 8K in both of its shapes."""

OFFICIAL_SPLIT = 1
"""Of the three official splits of UCF101 and HMDB51."""

LABEL_ORDER: Final = "official"
"""Order of the classes."""

SOURCES: Final = "auto"
"""What is read where a clip is there both as a video and as frames."""

CODEC: Final = "jpeg"
"""How frames are stored."""

EXECUTOR: Final = "local"
"""Where clips are packed."""

# training
KEEP = 2
"""Checkpoints of a run to keep: where the newest turns out damaged, the one before is there."""

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
"""Where fusion weights are searched: half of the reported split's clips, the other half being reported."""

SUPERVISION_LEVELS = (2, 3, 3)
"""Of an EPIC-KITCHENS-100 submission: pre-training, training labels, training data."""

PREDICTED_CLASSES = 5
"""Classes that a prediction names."""

THRESHOLD = 0.0
"""Probability below which a moment is left out of a timeline."""

MIN_LENGTH = 1.0
"""Seconds of the shortest segment of a timeline."""

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
"""Clips that the ranges of int8 are taken from."""

TOLERANCE = 1e-4
"""Largest difference of a probability between a network and its exported file."""

# ablation
SEEDS = 1
"""Runs of each row, with different seeds."""

JOBS = 1
"""Runs at a time on the CPU."""

# benchmarks
BENCH_SIZE = 224
"""Input size in pixels."""

BENCH_BATCH = 2
"""Clips of a step."""

BENCH_ROUNDS = 5
"""Measurements of a network; the median counts."""

READING_SPLIT = "train"
"""Clips of which split are read."""

READING_CLIPS = 32
"""Clips that are read."""

READING_ROUNDS = 7
"""Measurements of reading; the median counts."""

# demo
DEMO_FOLDER = "tdpn-demo"
"""Output folder."""

DEMO_EPOCHS = 10
"""Passes over the data."""

DEMO_CLIPS = 64
"""Training clips of each class; a quarter as many for validation."""
