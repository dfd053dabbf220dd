"""Run tasks on a Ray cluster, for commands with `--executor ray`.

One process, the driver, makes the tasks and receives their results. If a node or a process of a task dies, Ray runs the
task again on another one. Folders and installed versions must be the same on all nodes.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tdpn_core.errors import TdpnError, ToolError, UsageError

LOCAL, RAY = "local", "ray"
"""The executors: this machine, and a Ray cluster."""

_ATTEMPTS = 3  # for a task whose node or process dies
_CALL_SECONDS = 5.0
_HINT = "check with ray status whether one is running, or give its --ray-address"
_REMEMBERED = Path("ray", "ray_current_cluster")  # below Ray's folder: the address of the last `ray start`
_AHEAD = 2  # tasks submitted per processor of the cluster, to keep all busy

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


def check_executor(name: str) -> None:
    """
    Raises:
        UsageError: there is no such executor.
    """
    if name not in (LOCAL, RAY):
        raise UsageError(f"no executor is called {name!r}", where="--executor", hint="local or ray")


def run_tasks(
    task: Callable[[Item, Shared], Result],
    items: Iterator[Item],
    shared: Shared,
    *,
    address: str | None,
    name: Callable[[Item], str],
    command: str,
    gpus: int | None = 0,
) -> Generator[tuple[Item, Result], None, None]:
    """Run `task(item, shared)` for each item on a cluster, one per processor or GPU, in order of completion.

    Close the iterator to cancel the tasks that are left.

    Args:
        task: a function of a module that all nodes have.
        items: consumed on demand.
        shared: sent to each node once.
        address: the cluster (`auto`, `HOST:PORT`, `ray://…`); None: RAY_ADDRESS, or a cluster on this machine.
        name: describes an item, for the message of one that cannot be completed.
        command: what continues the work, such as `tdpn prep`, for the same message.
        gpus: GPUs of each task; None: one if the cluster has any.

    Raises:
        ToolError: Ray is not installed, or the cluster cannot be reached or has no GPU.
        TdpnError: an error of a task, or nodes of a task died repeatedly.
    """
    with _connected(address) as ray:
        each = _resources(ray, gpus, address)
        remote = ray.remote(task).options(max_retries=_ATTEMPTS - 1, scheduling_strategy="SPREAD", **each)
        kind, amount = ("GPU", each["num_gpus"]) if each["num_gpus"] else ("CPU", each["num_cpus"])
        stored = ray.put(shared)
        waiting: dict[Any, Item] = {}
        try:
            for item in items:
                waiting[remote.remote(item, stored)] = item
                if len(waiting) >= _AHEAD * max(int(ray.cluster_resources().get(kind, 1) / amount), 1):
                    yield _next(ray, waiting, name, command)
            while waiting:
                yield _next(ray, waiting, name, command)
        finally:
            for left in waiting:
                ray.cancel(left, force=True)


def _next(ray: Any, waiting: dict[Any, Item], name: Callable[[Item], str], command: str) -> tuple[Item, Any]:
    """Wait for a task, and return its item and result."""
    (done, *_), _ = ray.wait(list(waiting), num_returns=1)
    item = waiting.pop(done)
    try:
        return item, ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TdpnError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        what = f"{name(item)} failed after {_ATTEMPTS} attempts: {_brief(error)}"
        raise TdpnError(what, hint=f"run {command} again to continue") from error


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ToolError("Ray is not installed", where="--executor ray", hint="pip install 'tdpn[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        _call(address)
        stop = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ToolError(f"no Ray cluster: {_brief(error)}", where=address, hint=_HINT) from error
        if stop is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # instead of Ray's handler, which exits
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _resources(ray: Any, gpus: int | None, address: str | None) -> dict[str, int]:
    found = int(ray.cluster_resources().get("GPU", 0))
    wanted = min(found, 1) if gpus is None else gpus
    if wanted > found:
        raise ToolError(f"the Ray cluster has {found} GPUs", where=address, hint="use --gpus 0 for its processors")
    return {"num_cpus": 1, "num_gpus": wanted}


def _call(address: str | None) -> None:
    """Fail early if no cluster is listening; Ray itself would wait for minutes.

    Raises:
        ToolError: the host is unknown, or does not answer.
    """
    asked = os.environ.get("RAY_ADDRESS") or address
    asked = _remembered() if asked in (None, "auto") else asked
    host, colon, port = (asked or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # no address, or a form that Ray itself handles
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CALL_SECONDS).close()
    except (OSError, OverflowError) as error:
        what = f"no Ray cluster: no answer ({error.__class__.__name__}: {error})"
        raise ToolError(what, where=asked, hint=_HINT) from error


def _remembered() -> str | None:
    try:
        return (Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / _REMEMBERED).read_text().strip() or None
    except (OSError, ValueError):
        return None


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
