"""Views per second of an evaluation, compared with a plain loop that reads and scores views.

    python benchmarks/eval.py CHECKPOINT [VIEWS]

Both score the same clips of the checkpoint's validation split alternately; the largest difference of a probability is
also printed.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.schema import parse_views
from tdpn_core.distributed.runtime import set_up
from tdpn_core.evaluation.inference import VIEWS_AT_ONCE, batch_clips, score_clips
from tdpn_core.evaluation.score_file import mean_probabilities
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.sampling.transforms import normalise
from tdpn_core.shards import ClipStore

ROUNDS, MOST_CLIPS = 3, 16


@torch.inference_mode()
def plain(model, dataset, clips, device):
    result = []
    for clip in clips:
        views = [model(normalise(view[None].to(device), dataset.sampling)) for view in dataset[clip].clip]
        result.append(torch.stack([logits[0].double().softmax(0).cpu() for logits in views]).mean(0).numpy())
    return np.stack(result)


def ours(model, dataset, clips, views, runtime):
    batches = batch_clips(len(clips), views, VIEWS_AT_ONCE[runtime.device_type])
    workers = loader_workers(runtime.device_type)
    at_once = VIEWS_AT_ONCE[runtime.device_type]
    scored = list(score_clips(model, dataset, batches, workers=workers, views_at_once=at_once))
    return np.concatenate([mean_probabilities(part.logits["action"]) for part in scored])


def main() -> None:
    load = os.getloadavg()[0]
    path, views = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "2x3"
    runtime = set_up()
    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    model = checkpoint.build(runtime.device)
    dataset = ViewClips(ClipStore(Path(config.data.path), "val"), config.model, replace(config.sampling, views=views))
    clips = range(min(len(dataset), MOST_CLIPS))
    count = len(clips) * int(np.prod(parse_views(views)))
    plain(model, dataset, clips[:2], runtime.device)
    seconds: dict[str, list[float]] = {"plain loop": [], "tdpn eval": []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        first = plain(model, dataset, clips, runtime.device)
        between = time.perf_counter()
        second = ours(model, dataset, clips, views, runtime)
        seconds["plain loop"].append(between - began)
        seconds["tdpn eval"].append(time.perf_counter() - between)
    for name, each in seconds.items():
        print(f"{name:12} {count / np.median(each):8.1f} views/s")
    ratio = np.median(seconds["plain loop"]) / np.median(seconds["tdpn eval"])
    print(f"ratio {ratio:.2f} on {runtime}, {views} views, {len(clips)} clips, median of {ROUNDS}")
    print(f"the machine's load was {load:.1f} before and {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")
    print(f"largest difference of a probability {np.abs(first - second).max():.2g}")


if __name__ == "__main__":
    main()
