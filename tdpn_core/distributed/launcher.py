"""Start a command several times as the ranks of one run, with torch's elastic launcher."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.distributed import DistError

from tdpn_core import defaults
from tdpn_core.distributed.environment import LAUNCHER
from tdpn_core.distributed.exit_reports import last_attempt, root_cause
from tdpn_core.errors import DistributedError, Interrupted, Stopped, UsageError

STOP_SECONDS = 60
"""Time for processes to save after a stop request."""

_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"


def launch_ranks(
    command: list[str],
    *,
    processes: int,
    nodes: int = defaults.NODES,
    rendezvous: str | None = None,
    restarts: int = defaults.MAX_RESTARTS,
    join_seconds: float = 60.0,
    say: Callable[[str], None],
) -> None:
    """Run `command` in `processes` processes here, and as many on each of `nodes` machines that start the same command.

    Each process gets its place from its environment, see `environment.py`. If one dies, all are restarted, up to
    `restarts` times. The machines meet at `rendezvous`, `host:port`, where host is one of them.

    Raises:
        UsageError: several machines without `rendezvous`, or one of another form.
        DistributedError: the machines did not meet; a process died too often, or hung.
        TdpnError: an error of the run itself, including `Stopped`.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _hush()
    endpoint = _endpoint(nodes, rendezvous)
    keeps = nodes == 1 or _keeps_store(endpoint)
    if nodes > 1:
        say(f"waiting for {nodes} machines at {endpoint}")
    failures: dict[int, ProcessFailure] = {}
    signal_name: str | None = None
    with tempfile.TemporaryDirectory(prefix="tdpn-") as folder, _environment(endpoint if nodes > 1 else None):
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=processes,
            run_id=f"tdpn-{endpoint}" if nodes > 1 else f"tdpn-{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint=endpoint,
            rdzv_configs={
                "timeout": join_seconds,
                "join_timeout": join_seconds,
                "read_timeout": join_seconds,
                "is_host": keeps,
            },
            local_addr=own_address(endpoint) if nodes > 1 else "127.0.0.1",
            max_restarts=restarts,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle=_SIGNALS,
            shutdown_timeout=STOP_SECONDS,
        )
        try:
            elastic_launch(config, command[0])(*command[1:])
        except ChildFailedError as error:
            failures = error.failures
        except SignalException as error:
            signal_name = error.sigval.name
        except (RendezvousError, DistError) as error:
            what = f"{nodes} machines did not meet within {join_seconds:g} s ({error})"
            hint = "start the same command on each of them; all must reach this address"
            raise DistributedError(what, where=endpoint, hint=hint) from error
        attempt = last_attempt(Path(folder))
        fault = root_cause(attempt, failures) if attempt is not None else None
    if fault is not None:
        raise fault
    if signal_name is not None:
        kind = Interrupted if signal_name == "SIGINT" else Stopped
        raise kind(f"stopped by {signal_name} before there was anything to save")


def own_address(endpoint: str) -> str:
    """Return the address of this machine as seen from `endpoint`."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))  # sends nothing, only selects the route
            return str(probe.getsockname()[0])
    except OSError as error:
        raise DistributedError(f"no route to it ({error.strerror or error})", where=endpoint) from error


def _is_here(endpoint: str) -> bool:
    """Return whether this machine is the host of `endpoint`: the route to an own address starts there."""
    try:
        return own_address(endpoint) == socket.gethostbyname(endpoint.rpartition(":")[0])
    except OSError as error:
        raise DistributedError(f"unknown host ({error})", where=endpoint) from error


def _keeps_store(endpoint: str) -> bool:
    """Return whether this launcher serves the store: it is on the machine of `endpoint`.

    Raises:
        DistributedError: another program uses the port.
    """
    if not _is_here(endpoint):
        return False
    host, _, port = endpoint.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            what, hint = "another program uses this port", "choose another --rdzv HOST:PORT"
            raise DistributedError(what, where=endpoint, hint=hint) from error
    return True


def interface_of(address: str) -> str | None:
    """Return the name of the network interface with the IPv4 `address`, for libraries that need it."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def _endpoint(nodes: int, rendezvous: str | None) -> str:
    if rendezvous is None:
        if nodes > 1:
            hint = "--rdzv HOST:PORT, the same on all machines, HOST being one of them"
            raise UsageError(f"{nodes} machines need a rendezvous address", where="--nodes", hint=hint)
        return "localhost:0"  # any free port
    host, _, port = rendezvous.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{rendezvous!r} is not HOST:PORT", where="--rdzv", hint="for example node1:29400")
    return rendezvous


def _hush() -> None:
    """Disable logging of torch's launcher unless LOGLEVEL is set: we report causes once."""
    if "LOGLEVEL" not in os.environ:
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("torch.distributed"):
                logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _environment(endpoint: str | None) -> Iterator[None]:
    """Set the environment that the processes inherit."""
    added = {LAUNCHER: str(os.getpid())}
    if endpoint is not None and "GLOO_SOCKET_IFNAME" not in os.environ:
        name = interface_of(own_address(endpoint))
        added |= {} if name is None else {"GLOO_SOCKET_IFNAME": name}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
