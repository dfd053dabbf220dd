"""Runtime of a process that trains, evaluates or predicts: its device and rank, and process set-up.

For a single process, every method of `Runtime` returns at once.
"""

from __future__ import annotations

import dataclasses
import gc
import inspect
import os
import platform
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.nn.parallel import DistributedDataParallel

from tdpn_core import defaults
from tdpn_core.distributed.environment import launch_environment
from tdpn_core.distributed.exit_reports import write_report
from tdpn_core.distributed.rendezvous import Facts, Peers, lost_peer, rendezvous
from tdpn_core.distributed.watchdog import Watchdog, die_with_launcher
from tdpn_core.errors import DeviceError, DistributedError, TdpnError
from tdpn_core.model.cpu.malloc import keep_freed_memory
from tdpn_core.version import __version__


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Device of a process, and its `rank` among `world` processes that compute together."""

    device: torch.device
    rank: int = 0
    world: int = 1
    peers: Peers | None = dataclasses.field(default=None, compare=False, repr=False)
    watch: Watchdog | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def device_type(self) -> Literal["cpu", "cuda"]:
        """Kind of device."""
        return "cuda" if self.device.type == "cuda" else "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def mark(self) -> None:
        """Mark a point that all processes pass equally often: a rank that falls behind is detected as hung."""
        if self.watch is not None:
            self.watch.mark()

    def alive(self) -> None:
        """Report progress at a point that only this process may pass."""
        if self.watch is not None:
            self.watch.alive()

    def barrier(self) -> None:
        """Wait until every process has reached this point."""
        if self.peers is not None:
            self.peers.gather(None)

    def gather(self, value: Any) -> list[Any]:
        """Return the `value` of every rank, in rank order, on all of them. Small JSON values.

        Raises:
            DistributedError: a rank did not provide one in time.
        """
        return [value] if self.peers is None else self.peers.gather(value)

    def from_main(self, value: Any) -> Any:
        """Return rank 0's `value` on all ranks. A small JSON value."""
        return self.gather(value if self.is_main else None)[0]

    def highest(self, value: int) -> int:
        """Return the highest `value` of all processes: a request of one reaches all at the same point."""
        return int(self.total_of([value], dist.ReduceOp.MAX)[0]) if self.world > 1 else value

    def sums(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes, in float64."""
        return self.total_of(values, dist.ReduceOp.SUM).tolist() if self.world > 1 else list(values)

    def total_of(self, values: Sequence[float], operation: dist.ReduceOp.RedOpType) -> Tensor:
        """Return `values` reduced over all processes, float64 on the CPU."""
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, operation)
        return tensor

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Set each tensor to its value on rank 0, in place."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wrap `model` for use by all processes together; a backward pass then gives the mean of their gradients."""
        if self.world == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.13
        # for kernels of one pixel, whose gradients have another of several equivalent memory orders
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        options: dict[str, Any] = {name: False}  # batch statistics are separate, see `broadcast`
        # gradients are views of the exchanged buffers, instead of copies as large as the network
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True, **options)

    def no_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """Inside, backward passes through the wrapped model only add to each process's own gradients."""
        inner = getattr(network, "_orig_mod", network)  # for a compiled network
        return inner.no_sync() if isinstance(inner, DistributedDataParallel) else nullcontext()

    def merge(self, array: npt.NDArray[np.float64], own: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Combine the rows of all processes in one array on all of them, exactly.

        Args:
            array: float64 (N, ...), of equal shape in all processes; rows that are not `own` are ignored.
            own: (N,) bool, rows computed by this process. Rows of no process become NaN.
        """
        if self.world == 1:
            return array
        mine = torch.from_numpy(np.where(own.reshape(-1, *[1] * (array.ndim - 1)), array, 0.0))
        counts = torch.from_numpy(own.astype(np.int64))
        dist.all_reduce(mine)  # a sum with zeros is exact
        dist.all_reduce(counts)
        merged: npt.NDArray[np.float64] = mine.numpy()
        merged[counts.numpy() == 0] = np.nan
        return merged

    def __str__(self) -> str:
        if self.device.type == "cuda":
            one = torch.cuda.get_device_name(self.device)
        else:
            one = f"CPU, {torch.get_num_threads()} threads"
        return one if self.world == 1 else f"{self.world} x {one}"


def set_up(gpus: int | None = None) -> Runtime:
    """Return the runtime of a single process: `gpus` None uses a GPU if available, 0 the CPU.

    Raises:
        DeviceError: more GPUs than available, or more than one.
    """
    if check_gpus(gpus) > 1:
        hint = "use --gpus 1; tdpn train, eval and ablate support several, and so do your programs under torchrun"
        raise DeviceError(f"this runs on one GPU, not on {gpus}", where="--gpus", hint=hint)
    return Runtime(_device(gpus, 0))


def set_up_share(gpus: int | None = None) -> Runtime:
    """Return the runtime of a process that computes a share of independent work: it does not connect to the others.

    Raises:
        DeviceError: see `set_up`; or there is no GPU for this process.
    """
    place = launch_environment()
    if place is None:
        return set_up(gpus)
    die_with_launcher()
    device = _device(gpus, place.local_rank)
    _share_cores(device, place.local_world)
    return Runtime(device, place.rank, place.world)


def check_gpus(gpus: int | None) -> int:
    """Return the number of GPUs to use on this machine: `gpus`, or one if available.

    Raises:
        DeviceError: more than available.
    """
    found = torch.cuda.device_count()
    wanted = min(found, 1) if gpus is None else gpus
    if wanted < 0:
        raise DeviceError(f"--gpus must not be negative, not {wanted}")
    if wanted > found:
        hint = f"use --gpus {found}" if found else "use --gpus 0 to train on the CPU"
        raise DeviceError(f"{wanted} {_noun(wanted)} asked for, {found} found", where="--gpus", hint=hint)
    return wanted


@contextmanager
def join_ranks(
    gpus: int | None = None, *, timeout: float = defaults.TIMEOUT, say: Callable[[str], None] | None = None
) -> Iterator[Runtime]:
    """Yield the runtime of this process: alone, or together with those that its launcher started.

    Inside, an error in one process ends the others, which raise `DistributedError` with its message.

    Raises:
        DeviceError: see `check_gpus`.
        DistributedError: a process is missing or runs another version; or, inside, another one was lost.
    """
    place = launch_environment()
    if place is None:
        yield set_up(gpus)
        return
    die_with_launcher()
    device = _device(gpus, place.local_rank)
    peers = rendezvous(place, _facts(device), timeout=timeout, say=say)
    watch = Watchdog(peers, timeout, _give_up)
    try:
        must_agree(peers.facts, "tdpn", "torch", "python", "device")
        _connect(peers, device, 2 * timeout + 30)  # the watchdog has the shorter timeout, and knows whom to name
        yield Runtime(device, place.rank, place.world, peers, watch)
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a launcher sends it to the others, which must report first
        if isinstance(error, RuntimeError) and _of_a_connection(error):
            raise lost_peer(peers, error) from error
        if not isinstance(error, DistributedError):
            peers.post_failure(str(error) if isinstance(error, TdpnError) else f"{type(error).__name__}: {error}")
        raise
    finally:
        watch.stop()
        peers.leave()
        gc.collect()  # the wrapped model holds the group, whose threads end with it
        if dist.is_initialized():
            dist.destroy_process_group()
        peers.close()


def _connect(peers: Peers, device: torch.device, timeout: float) -> None:
    """Set up the collective operations: gloo for CPU tensors, NCCL for GPU tensors."""
    import torch.distributed.nn  # noqa: F401  before the group exists: its functions' defaults would keep it alive

    place = peers.place
    _share_cores(device, place.local_world)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore("group", peers.store),
        rank=place.rank,
        world_size=place.world,
        timeout=timedelta(seconds=timeout),
        device_id=device if device.type == "cuda" else None,
    )


def _share_cores(device: torch.device, processes: int) -> None:
    """Use the cores of this machine for `processes` processes, unless the environment says how many each has."""
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))


def _facts(device: torch.device) -> Facts:
    return {
        "host": socket.gethostname(),
        "tdpn": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device.type,
    }


def _give_up(error: DistributedError) -> None:
    """End this process from a thread, since its main thread is waiting for a hung process or hangs itself."""
    code = write_report(error)
    if code is None:
        sys.stderr.write(f"error {error}\n")
        sys.stderr.flush()
    os._exit(1 if code is None else code)


def must_agree(facts: list[Facts], *names: str) -> None:
    """Raise an error if a rank differs from rank 0.

    Raises:
        DistributedError: with the rank, its machine, and both values.
    """
    for name in names:
        for rank, fact in enumerate(facts):
            if fact[name] != facts[0][name]:
                what = f"rank {rank} on {fact['host']} has {name} {fact[name]}, but rank 0 on {facts[0]['host']} has"
                raise DistributedError(f"{what} {facts[0][name]}", hint="all processes of a run must be the same")


def _device(gpus: int | None, local_rank: int) -> torch.device:
    if check_gpus(gpus) == 0:
        keep_freed_memory()
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        what = f"process {local_rank} of this machine has no GPU of its own, {torch.cuda.device_count()} found"
        raise DeviceError(what, hint="start at most as many processes as there are GPUs")
    torch.backends.cudnn.benchmark = True  # clips have a constant size
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _of_a_connection(error: RuntimeError) -> bool:
    """Return whether a collective operation failed because another process is gone or hung."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL"))


def _noun(count: int) -> str:
    return "GPU" if count == 1 else "GPUs"
