"""Upload a checkpoint to the Hugging Face hub, with its model card, settings and class names. Implements `tdpn push`.

The optional package `huggingface_hub` sends the files, and reads the user's token and `HF_ENDPOINT`. The checkpoint is
sent without the optimiser's state and without paths of this machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tdpn_core.checkpoint import Checkpoint, is_checkpoint, load_checkpoint, save_checkpoint
from tdpn_core.config.schema import to_dict
from tdpn_core.errors import TdpnError, ToolError, UsageError
from tdpn_core.files import write_json, write_text
from tdpn_core.model_card import README, find_results, model_card, start_name
from tdpn_core.offline import REASON, is_offline
from tdpn_core.progress import SILENT, Progress
from tdpn_core.weights.hub import PREFIX
from tdpn_core.weights.resolve import find_weights

CONFIG, CLASSES = "config.json", "classes.json"
"""Files in the repository: the settings, and the class names by head in the order of the outputs."""

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What is sent to a repository of the hub."""

    repository: str
    """`OWNER/NAME`."""

    files: Mapping[str, int]
    """Size in bytes of each file, by its name in the repository."""

    private: bool
    """Whether only its owner sees the repository."""

    exists: bool | None
    """Whether the repository exists already; None: the hub was not asked."""

    name: str
    """Name of the checkpoint for `--checkpoint`: `hf:OWNER/NAME/best.pt`."""


def push(
    checkpoint: Path,
    repository: str,
    *,
    include: Sequence[Path] = (),
    private: bool = True,
    dry_run: bool = False,
    may_send: Callable[[Upload], bool] | None = None,
    progress: Progress = SILENT,
) -> Upload:
    """Upload a checkpoint and its model card to a repository of the Hugging Face hub. Implements `tdpn push`.

    The repository gets the checkpoint without the optimiser's state, its card as `README.md`, `config.json` and
    `classes.json`. It is created if it does not exist. Files of an earlier upload are replaced.

    Args:
        checkpoint: of tdpn, a run's folder, or a name as in `find_weights`.
        repository: `OWNER/NAME`.
        include: other files to send, such as exported ones; they are sent unchanged.
        private: whether a new repository is private; an existing one stays as it is.
        dry_run: send nothing, and do not ask the hub.
        may_send: asked before anything is created or sent; None: it is not asked.
        progress: receives a line about the upload.

    Returns:
        What was sent, or would be.

    Raises:
        UsageError: the repository's name is malformed, a file in `include` cannot be read, there is no token, tdpn is
            offline, or `may_send` refused.
        CheckpointError: the checkpoint is missing or damaged.
        ToolError: the package `huggingface_hub` is not installed.
        TdpnError: the hub cannot be reached, or refuses the upload.
    """
    hub = _hub(repository)
    path = find_weights(checkpoint, progress)
    if not is_checkpoint(path):
        hint = "push a run of `tdpn train`; --include adds other files"
        raise UsageError("is not a checkpoint of tdpn", where=path, hint=hint)
    with tempfile.TemporaryDirectory(prefix="tdpn-push-") as scratch:
        files = _files(path, repository, include, Path(scratch))
        sizes = {name: file.stat().st_size for name, file in files.items()}
        name = f"{PREFIX}{repository}/{path.name}"
        upload = Upload(repository=repository, files=sizes, private=private, exists=None, name=name)
        if dry_run:
            return upload
        _need_access(hub, repository)
        with _reported(repository):
            known = _visibility(hub, repository)
            if known is not None:
                upload = replace(upload, private=known)
            upload = replace(upload, exists=known is not None)
        if may_send is not None and not may_send(upload):
            raise UsageError("nothing was uploaded", where=repository, hint="--yes uploads without asking")
        progress.say(f"uploading {len(files)} files to {repository}")
        with _reported(repository):
            if not upload.exists:
                hub.create_repo(repository, private=private, exist_ok=True)
            operations = [hub.CommitOperationAdd(name, str(file)) for name, file in files.items()]
            hub.create_commit(repository, operations, commit_message=f"Upload {path.name} with tdpn")
    return upload


def _hub(repository: str) -> Any:
    """Return the package of the hub, after checking the repository's name.

    Raises:
        UsageError, ToolError: see `push`.
    """
    wrong = UsageError(f"{repository!r} is not the name of a repository", hint="use the form OWNER/NAME")
    if len(repository.split("/")) != 2:
        raise wrong
    try:
        import huggingface_hub.utils
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        what = "uploads to the Hugging Face hub require the package huggingface_hub"
        raise ToolError(what, hint="pip install 'tdpn[hub]'") from error
    hub: Any = huggingface_hub
    try:
        hub.utils.validate_repo_id(repository)
    except HFValidationError as error:
        raise wrong from error
    return hub


def _need_access(hub: Any, repository: str) -> None:
    """
    Raises:
        UsageError: tdpn is offline, or there is no token.
    """
    if is_offline():
        raise UsageError(f"nothing can be uploaded: {REASON}", where=repository)
    if not hub.get_token():
        raise UsageError("there is no token for the Hugging Face hub", where=repository, hint=_LOGIN)


def _visibility(hub: Any, repository: str) -> bool | None:
    """Return whether an existing repository is private; None if there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return bool(hub.repo_info(repository).private)
    except RepositoryNotFoundError:
        return None


@contextmanager
def _reported(repository: str) -> Iterator[None]:
    """Report an error of the hub or the network in one line.

    Raises:
        TdpnError: see `push`.
    """
    from huggingface_hub import errors

    http_error: Any = errors.HfHubHTTPError.__bases__[0]  # of the HTTP library that this version uses
    try:
        yield
    except errors.HfHubHTTPError as error:
        raise _refused(repository, error) from error
    except (http_error, ConnectionError, TimeoutError) as error:
        what = f"the Hugging Face hub cannot be reached: {_first_line(error)}"
        raise TdpnError(what, where=repository, hint="check the network and HF_ENDPOINT") from error
    except RuntimeError as error:  # of hf_xet, which sends large files
        what = f"the upload failed: {_first_line(error)}"
        raise TdpnError(what, where=repository, hint="run the command again") from error


def _refused(repository: str, error: Any) -> TdpnError:
    owner = repository.partition("/")[0]
    reasons: dict[int | None, tuple[str, str | None]] = {
        401: ("the hub does not accept the token (401)", _LOGIN),
        403: (f"the token has no write access to {owner} (403)", _LOGIN),
        404: (f"the hub does not find it, or the token has no access to {owner} (404)", f"check the name; {_LOGIN}"),
    }
    status = getattr(error.response, "status_code", None)
    what, hint = reasons.get(status, (f"the hub refuses the upload: {_first_line(error)}", None))
    return TdpnError(what, where=repository, hint=hint)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _files(path: Path, repository: str, include: Sequence[Path], scratch: Path) -> dict[str, Path]:
    """Write what is sent into `scratch`; returns each file by its name in the repository."""
    checkpoint = load_checkpoint(path)
    sent = without_paths(checkpoint)
    card = model_card(checkpoint, find_results(path, checkpoint), address=f"{PREFIX}{repository}/{path.name}")
    save_checkpoint(scratch / path.name, sent)
    write_text(scratch / README, card)
    for name, values in ((CONFIG, to_dict(sent.config)), (CLASSES, sent.config.data.classes)):
        write_json(scratch / name, values)
    sends = {name: scratch / name for name in (path.name, README, CONFIG, CLASSES)}
    for file in include:
        _need_readable(file)
        if file.name in sends:
            raise UsageError(f"another file is uploaded as {file.name}", where=file, hint="rename it")
        sends[file.name] = file
    return sends


def _need_readable(file: Path) -> None:
    """
    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise UsageError(
            f"cannot be uploaded: {error.strerror}", where=file, hint="`tdpn export` writes files"
        ) from error


def without_paths(checkpoint: Checkpoint) -> Checkpoint:
    """Return `checkpoint` without the optimiser's state and without folders of this machine."""
    config = checkpoint.config
    config = replace(
        config,
        data=replace(config.data, path="", absolute=""),
        start=replace(config.start, name=start_name(config.start.name)),
        train=replace(config.train, init=start_name(config.train.init)),
    )
    return replace(checkpoint, config=config, optimiser={}, resumable=False)
