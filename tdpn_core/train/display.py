"""What a person sees of a run while it goes: the fields beside the bar, and one line of advice where data is slow."""

from __future__ import annotations

import resource

import torch

from tdpn_core.checkpoint import TrainingState

SLOW = 0.1
"""Share of the time spent waiting for data from which advice is given."""

_SURE_SECONDS, _SURE_STEPS = 30.0, 10
"""Of an epoch, before waiting is judged: its first batches always wait for the workers."""


def shown(state: TrainingState, *, lr: float, steps: int, device: torch.device) -> dict[str, str]:
    """The fields of a run that stands at `state`, of `steps` in all; a narrow terminal shows the first of them."""
    running = state.running
    clips, seconds = running["clips"], running["seconds"]
    left = (steps - state.step) * seconds / max(1, state.batch)
    return {
        "loss": f"loss {running['loss'] / clips:.3f}",
        "top1": f"top-1 {running['correct'] / clips:.1%}",
        "left": f"{duration(left)} left",
        "speed": f"{clips / seconds:.1f} clips/s",
        "waiting": f"waiting for data {running['waiting'] / seconds:.0%}",
        "lr": f"lr {lr:.2g}",
        "memory": f"{memory(device):.1f} GiB",
    }


def advice(running: dict[str, float], batches: int, *, workers: int, cores: int) -> str | None:
    """What to do about slow data, once a run has waited for it long enough to be sure; None: nothing."""
    seconds = running["seconds"]
    if seconds < _SURE_SECONDS or batches < _SURE_STEPS or running["waiting"] < SLOW * seconds:
        return None
    line = f"waiting for data {running['waiting'] / seconds:.0%} of the time: "
    if workers < cores - 1:
        return line + f"more --workers may help ({workers} of {cores} cores now); `tdpn bench data` measures it"
    return line + "prepare the clips with a smaller --short-side, or as JPEG; `tdpn bench data` measures what is slow"


def memory(device: torch.device) -> float:
    """The most memory that was used at a time so far, in GiB: on the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
