"""How processes meet, and what they tell each other beside tensors: small JSON values in a store that all reach."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import TCPStore  # torch.distributed.TCPStore, where its type is declared
from torch.distributed import DistError
from torch.distributed.distributed_c10d import PrefixStore, Store

from tdpn_core.distributed.place import Place
from tdpn_core.errors import DistributedError

MEET_SECONDS = 60.0
"""How long the first process waits for the last: launchers start all of them at once."""

_LEAVE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_SAY_SECONDS = 5.0


class Peers:
    """The other processes, as seen from one of them. Every wait ends, and then names who is missing."""

    def __init__(self, store: Store, place: Place, timeout: float) -> None:
        self.place = place
        self.store = PrefixStore(f"tdpn/{place.attempt}", store)
        self._timeout = timeout
        self._gathered = 0

    def gather(
        self, value: Any, *, timeout: float | None = None, wait: Callable[[str], None] | None = None
    ) -> list[Any]:
        """The JSON `value` of every rank, in the order of ranks, on all of them. `wait` hears of those still missing.

        Raises:
            DistributedError: a rank did not give one in time; the message names it.
        """
        self._gathered += 1
        key = f"gathered/{self._gathered}"
        try:
            self.store.set(f"{key}/{self.place.rank}", json.dumps(value))
            self._await(key, timeout or self._timeout, wait)
            return [json.loads(self.store.get(f"{key}/{rank}")) for rank in range(self.place.world)]
        except DistError as error:
            raise lost(self, error) from error

    def tell(self, fault: str) -> None:
        """Leave the reason of this process's end, which others find when they lose it."""
        with suppress(DistError):
            self.store.set("fault", f"rank {self.place.rank}: {fault}")

    def told(self) -> str | None:
        """What another process told before it ended, if the store is still there."""
        with suppress(DistError):
            if self.store.check(["fault"]):
                return self.store.get("fault").decode()
        return None

    def leave(self) -> None:
        """Say that this process needs the others no more; where rank 0 keeps the store, it waits to hear so of all."""
        with suppress(DistError, DistributedError):
            self.store.set(f"left/{self.place.rank}", "")
            if self.place.rank == 0 and not self.place.served:
                self._await("left", _LEAVE_SECONDS, None)

    def _await(self, key: str, timeout: float, wait: Callable[[str], None] | None) -> None:
        began = said = time.monotonic()
        missing = list(range(self.place.world))
        while missing := [rank for rank in missing if not self.store.check([f"{key}/{rank}"])]:
            now = time.monotonic()
            if now - began > timeout:
                raise DistributedError(
                    f"{named(missing)} of {self.place.world} did not come within {timeout:g} s",
                    where=f"{self.place.host}:{self.place.port}",
                    hint="look at its own output; all must reach this address",
                )
            if wait is not None and now - said > _SAY_SECONDS:
                wait(f"waiting for {named(missing)} of {self.place.world}")
                said = now
            time.sleep(_POLL_SECONDS)


def open_store(place: Place, timeout: float) -> Store:
    """The store of all processes: the launcher's, or one that rank 0 keeps.

    Raises:
        DistributedError: its port is taken, or nobody keeps it at its address.
    """
    keeps = place.rank == 0 and not place.served
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
            raise DistributedError(what, where=where, hint="another program has this port: choose another") from error
        raise DistributedError(f"rank 0 is not to be reached ({_first_line(error)})", where=where) from error


def lost(peers: Peers, error: Exception) -> DistributedError:
    """What to say where the connection to another process broke: that one's own words, if it left any."""
    told = peers.told()
    if told is not None:
        return DistributedError(f"another process ended: {told}", told=True)
    return DistributedError(f"lost another process ({_first_line(error)})")


def named(ranks: list[int]) -> str:
    """`rank 3`, or `ranks 1, 3`."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"^\[[^]]*\] *|\. .*$", "", text)  # without the place in a library's source, and its advice
