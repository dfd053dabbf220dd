"""Run the work of an archive where it was asked for: in this process, as one of several, or on a Ray cluster."""

from __future__ import annotations

from tdpn_core import defaults
from tdpn_core.archive.archive import ArchiveFiles, ArchiveResult, Work, compute_share, join_archive
from tdpn_core.archive.on_ray import compute_on_ray
from tdpn_core.distributed.runtime import set_up_share
from tdpn_core.progress import SILENT, Progress
from tdpn_core.ray_cluster import RAY, check_executor
from tdpn_core.signals import stoppable
from tdpn_core.video.inputs import Inputs


def run_archive(
    work: Work,
    clips: Inputs,
    files: ArchiveFiles,
    *,
    command: str,
    gpus: int | None = None,
    executor: str = defaults.EXECUTOR,
    ray_address: str | None = None,
    join_only: bool = False,
    progress: Progress = SILENT,
) -> ArchiveResult | None:
    """Compute the clips that are left, and write the tables.

    Args:
        work: what is computed; with absolute paths for a Ray cluster.
        clips: all clips.
        files: where results are saved, checked.
        command: what continues the work, such as `tdpn predict`.
        gpus: GPUs of this process, or of each task of a cluster; 0 for the CPU; None: one if available.
        executor: `local`, or `ray` for a Ray cluster, whose nodes must see the same files.
        ray_address: address of the cluster; default: from RAY_ADDRESS, or a cluster on this machine.
        join_only: write the tables of the results so far.
        progress: receives notes and the number of clips.

    Returns:
        The tables; None in one of several processes, after which a call with `join_only` writes them.

    Raises:
        DatasetError: there is no result.
        InUseError: another command computes this archive.
        Stopped: received SIGTERM or Ctrl-C; the results of complete clips are saved.
        ToolError: a package for the table or the cluster is not installed, or the cluster cannot be reached.
        UsageError: unknown executor.
    """
    check_executor(executor)
    if not join_only:
        with stoppable(progress, note="the results of complete clips are saved", command=command):
            if executor == RAY:
                compute_on_ray(work, clips, files, address=ray_address, command=command, gpus=gpus, progress=progress)
            else:
                runtime = set_up_share(gpus)
                share = {"rank": runtime.rank, "world": runtime.world}
                compute_share(work, clips, files, runtime.device, **share, progress=progress)
                if runtime.world > 1:
                    return None
    return join_archive(work, clips, files)
