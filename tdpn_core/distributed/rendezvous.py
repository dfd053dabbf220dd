"""Rendezvous of the processes, and small JSON values that they exchange through torch's store.

See docs/decisions/005-processes.md.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import TCPStore  # torch.distributed.TCPStore, with its type
from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from tdpn_core.distributed.environment import LaunchEnvironment
from tdpn_core.errors import DistributedError

MEET_SECONDS = 60.0
"""How long the first process waits for the last: launchers start all of them at once."""

_LEAVE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_SAY_SECONDS = 5.0

Facts = dict[str, Any]


class Peers:
    """The processes of a run, as seen from one of them. Every wait has a timeout, and then names the missing ranks."""

    def __init__(self, place: LaunchEnvironment, store: Store, facts: list[Facts], timeout: float) -> None:
        """Create it after a rendezvous, see `rendezvous`; `store` is used only by these processes."""
        self.place = place
        self.store = store
        self.facts = facts
        """Facts that each rank provided at the rendezvous."""
        self._timeout = timeout
        self._gathered = 0

    def gather(self, value: Any) -> list[Any]:
        """Return the JSON `value` of every rank, in rank order, on all of them.

        Raises:
            DistributedError: a rank did not provide one in time, or is lost; the message names it.
        """
        self._gathered += 1
        keys = [f"gathered/{self._gathered}/{rank}" for rank in range(self.place.world)]
        try:
            self.store.set(keys[self.place.rank], json.dumps(value))
            _await(self.place, self.store, keys, self._timeout, check=self._check)
            return [json.loads(self.store.get(key)) for key in keys]
        except DistError as error:
            raise lost_peer(self, error) from error

    def _check(self) -> None:
        """Raise the error that ended another process, instead of waiting for it."""
        failure = self.posted_failure()
        if failure is not None:
            raise DistributedError(f"another process ended: {failure}", already_reported=True)

    def post_failure(self, fault: str) -> None:
        """Store the reason of this process's end, for others that lose it."""
        with suppress(DistError):
            self.store.set("fault", f"rank {self.place.rank}: {fault}")

    def posted_failure(self) -> str | None:
        """Return the reason that another process stored before it ended, if the store is still available."""
        with suppress(DistError):
            if self.store.check(["fault"]):
                return self.store.get("fault").decode()
        return None

    def leave(self) -> None:
        """Report that this process no longer needs the others; if rank 0 serves the store, it waits for all reports."""
        keys = [f"left/{rank}" for rank in range(self.place.world)]
        with suppress(DistError, DistributedError):
            self.store.set(keys[self.place.rank], "")
            if self.place.rank == 0 and not self.place.agent_store:
                _await(self.place, self.store, keys, _LEAVE_SECONDS)

    def close(self) -> None:
        """Release the store; if this process serves it, its thread ends. Nothing can be exchanged afterwards."""
        del self.store


def rendezvous(
    place: LaunchEnvironment,
    facts: Facts,
    *,
    timeout: float,
    seconds: float = MEET_SECONDS,
    say: Callable[[str], None] | None,
) -> Peers:
    """Wait up to `seconds` for all processes, and exchange their `facts`. Missing ranks are reported to `say`.

    A launcher may serve one store over several starts, with data of dead processes in it. So rank 0 invites with a new
    name, and the rendezvous is valid for a rank only if the minutes contain its own number for this start.

    Raises:
        DistributedError: a rank is missing, or the rendezvous address is not available.
    """
    shared = PrefixStore("tdpn", _open_store(place, seconds))
    mine = {**facts, "pid": os.getpid(), "start": uuid.uuid4().hex}
    until = time.monotonic() + seconds
    if place.rank == 0:
        name = uuid.uuid4().hex
        store = PrefixStore(name, shared)
        shared.set("invitation", name)
        store.set("here/0", json.dumps(mine))
        keys = [f"here/{rank}" for rank in range(place.world)]
        _await(place, store, keys, seconds, say)
        store.set("met", json.dumps([json.loads(store.get(key)) for key in keys]))
    else:
        store = _accept(place, shared, mine, until, seconds)
    return Peers(place, store, json.loads(store.get("met")), timeout)


def _accept(place: LaunchEnvironment, shared: Store, mine: Facts, until: float, seconds: float) -> PrefixStore:
    store: PrefixStore | None = None
    name = b""
    while time.monotonic() < until + 1:  # rank 0 knows who is missing, and reports it first
        if shared.check(["invitation"]) and shared.get("invitation") != name:
            name = shared.get("invitation")
            store = PrefixStore(name.decode(), shared)
            store.set(f"here/{place.rank}", json.dumps(mine))
        if store is not None and store.check(["met"]):
            minutes = json.loads(store.get("met"))
            if minutes[place.rank]["start"] == mine["start"]:
                return store
        time.sleep(_POLL_SECONDS)
    here = [rank for rank in range(place.world) if store is not None and store.check([f"here/{rank}"])]
    raise _absent(place, [rank for rank in range(place.world) if rank not in here] or [0], seconds)


def _open_store(place: LaunchEnvironment, timeout: float) -> Store:
    """Return the store of all processes: the launcher's, or one that rank 0 serves."""
    keeps = place.rank == 0 and not place.agent_store
    where = f"{place.host}:{place.port}"
    try:
        return TCPStore(
            place.host,
            place.port,
            is_master=keeps,
            wait_for_workers=False,
            multi_tenant=True,
            timeout=timedelta(seconds=timeout),
        )
    except (DistError, RuntimeError, ValueError) as error:
        if keeps:
            what = f"rank 0 cannot listen here ({_first_line(error)})"
            raise DistributedError(
                what, where=where, hint="another program uses this port; choose another one"
            ) from error
        raise DistributedError(f"rank 0 cannot be reached ({_first_line(error)})", where=where) from error


def _await(
    place: LaunchEnvironment,
    store: Store,
    keys: list[str],
    timeout: float,
    say: Callable[[str], None] | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Wait until the store has all `keys`, one per rank; `check` may end the wait."""
    began = said = time.monotonic()
    missing = list(range(place.world))
    while missing := [rank for rank in missing if not store.check([keys[rank]])]:
        now = time.monotonic()
        if now - began > timeout:
            raise _absent(place, missing, timeout)
        if check is not None:
            check()
        if say is not None and now - said > _SAY_SECONDS:
            say(f"waiting for {named(missing)} of {place.world}")
            said = now
        time.sleep(_POLL_SECONDS)


def _absent(place: LaunchEnvironment, ranks: list[int], timeout: float) -> DistributedError:
    return DistributedError(
        f"{named(ranks)} of {place.world} did not connect within {timeout:g} s",
        where=f"{place.host}:{place.port}",
        hint="check its own output; all processes must be able to reach this address",
    )


def lost_peer(peers: Peers, error: Exception) -> DistributedError:
    """Return the error for a broken connection to another process, with that process's own error if available."""
    failure = peers.posted_failure()
    if failure is not None:
        return DistributedError(f"another process ended: {failure}", already_reported=True)
    return DistributedError(f"lost another process ({_first_line(error)})")


def named(ranks: list[int]) -> str:
    """Return `rank 3`, or `ranks 1, 3`."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"^\[[^]]*\] *|\. .*$", "", text)  # without the location in a library's source, and its advice
