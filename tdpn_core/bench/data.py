"""Measure reading clips for training: speed, time by stage, and advice.

Everything runs on one core. In every round each stage processes the same clips in turn, so that other jobs on the
machine slow down all alike; seconds are medians over the rounds, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from tdpn_core import defaults
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.rng import derive
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.augment import augment
from tdpn_core.sampling.dataset import Draw, Sample, TrainingClips
from tdpn_core.sampling.loader import collate
from tdpn_core.shards import ClipStore

READ_RATIO = 0.85
"""Share of the speed of decoding alone that reading and decoding should reach."""

AUGMENTATIONS = {
    "colour jitter": SamplingConfig(colour=(0.4, 0.4, 0.4, 0.1)),
    "RandAugment": SamplingConfig(randaugment=2),
    "random erasing": SamplingConfig(erasing=1.0),
}
"""Augmentations measured on the device, in addition to normalisation."""

_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A sampling protocol."""

    name: str
    num_frames: int
    interval: int
    window: int

    def dataset(self, store: ClipStore, seed: int) -> TrainingClips:
        """Return training clips with this sampling, at 224 pixels."""
        wide = self.window > 1
        model = model_config(num_frames=self.num_frames, window=5 if wide else 1)
        return TrainingClips(store, model, SamplingConfig(interval=self.interval), seed)


PROTOCOLS = (Protocol("8x8", 8, 8, 1), Protocol("8x8, window 5", 8, 8, 5), Protocol("32x2", 32, 2, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingRow:
    """Results of one protocol. Seconds are per clip on one core."""

    protocol: str
    frames: float
    """Mean number of distinct frames per clip."""

    decode_only: float
    """Seconds of decoding JPEGs from memory into allocated memory: the baseline."""

    read_decode: float
    """Seconds of reading, verifying and decoding."""

    item: float
    """Seconds of a complete item of the data set."""

    batch: float
    """Seconds of a complete item and its copy into a batch."""

    ratio: float
    """Speed of reading and decoding relative to decoding only."""

    stages: dict[str, float]
    """Seconds of each stage in a worker: read, decode, crop and resize, arrange, copy."""

    device: dict[str, float]
    """Seconds of normalisation and of each augmentation on the device, not included in the stages."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of each stage in the total time."""
        total = sum(self.stages.values())
        return {stage: seconds / total for stage, seconds in self.stages.items()}

    @property
    def advice(self) -> str:
        """Return what to change first, in a sentence."""
        stage = max(self.shares, key=lambda name: self.shares[name])
        share = f"{stage} takes {self.shares[stage]:.0%} of a worker's time"
        feeds = f"one worker a core feeds {1 / self.batch:.0f} clips/s"
        if self.ratio < READ_RATIO:
            slow = f"reading and decoding reach {self.ratio:.2f} of decoding alone"
            if self.stages["read"] > (1 - READ_RATIO) * self.stages["decode"]:
                return f"{slow}: put the data on a local disk, or where it fits into the page cache"
            return f"{slow}, though reading takes little: the machine is busy or short of memory, measure it at rest"
        match stage:
            case "decode":
                return f"{share}, {feeds}: add --workers up to the cores, or prepare with a smaller --short-side"
            case "crop and resize":
                return f"{share}, {feeds}: prepare with a --short-side nearer to the network's --size"
            case _:
                return f"{share}, {feeds}: add --workers up to the cores, or take fewer frames or a smaller --size"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingBench:
    """Result of the measurement."""

    folder: Path
    split: str
    clips: int
    rounds: int
    device: str
    rows: list[ReadingRow]

    def lines(self) -> list[str]:
        """Return the results as text: clips per second, time by stage, advice."""
        text = [
            f"{self.clips} {self.split} clips of {self.folder}, one core, median of {self.rounds} rounds",
            f"{'clips/s':15}{'frames':>7}{'decode':>9}{'read+decode':>13}{'ratio':>7}{'item':>9}{'batch':>9}",
        ]
        for row in self.rows:
            rates = [1 / seconds for seconds in (row.decode_only, row.read_decode, row.item, row.batch)]
            text.append(
                f"{row.protocol:15}{row.frames:7.1f}{rates[0]:9.1f}{rates[1]:13.1f}{row.ratio:7.2f}"
                f"{rates[2]:9.1f}{rates[3]:9.1f}"
            )
        text += _table(
            "time in a worker", [(row.protocol, {k: f"{v:.0%}" for k, v in row.shares.items()}) for row in self.rows]
        )
        milliseconds = [(row.protocol, {k: f"{1e3 * v:.1f}" for k, v in row.device.items()}) for row in self.rows]
        text += _table(f"ms a clip, {self.device}", milliseconds)
        return [*text, *(f"{row.protocol}: {row.advice}" for row in self.rows)]


def bench_reading(
    folder: Path,
    *,
    split: str = defaults.READING_SPLIT,
    protocols: tuple[Protocol, ...] = PROTOCOLS,
    clips: int = defaults.READING_CLIPS,
    rounds: int = defaults.READING_ROUNDS,
    device: torch.device | None = None,
    seed: int = 0,
) -> ReadingBench:
    """Measure reading up to `clips` random clips of the prepared data in `folder`.

    Augmentations are measured on `device`; default: the GPU if available.

    Raises:
        ShardError: there is no such split, or it is damaged.
        DatasetError, ClipError: the split has no clips, or clips that cannot be used or decoded.
    """
    store = ClipStore(folder, split)
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = derive(seed).permutation(len(store))[:clips].tolist()
    with one_core():
        rows = [_measure(protocol, store, chosen, rounds, place, seed) for protocol in protocols]
    return ReadingBench(folder=folder, split=split, clips=len(chosen), rounds=rounds, device=place.type, rows=rows)


@contextmanager
def one_core() -> Iterator[None]:
    """Restrict this process to one core, if the system supports it, and PyTorch to one thread."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    torch.set_num_threads(1)
    if cores is not None:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)


def alternate(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every work in each of `rounds` rounds, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio_of(seconds: list[float], baseline: list[float]) -> float:
    """Return the speed relative to `baseline`: the median of the rounds' ratios."""
    return statistics.median(theirs / mine for mine, theirs in zip(seconds, baseline, strict=True))


class Stages:
    """The stages of reading some clips, each a function that processes all of them from memory."""

    def __init__(self, dataset: TrainingClips, store: ClipStore, clips: list[int]) -> None:
        self.dataset = dataset
        self.store = store
        self.clips = clips
        self.draws: dict[int, Draw] = {clip: dataset.draw(0, clip) for clip in clips}
        self._jpegs = {clip: store.read(clip, self.draws[clip].frames.tolist()) for clip in clips}
        self._decoded = {clip: pixels.decode(store, clip, self.draws[clip].frames) for clip in clips}
        self._resized = {clip: self._resize(clip) for clip in clips}
        self._samples: list[Sample] = [dataset[0, clip] for clip in clips]

    def read(self) -> None:
        """Read the JPEGs from the shards, verified."""
        for clip in self.clips:
            self.store.read(clip, self.draws[clip].frames.tolist())

    def decode(self) -> None:
        """Decode the JPEGs into allocated memory."""
        for clip, jpegs in self._jpegs.items():
            for jpeg, target in zip(jpegs, self._decoded[clip].permute(0, 2, 3, 1).numpy(), strict=True):
                simplejpeg.decode_jpeg(jpeg, buffer=target)

    def read_decode(self) -> None:
        """Read and decode, as in training."""
        for clip in self.clips:
            pixels.decode(self.store, clip, self.draws[clip].frames)

    def crop_and_resize(self) -> None:
        """Crop and resize every frame to the network's size."""
        for clip in self.clips:
            self._resize(clip)

    def arrange(self) -> None:
        """Arrange frames, with flips."""
        for clip in self.clips:
            pixels.arrange(self._resized[clip], self.draws[clip].order, flip=self.draws[clip].flip)

    def copy(self) -> None:
        """Collate items to batches."""
        for start in range(0, len(self._samples), _BATCH):
            collate(self._samples[start : start + _BATCH])

    def item(self) -> None:
        """Make complete items."""
        for clip in self.clips:
            self.dataset[0, clip]

    def batch(self) -> None:
        """Make complete items and collate them to batches."""
        for start in range(0, len(self.clips), _BATCH):
            collate([self.dataset[0, clip] for clip in self.clips[start : start + _BATCH]])

    def on_device(self, device: torch.device) -> dict[str, Callable[[], object]]:
        """Return normalisation and each augmentation of one batch, as functions."""
        samples = self._samples[:_BATCH]
        clips = collate(samples).clips.to(device)
        numbers = [sample.number for sample in samples]

        def augmented(sampling: SamplingConfig) -> Callable[[], object]:
            return lambda: _finished(augment(clips, numbers, 0, sampling, 0))

        normalised = {"normalise": lambda: _finished(pixels.normalise(clips, self.dataset.sampling))}
        return normalised | {name: augmented(sampling) for name, sampling in AUGMENTATIONS.items()}

    def _resize(self, clip: int) -> Tensor:
        side = self.dataset.model.input_size
        return pixels.resize(pixels.cut(self._decoded[clip], self.draws[clip].crop), side, side)


def _measure(
    protocol: Protocol, store: ClipStore, clips: list[int], rounds: int, device: torch.device, seed: int
) -> ReadingRow:
    stages = Stages(protocol.dataset(store, seed), store, clips)
    alone = {
        "read": stages.read,
        "decode": stages.decode,
        "crop and resize": stages.crop_and_resize,
        "arrange": stages.arrange,
        "copy": stages.copy,
    }
    whole = {"read_decode": stages.read_decode, "item": stages.item, "batch": stages.batch}
    taken = alternate({**alone, **whole}, rounds)
    medians = {name: statistics.median(seconds) / len(clips) for name, seconds in taken.items()}
    on_device = alternate(stages.on_device(device), max(1, rounds // 2))
    return ReadingRow(
        protocol=protocol.name,
        frames=float(np.mean([len(draw.frames) for draw in stages.draws.values()])),
        decode_only=medians["decode"],
        read_decode=medians["read_decode"],
        item=medians["item"],
        batch=medians["batch"],
        ratio=ratio_of(taken["read_decode"], taken["decode"]),
        stages={name: medians[name] for name in alone},
        device={name: statistics.median(seconds) / min(_BATCH, len(clips)) for name, seconds in on_device.items()},
    )


def _finished(result: Tensor) -> None:
    """Wait for the device."""
    if result.device.type != "cpu":
        torch.accelerator.synchronize()


def _table(title: str, rows: list[tuple[str, dict[str, str]]]) -> list[str]:
    columns = list(rows[0][1])
    head = f"{title:22}" + "".join(f"{name:>17}" for name in columns)
    return [head, *(f"{name:22}" + "".join(f"{values[key]:>17}" for key in columns) for name, values in rows)]
