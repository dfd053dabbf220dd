"""A thread that ends its process if the run hangs or the launcher is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from torch.distributed import DistError

from tdpn_core.distributed.environment import LAUNCHER, has_launcher
from tdpn_core.distributed.rendezvous import Peers, lost_peer, named
from tdpn_core.errors import DistributedError, HangError

_GRACE_SECONDS = 8.0
"""Time for a process to notice by itself that its launcher is gone or another process has ended."""

_PR_SET_PDEATHSIG = 1


def die_with_launcher() -> None:
    """Make the system send SIGTERM to this process when its launcher ends for any reason."""
    if not has_launcher() and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if _orphaned():  # it ended just before this call
        os.kill(os.getpid(), signal.SIGTERM)


class Watchdog:
    """Watches the main thread of a rank, which calls `mark` at points that all ranks pass, and `alive` anywhere."""

    def __init__(self, peers: Peers, timeout: float, end: Callable[[DistributedError], None]) -> None:
        """`end` is called in the watching thread after `timeout` seconds without progress."""
        self._peers = peers
        self._timeout = timeout
        self._end = end
        self._position = 0
        self._achieved = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tdpn-watch", daemon=True)
        self._thread.start()

    def mark(self) -> None:
        """Record that the main thread has passed another of the points that all ranks pass in the same order."""
        self._position += 1
        self.alive()

    def alive(self) -> None:
        """Record progress of the main thread."""
        self._achieved = time.monotonic()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join(5)

    def _run(self) -> None:
        posted, gone, failed = None, None, None
        while not self._over.wait(min(1.0, self._timeout / 10)):
            now = time.monotonic()
            if self._position != posted:
                posted = self._position
                with suppress(DistError):
                    self._peers.store.set(f"at/{self._peers.place.rank}", str(posted))
            if _orphaned():
                gone = gone or now
                if now - gone > _GRACE_SECONDS:
                    os.kill(os.getpid(), signal.SIGKILL)
            failed = failed or (now if self._peers.posted_failure() else None)
            if failed and now - max(failed, self._achieved) > _GRACE_SECONDS:  # it waits for a process that has ended
                self._end(lost_peer(self._peers, RuntimeError()))
                return
            if now - self._achieved > self._timeout:
                self._end(self._silence())
                return

    def _silence(self) -> HangError:
        """Return the error that names the ranks that have not reached the others' point."""
        at: dict[int, int] = {}
        with suppress(DistError):
            for rank in range(self._peers.place.world):
                at[rank] = int(self._peers.store.get(f"at/{rank}")) if self._peers.store.check([f"at/{rank}"]) else 0
        behind = [rank for rank, position in at.items() if position < max(at.values())]
        hint = f"--timeout sets how long they wait, currently {self._timeout:g} s"
        if not behind:
            what = f"no progress for {self._timeout:g} s: a process, or the network between them, hangs"
            return HangError(what, hint=hint)
        facts = [self._peers.facts[rank] for rank in behind]
        places = ", ".join(f"process {fact['pid']} on {fact['host']}" for fact in facts)
        what = f"{named(behind)} ({places}) did not reach the point where the others wait, for {self._timeout:g} s"
        return HangError(what, hint=hint)


_first_parent = os.getppid()


def _orphaned() -> bool:
    return os.getppid() != int(os.environ.get(LAUNCHER, _first_parent))
