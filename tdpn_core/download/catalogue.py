"""Where the data sets are on the web, and which of them their owners let a program download.

Each address names where it was read. None of these owners publishes digests; where the server gives an MD5, it is
compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from tdpn_core.download.members import bad_name
from tdpn_core.errors import DatasetError, UsageError

DOWNLOADABLE = ("kinetics400", "kinetics600", "kinetics700", "ucf101", "hmdb51")
KINETICS_SPLITS = ("train", "val", "test")
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a data set's owner, and what becomes of it."""

    url: str
    kind: Literal["file", "archive", "index"]
    """`index` is a text file of the addresses of archives, one a line."""

    target: str
    """Below the root: the file itself, or the folder that the archive, or each archive of the index, is unpacked in."""

    provides: str
    """Below the root: what is there once it was downloaded."""

    split: str | None = None

    base: str = ""
    """Of an index: the address that its lines begin with, and `url` too unless a mirror is used."""

    class_folders: bool = False
    """Of an index: each archive holds a class, and is unpacked in a folder of the archive's name."""

    nested: bool = False
    """The archive holds archives, which are unpacked in turn."""

    etag_is_md5: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)


@dataclass(frozen=True)
class _Manual:
    names: tuple[str, ...]
    where: str
    layout: str


# CVDF's bucket; addresses from the README and the *_downloader.sh of github.com/cvdfoundation/kinetics-dataset.
_KINETICS = "https://s3.amazonaws.com/kinetics"
# As torchvision/datasets/ucf101.py and many other scripts have it; the owner's page is crcv.ucf.edu/data/UCF101.php.
_UCF101 = "https://www.crcv.ucf.edu/data/UCF101"
# The owner's page (CC BY 4.0; github.com/serre-lab/Lab-Website, resources/hmdb-a-large-human-motion-database.md) links
# these as the official files; its former server, serre-lab.clps.brown.edu, is gone (fiftyone, pull request 6528).
_HMDB51 = "https://huggingface.co/datasets/Serrelab/hmdb51/resolve/main"

_SOMETHING = "the owner, Qualcomm, wants an account and consent: www.qualcomm.com/developer/software, "
_MANUAL = (
    _Manual(
        ("something", "somethingsomethingv2", "somethingv2", "sthv2", "ssv2"),
        _SOMETHING + "Something-Something v2",
        "20bn-something-something-v2/*.webm and labels/{labels,train,validation,test}.json",
    ),
    _Manual(
        ("somethingsomethingv1", "somethingv1", "sthv1", "ssv1"),
        _SOMETHING + "Something-Something v1",
        "20bn-something-something-v1/<id>/*.jpg and something-something-v1-{labels,train,validation}.csv",
    ),
    _Manual(
        ("jester",),
        _SOMETHING + "Jester",
        "20bn-jester-v1/<id>/*.jpg and labels/{labels,train,validation}.csv",
    ),
    _Manual(
        ("epic100", "epickitchens100", "epic55", "epickitchens55", "epic", "epickitchens"),
        "the owner's own downloader: github.com/epic-kitchens/epic-kitchens-download-scripts",
        "EPIC-KITCHENS/P01/videos/P01_01.MP4 ... and the EPIC_100_*.csv of epic-kitchens-100-annotations",
    ),
    _Manual(
        ("diving48",),
        "www.svcl.ucsd.edu/projects/resound/dataset.html",
        "rgb/*.mp4, Diving48_V2_{train,test}.json and Diving48_vocab.json",
    ),
)


def plan(dataset: str, *, splits: Sequence[str] | None = None, mirror: str | None = None) -> list[RemoteFile]:
    """The files to download for a data set, in order; small files first.

    Args:
        dataset: one of `DOWNLOADABLE`.
        splits: of Kinetics, some of `KINETICS_SPLITS`; by default train and val. The other data sets have one part.
        mirror: address of a copy of the owner's tree, in place of the owner's.

    Raises:
        UsageError: no such data set, one whose owner lets no program download it (the message names the page and the
            layout), or splits that it does not have.
    """
    if dataset.startswith("kinetics") and dataset in DOWNLOADABLE:
        wanted = tuple(splits) if splits is not None else ("train", "val")
        if not wanted or not set(wanted) <= set(KINETICS_SPLITS):
            raise UsageError(
                f"{dataset} has the splits {', '.join(KINETICS_SPLITS)}, not {', '.join(wanted) or 'none'}"
            )
        return _kinetics(dataset, [split for split in KINETICS_SPLITS if split in wanted], mirror)
    if dataset in DOWNLOADABLE and splits is not None:
        raise UsageError(f"{dataset} is downloaded whole, not by splits")
    if dataset == "ucf101":
        base = (mirror or _UCF101).rstrip("/")
        return [
            _archive(f"{base}/UCF101TrainTestSplits-RecognitionTask.zip", ".", "ucfTrainTestlist"),
            _archive(f"{base}/UCF101.rar", ".", "UCF-101"),
        ]
    if dataset == "hmdb51":
        base = (mirror or _HMDB51).rstrip("/")
        return [
            _archive(f"{base}/test_train_splits.rar", ".", "testTrainMulti_7030_splits"),
            _archive(f"{base}/hmdb51_org.rar", "hmdb51_org", "hmdb51_org", nested=True),
        ]
    plain = re.sub("[^a-z0-9]", "", dataset.lower())
    for manual in _MANUAL:
        if plain in manual.names:
            what = f"{dataset} cannot be downloaded by a program: {manual.where}"
            raise UsageError(what, hint=f"lay it out as {manual.layout}, and give that folder as --root")
    raise UsageError(f"no download is known for {dataset!r}", hint=f"known are {', '.join(DOWNLOADABLE)}")


def listed(index: RemoteFile, text: str, where: str) -> list[RemoteFile]:
    """The archives that an index names.

    Raises:
        DatasetError: a line is no address of an archive below the index's own base, or nothing is listed.
    """
    base, _, _ = index.url.rpartition(f"/{index.split}/")  # a mirror's, where the lines name the owner
    archives = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = _below(line.strip(), index.base)
        if place is None or bad_name(place) or not place.endswith(_ARCHIVES):
            what = f"line {number} is no archive of {index.base}: {line[:100]!a}"
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
        raise DatasetError("lists no archive", where=where, hint="remove the list to download it again")
    return archives


def _kinetics(dataset: str, splits: Sequence[str], mirror: str | None) -> list[RemoteFile]:
    """CVDF's copy: annotations, lists of archives, and for Kinetics-400 its replacements of corrupted clips.

    Kinetics-400 comes in parts of flat files (k400_extractor.sh), Kinetics-700-2020 in class folders, and Kinetics-600
    in an archive a class, whose train.csv and val.csv its README calls incomplete: there the folders tell the class.
    """
    version, prefix = {
        "kinetics400": ("400", "k400"),
        "kinetics600": ("600", "k600"),
        "kinetics700": ("700_2020", "k700_2020"),
    }[dataset]
    owner = f"{_KINETICS}/{version}"
    base = mirror.rstrip("/") if mirror else owner
    found = []
    for split in splits:  # the csv files of Kinetics-600 are incomplete, and would hide the class folders
        suffix = "txt" if dataset == "kinetics600" and split != "test" else "csv"
        place = f"annotations/{split}.{suffix}"
        found.append(
            RemoteFile(url=f"{base}/{place}", kind="file", target=place, provides=place, split=split, etag_is_md5=True)
        )
    for split in splits:
        found.append(
            RemoteFile(
                url=f"{base}/{split}/{prefix}_{split}_path.txt",
                kind="index",
                target=split,
                provides=split,
                split=split,
                base=owner,
                class_folders=dataset == "kinetics600" and split != "test",
                etag_is_md5=True,
            )
        )
    if dataset == "kinetics400" and "train" in splits:  # the corrupted clips are of train, see arrange_by_classes.py
        url = f"{base}/replacement_for_corrupted_k400.tgz"
        found.append(
            RemoteFile(url=url, kind="archive", target="replacement", provides="replacement", etag_is_md5=True)
        )
    return found


def _archive(url: str, target: str, provides: str, *, nested: bool = False) -> RemoteFile:
    return RemoteFile(url=url, kind="archive", target=target, provides=provides, nested=nested)


def _below(address: str, base: str) -> str | None:
    """The path of an address below `base`, whichever of http and https they have; spaces may be quoted or not."""
    parts, owner = urlsplit(address), urlsplit(base)
    if parts.scheme not in ("http", "https") or parts.netloc != owner.netloc or parts.query or parts.fragment:
        return None
    path = unquote(parts.path)
    return path[len(owner.path) + 1 :] if path.startswith(f"{owner.path}/") else None


def _stem(place: str) -> str:
    name = PurePosixPath(place).name
    return next(name.removesuffix(suffix) for suffix in _ARCHIVES if name.endswith(suffix))
