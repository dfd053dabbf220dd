"""Real processes of Python that need not import PyTorch: forks of a server that has imported it once.

`run` and `Popen` replace `subprocess.run` and `subprocess.Popen` for commands of `sys.executable` (`-c` or `-m`,
`-W error`, `-P`). Each process has its own number, signals, streams, folder, environment and exit code, and imports
`tdpn_cli` itself. It shares with the server what an interpreter fixes at its start: the seed of `hash`, limits of
resources, and variables that Python, OpenMP and imported modules read once. At its end it runs exit handlers and
releases what a script made, and takes down nothing else. Tests of these use `subprocess`.

A process of the tests that needs it starts one server, which has a single thread, so that a fork has all of it. A pair
of sockets joins the two. When the tests' end is closed, by a kill too, the server kills what still runs and ends.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

PIPE = subprocess.PIPE

MESSAGE = 16  # bytes: more than any number has
DYING = 5  # seconds until the pipes of a killed process end, unless a process that it started holds them

_is_script = False  # whether what this process did, to its end, was a script rather than a command of ours

IMPORTED = (
    *("torch", "torch._dynamo", "torch.export", "torch.utils.tensorboard", "numpy", "pandas", "pydantic", "h5py"),
    *("decord", "av", "simplejpeg", "sklearn.metrics", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("PIL.Image", "jinja2", "ffmpeg", "requests", "filelock", "platformdirs", "typer", "rich.progress", "rich.table"),
    *("rich.live", "onnx", "tdpn_core.api", "tdpn_core.training.trainer"),
    *("tdpn_core.evaluation.evaluate", "tdpn_core.prediction.predict", "tdpn_core.prep.prepare"),
    *("tdpn_core.model.registry", "tdpn_core.ablation"),
)


class Popen:
    """A process that the server started, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        text: bool = True,
        start_new_session: bool = False,
    ) -> None:
        assert text
        assert command[0] == sys.executable
        self.args = list(command)
        self.returncode: int | None = None
        request = {
            "words": list(map(str, command[1:])),
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stdout, out = _stream(stdout, 1)
        self.stderr, err = _stream(stderr, 2)
        with theirs, Path(os.devnull).open() as nothing, tempfile.TemporaryFile() as body:
            body.write(json.dumps(request).encode())
            body.flush()
            numbers = [nothing.fileno(), out, err, body.fileno(), theirs.fileno()]
            socket.send_fds(_server(), [b"start"], numbers)
        for number, given in ((out, stdout), (err, stderr)):
            if given == PIPE:
                os.close(number)
        self.pid = self._answer()

    def _answer(self) -> int:
        message = self._answers.recv(MESSAGE)
        assert message, "the server of processes has ended"
        return int(message)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the number of the signal that ended the process."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = self._answer()
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, if the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(1e-3)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """All that the process writes to its pipes until they and it have ended; at the timeout it is killed."""
        end = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        texts: dict[int, str] = {}
        threads = {
            number: threading.Thread(target=lambda n=number, s=stream: texts.__setitem__(n, s.read()), daemon=True)
            for number, stream in enumerate((self.stdout, self.stderr))
            if stream
        }
        for thread in threads.values():
            thread.start()
        for thread in threads.values():
            thread.join(max(0, end - time.monotonic()))
        late = any(thread.is_alive() for thread in threads.values())
        if late:
            self.kill()
            for thread in threads.values():
                thread.join(DYING)
        if not any(thread.is_alive() for thread in threads.values()):
            self._close()
        if late:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(max(1e-3, end - time.monotonic()))
        return texts.get(0), texts.get(1)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _close(self) -> None:
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()
        self._close()


def run(
    command: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = 300,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, and return its code and what it wrote."""
    process = Popen(command, cwd=cwd, env=env, stdout=PIPE, stderr=PIPE)
    try:
        out, err = process.communicate(timeout)
    except BaseException:
        process.kill()
        raise
    result = subprocess.CompletedProcess(process.args, process.wait(), out, err)
    if check:
        result.check_returncode()
    return result


def _stream(wanted: int | None, own: int) -> tuple[IO[str] | None, int]:
    """The reading end of a pipe as text, if one is wanted, and the number that the process writes to."""
    if wanted is None:
        return None, own
    if wanted != PIPE:
        return None, wanted
    reader, writer = os.pipe()
    return os.fdopen(reader, encoding="utf-8"), writer


@cache
def _server() -> socket.socket:
    """Start the server of this process; returns the socket that takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("TDPN_", "PYTHON"))}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(theirs.fileno())],
            env=variables | {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"},
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    assert ours.recv(MESSAGE) == b"ready"

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Start a process for each request until there can be no more; returns the request in each process."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor that is readable once the process has ended
    while True:
        readable, _, _ = select.select([requests, *running], [], [])
        for watched in running.keys() & readable:
            pid, answers = running.pop(watched)
            os.close(watched)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with answers, contextlib.suppress(OSError):  # nobody waits any more
                answers.send(b"%d" % code)
        if requests not in readable:
            continue
        message, numbers, _, _ = socket.recv_fds(requests, MESSAGE, 5)
        if not message:
            for pid, _ in running.values():
                os.kill(pid, signal.SIGKILL)
            return None
        *streams, body, answer = numbers
        answers = socket.socket(fileno=answer)
        pid = os.fork()
        if not pid:
            for held in (requests, answers, *(other for _, other in running.values())):
                held.close()
            for watched in running:
                os.close(watched)
            with os.fdopen(body) as text:
                text.seek(0)
                return _enter(json.load(text), streams)
        for number in (*streams, body):
            os.close(number)
        running[os.pidfd_open(pid)] = (pid, answers)
        with contextlib.suppress(OSError):
            answers.send(b"%d" % pid)


def _enter(request: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    """Give this process the streams, the session, the folder and the environment that are asked for."""
    for own, number in enumerate(streams):
        os.dup2(number, own)
        os.close(number)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    tempfile.tempdir = None  # of another TMPDIR
    os.environ.clear()
    os.environ.update(request["env"])
    if watchdog := sys.modules.get("tdpn_core.distributed.watchdog"):
        watchdog._first_parent = os.getppid()  # it was the server's
    return request


def _do(words: list[str]) -> None:
    """Do what the interpreter does with these words."""
    import runpy
    import warnings

    sys.orig_argv = [sys.executable, *words]
    safe = strict = False
    while words[0] not in ("-c", "-m"):
        match words.pop(0):
            case "-P":
                safe = True
            case "-W" if words.pop(0) == "error":
                strict = True
            case other:
                raise ValueError(f"{other}: not an option of these processes; use subprocess")
    if not strict:
        warnings.filters.remove(("error", None, Warning, None, 0))  # the server's own -W error
        sys.warnoptions.clear()
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    if not safe:
        sys.path.insert(0, "" if words[0] == "-c" else str(Path.cwd()))
    sys.argv = [words[0], *words[2:]]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = module = type(sys)("__main__")
        atexit.register(_release, module.__dict__)  # after the handlers of the script
        exec(words[1], module.__dict__)


def _run(words: list[str]) -> None:
    """Do it, and end without PyTorch's C++ destructors, as our commands do: they take half a second.

    What ends with an exception or a message is torn down as ever.
    """
    from tdpn_core import process_exit

    global _is_script
    code: Any = 0
    try:
        _do(words)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            raise
    if process_exit._final_code is None:  # none of our commands
        _is_script = True
        process_exit.leave(code)


def _release(script: dict[str, Any]) -> None:
    """Release what a script still holds, as the end of its interpreter would: what is open then gives a warning."""
    if _is_script:
        script.clear()
        gc.collect()


def _forget(modules: dict[str, ModuleType]) -> None:
    """Leave the packages of others out of this process's end: to take them down copies every page of the server."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(modules))
    for name in modules:
        sys.modules.pop(name, None)


if __name__ == "__main__":
    others: dict[str, ModuleType] = {}
    atexit.register(_forget, others)  # first, so that it runs last
    from tdpn_core import process_exit as process_exit  # before what registers exit handlers, as the command does

    del sys.path[0]  # this file's folder
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lose the other threads"
    known = {*sys.stdlib_module_names, "__main__", "tdpn_cli", "tdpn_core"}
    others |= {name: module for name, module in sys.modules.items() if name.partition(".")[0] not in known}
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.send(b"ready")
        asked = _serve(connection)
    if asked:
        _run(asked["words"])
