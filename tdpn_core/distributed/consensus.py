"""Lockstep of processes that train together: continue or stop at the same point."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TypeVar

from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import DistributedError, TdpnError
from tdpn_core.signals import StopRequest

T = TypeVar("T")

_GO_ON, _STOP, _INTERRUPT, _FAULT = range(4)
"""If processes differ, the highest value applies."""


class StopAgreed(Exception):  # noqa: N818 - a request, not a fault
    """One of the processes was asked to stop: all stop at this point. `interrupted`: by Ctrl-C."""

    def __init__(self, *, interrupted: bool) -> None:
        super().__init__("stop")
        self.interrupted = interrupted


def run_in_lockstep(runtime: Runtime, stop: StopRequest, job: Callable[[], T], *, may_stop: bool = True) -> T:
    """Return the result of `job` in this process, once it is done in all of them.

    With `may_stop` False, a stop request waits unless `job` failed because of it (a signal may end a loader's workers).

    Raises:
        StopAgreed: a process was asked to stop.
        TdpnError: `job` raised it in this process.
        DistributedError: `job` failed in another process; the message quotes the error.
    """
    try:
        result = job()
    except TdpnError as error:
        _agree(runtime, stop, error, may_stop=True)
        raise
    _agree(runtime, stop, None, may_stop=may_stop)
    return result


def _agree(runtime: Runtime, stop: StopRequest, fault: TdpnError | None, *, may_stop: bool) -> None:
    wanted = _GO_ON if fault is None else _FAULT
    if stop and may_stop:
        wanted = _INTERRUPT if stop.signal == signal.SIGINT else _STOP
    agreed = runtime.highest(wanted)
    if agreed == _FAULT and runtime.world > 1:
        _tell(runtime, fault)
    elif agreed in (_STOP, _INTERRUPT):
        raise StopAgreed(interrupted=agreed == _INTERRUPT)


def _tell(runtime: Runtime, fault: TdpnError | None) -> None:
    faults = runtime.gather(None if fault is None else str(fault))
    if fault is None:
        rank, text = next((rank, text) for rank, text in enumerate(faults) if text is not None)
        raise DistributedError(f"another process ended: rank {rank}: {text}", already_reported=True)
