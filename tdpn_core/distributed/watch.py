"""A thread that ends its process when the run stands still, or when the launcher is gone."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from torch.distributed import DistError

from tdpn_core.distributed.peers import Peers
from tdpn_core.errors import DistributedError

PARENT = "TDPN_LAUNCHER"
"""The launcher's process id, in the environment of processes that it started."""

_GRACE_SECONDS = 8.0
"""How long a process whose launcher is gone may take to save and leave."""

_PR_SET_PDEATHSIG = 1


def die_with_launcher() -> None:
    """Let the system send SIGTERM to this process when its launcher ends, however that happens."""
    if PARENT not in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if _orphaned():  # it ended just before
        os.kill(os.getpid(), signal.SIGTERM)


class Watch:
    """Watches the main thread of one rank. `mark` is called from there whenever something was achieved."""

    def __init__(self, peers: Peers, timeout: float, end: Callable[[DistributedError], None]) -> None:
        """`end` is called in the watching thread when nothing was achieved for `timeout` seconds."""
        self._peers = peers
        self._timeout = timeout
        self._end = end
        self._position = 0
        self._since = time.time()
        self._achieved = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tdpn-watch", daemon=True)
        self._thread.start()

    def mark(self, position: int) -> None:
        """The main thread has come to `position`, a number that never falls and is the same on all ranks."""
        self._position, self._since, self._achieved = position, time.time(), time.monotonic()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join(5)

    def _run(self) -> None:
        posted, gone = None, None
        while not self._over.wait(min(1.0, self._timeout / 10)):
            now = (self._position, self._since)
            if now != posted:
                posted = now
                with suppress(DistError):
                    self._peers.store.set(f"at/{self._peers.place.rank}", json.dumps(now))
            if _orphaned():
                gone = gone or time.monotonic()
                if time.monotonic() - gone > _GRACE_SECONDS:
                    os.kill(os.getpid(), signal.SIGKILL)
            if time.monotonic() - self._achieved > self._timeout and not self._over.is_set():
                self._end(self._silence())
                return

    def _silence(self) -> DistributedError:
        """Who is behind all others. Those who wait for it have come further, or to the same place later."""
        at: dict[int, tuple[int, float]] = {}
        with suppress(DistError):
            for rank in range(self._peers.place.world):
                key = f"at/{rank}"
                if self._peers.store.check([key]):
                    position, since = json.loads(self._peers.store.get(key))
                    at[rank] = (position, since)
        if not at:
            return DistributedError(f"nothing was achieved for {self._timeout:g} s, and no other process is reached")
        rank = min(at, key=lambda rank: at[rank])
        fact = self._peers.facts[rank]
        return DistributedError(
            f"rank {rank} (process {fact['pid']} on {fact['host']}) has been silent for "
            f"{max(self._timeout, time.time() - at[rank][1]):.0f} s",
            hint=f"all wait for it; --timeout sets how long, {self._timeout:g} s here",
        )


_first_parent = os.getppid()


def _orphaned() -> bool:
    return os.getppid() != int(os.environ.get(PARENT, _first_parent))
