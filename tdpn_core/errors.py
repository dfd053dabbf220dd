"""Errors for users: what is wrong, where, and what to do about it.

The library raises these; the command line prints them in one place and exits with `exit_code`. Any other exception is a
bug.
"""

from __future__ import annotations

from pathlib import Path


class TdpnError(Exception):
    """Base of all errors meant for users.

    `what` describes the fault in one sentence, `where` the file, clip or option concerned, `hint` what to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.what}{advice}"


class UsageError(TdpnError):
    """A command or call with invalid or impossible arguments."""

    exit_code = 2


class ConfigError(UsageError):
    """Invalid or contradictory settings, or a stored configuration with unknown fields."""


class PluginError(TdpnError):
    """A plugin of another package cannot be loaded, or its name is taken."""


class DeviceError(UsageError):
    """The machine lacks the requested device."""


class InUseError(UsageError):
    """A folder or file that another process is writing."""


class DatasetError(TdpnError):
    """A root folder or annotation file that is not valid for the data set."""


class ClipError(TdpnError):
    """One clip cannot be decoded, or is incomplete or damaged."""


class ClipRefused(ClipError):  # noqa: N818 - a decision, not a fault
    """A clip that may be complete, but exceeds the configured limits."""


class ClipTooLong(ClipRefused):
    """A clip with more frames than the configured limit."""


class ToolError(TdpnError):
    """An external program (ffmpeg) is missing, too old or fails."""


class ShardError(TdpnError):
    """A shard or manifest is damaged, missing or of another version."""


class CheckpointError(TdpnError):
    """A checkpoint is damaged, or does not fit the model."""


class DistributedError(TdpnError):
    """Another process of the run is missing, differs, hangs or was lost; restarting all may help."""

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None, already_reported: bool = False
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.already_reported = already_reported
        """Whether the other process ended with an error of its own, which it reports itself."""


class ScoresError(TdpnError):
    """A score file is damaged, or does not fit the others."""


class HangError(DistributedError):
    """A process makes no progress while the others wait for it."""


class TrainingError(TdpnError):
    """Training cannot continue, for example because of a non-finite loss."""


class Stopped(TdpnError):  # noqa: N818 - a state, not a fault
    """The run was stopped on request, is saved and can be resumed."""

    exit_code = 3


class Interrupted(Stopped):
    """Stopped by Ctrl-C."""

    exit_code = 130
