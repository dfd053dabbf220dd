"""Download weights from the Hugging Face hub, `hf:OWNER/REPOSITORY/FILE`, with the optional package `huggingface_hub`.

The package has its own cache, resumes and verifies downloads, and reads the user's token and `HF_ENDPOINT`.
"""

from __future__ import annotations

from pathlib import Path

from tdpn_core.errors import CheckpointError, ToolError, UsageError
from tdpn_core.offline import is_offline
from tdpn_core.progress import SILENT, Progress

PREFIX = "hf:"
_FORM = "hf:OWNER/REPOSITORY/FILE"


def obtain_from_hub(name: str, progress: Progress = SILENT) -> Path:
    """Return the local path of `hf:OWNER/REPOSITORY/FILE`, downloading the file unless it is in the hub's cache.

    Raises:
        UsageError: the name does not have this form.
        ToolError: the package is not installed.
        CheckpointError: the file does not exist, or the hub cannot be reached.
    """
    owner, _, rest = name.removeprefix(PREFIX).partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise UsageError(f"{name!r} is not the name of a file on the Hugging Face hub", hint=f"use the form {_FORM}")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        hint = "pip install 'tdpn[hub]'"
        raise ToolError("files of the Hugging Face hub require the package huggingface_hub", hint=hint) from error
    progress.say(f"{name}: from the Hugging Face hub or its cache")
    try:
        path = huggingface_hub.hf_hub_download(f"{owner}/{repository}", file, local_files_only=is_offline())
    except errors.LocalEntryNotFoundError as error:
        reason = "is not in the hub's cache, and the hub cannot be reached or tdpn is offline"
        hint = "check the network, or give a file on this machine"
        raise CheckpointError(reason, where=name, hint=hint) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "check the name, and for a private repository log in with `hf auth login`"
        raise CheckpointError(f"cannot be fetched: {reason}", where=name, hint=hint) from error
    return Path(path)
