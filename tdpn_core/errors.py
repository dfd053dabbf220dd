"""Every error that a user can meet: what is wrong, where, and what to do about it.

The library raises these; the command line prints them in one place and exits with `exit_code`. Anything else
that escapes is a bug of ours.
"""

from __future__ import annotations

from pathlib import Path


class TdpnError(Exception):
    """Base of all errors meant for the user's eyes.

    `what` is the fault in one sentence, `where` the file, clip or option it concerns, `hint` the next thing to do.
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
    """The command or call asked for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """Settings that contradict each other, or a stored configuration of unknown fields."""


class PluginError(TdpnError):
    """A part that another package adds cannot be loaded, or its name is taken."""


class DeviceError(UsageError):
    """A device was asked for that this machine does not have."""


class InUseError(UsageError):
    """A folder or file that another process is writing to."""


class DatasetError(TdpnError):
    """A root folder or annotation file that cannot be read as the data set it should be."""


class ClipError(TdpnError):
    """One clip cannot be decoded or is not what its container promises."""


class ClipRefused(ClipError):  # noqa: N818 - a decision, not a fault
    """A clip that may be whole, but is larger or longer than the limits that were set."""


class ClipTooLong(ClipRefused):
    """A clip of more frames than the limit that was set."""


class ToolError(TdpnError):
    """An outside program (ffmpeg) is missing, too old or broken."""


class ShardError(TdpnError):
    """A shard or manifest that is damaged, missing or of another version."""


class CheckpointError(TdpnError):
    """A checkpoint that is damaged, or does not fit what it is loaded into."""


class DistributedError(TdpnError):
    """Another process of the same run is missing, differs, hangs or was lost; restarting all may help."""

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None, told: bool = False
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.told = told
        """Whether the other process had ended by an error of its own, which it reports itself."""


class ScoresError(TdpnError):
    """A file of scores that is damaged, or does not fit those beside it."""


class HangError(DistributedError):
    """A process shows no progress while the others wait for it."""


class TrainingError(TdpnError):
    """Training cannot go on, a non-finite loss for example."""


class Stopped(TdpnError):  # noqa: N818 - a state, not a fault
    """The run was asked to stop, saved its state and can be resumed."""

    exit_code = 3


class Interrupted(Stopped):
    """The same, by Ctrl-C."""

    exit_code = 130
