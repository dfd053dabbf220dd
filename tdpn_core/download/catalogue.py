"""The files to download for a data set, from its registry entry and from indexes.

None of the owners publishes digests; if the server provides an MD5, it is verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from tdpn_core.datasets.registry import AUTO, DATASETS, find_dataset
from tdpn_core.datasets.remote import ByHand, Download, RemoteFile
from tdpn_core.download.members import bad_name
from tdpn_core.errors import DatasetError, UsageError

_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


def downloadable() -> list[str]:
    """Return the names of the data sets that programs can download."""
    return [name for name, spec in DATASETS.items() if isinstance(spec.download, Download)]


def plan(dataset: str, *, splits: Sequence[str] | None = None, mirror: str | None = None) -> list[RemoteFile]:
    """Return the files to download for a data set, in order; small files first.

    Args:
        dataset: name or alias of one of `downloadable`.
        splits: for Kinetics, some of train, val and test; default: train and val. Other data sets have one part.
        mirror: address of a copy of the owner's tree, to use instead of it.

    Raises:
        UsageError: the data set is unknown or cannot be downloaded by programs (the message has its page and
            layout), or does not have these splits.
    """
    spec = None if dataset == AUTO else find_dataset(dataset)
    source = spec.download if spec else None
    if isinstance(source, ByHand):
        what = f"{dataset} cannot be downloaded by a program: {source.where}"
        raise UsageError(what, hint=f"arrange it as {source.layout}, and give that folder as --root")
    if source is None:
        raise UsageError(f"there is no download for {dataset!r}", hint=f"available: {', '.join(downloadable())}")
    wanted = _wanted(dataset, source, splits)
    return source.files((mirror or source.address).rstrip("/"), wanted)


def _wanted(dataset: str, source: Download, splits: Sequence[str] | None) -> list[str]:
    """Return the splits to download, in the owner's order."""
    if splits is None:
        return list(source.usual_splits)
    if not source.splits:
        raise UsageError(f"{dataset} is downloaded as a whole, not by splits")
    if not splits or not set(splits) <= set(source.splits):
        raise UsageError(f"{dataset} has the splits {', '.join(source.splits)}, not {', '.join(splits) or 'none'}")
    return [split for split in source.splits if split in splits]


def listed(index: RemoteFile, text: str, where: str) -> list[RemoteFile]:
    """Return the archives in an index.

    Raises:
        DatasetError: a line is not the address of an archive below the index's base, or the index is empty.
    """
    base, _, _ = index.url.rpartition(f"/{index.split}/")  # the mirror's, while the lines contain the owner's
    archives = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = _below(line.strip(), index.base)
        if place is None or bad_name(place) or not place.endswith(_ARCHIVES):
            what = f"line {number} is not an archive of {index.base}: {line[:100]!a}"
            raise DatasetError(what, where=where, hint="remove the list to download it again")
        folder = f"{index.target}/{_stem(place)}" if index.class_folders else index.target
        archives.append(
            RemoteFile(
                url=f"{base}/{quote(place)}",
                kind="archive",
                target=folder,
                provides=index.provides,
                split=index.split,
                etag_is_md5=index.etag_is_md5,
            )
        )
    if not archives:
        raise DatasetError("lists no archives", where=where, hint="remove the list to download it again")
    return archives


def _below(address: str, base: str) -> str | None:
    """Return the path of an address below `base`, for http or https; spaces may be quoted or not."""
    parts, owner = urlsplit(address), urlsplit(base)
    if parts.scheme not in ("http", "https") or parts.netloc != owner.netloc or parts.query or parts.fragment:
        return None
    path = unquote(parts.path)
    return path[len(owner.path) + 1 :] if path.startswith(f"{owner.path}/") else None


def _stem(place: str) -> str:
    name = PurePosixPath(place).name
    return next(name.removesuffix(suffix) for suffix in _ARCHIVES if name.endswith(suffix))
