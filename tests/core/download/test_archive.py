"""Archives from strangers: what is harmless lands as it is, anything else leaves nothing."""

import gzip
import io
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tdpn_core.download import ArchiveLimits, extract
from tdpn_core.download.archive import merge
from tdpn_core.errors import TdpnError

CLIP = random.Random(1).randbytes(5_000)


@dataclass
class Tar:
    """Members of a tar that a test makes."""

    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    def add(self, name: str, content: bytes = CLIP, **values: object) -> "Tar":
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in values.items():
            setattr(info, key, value)
        self.members.append((info, content))
        return self

    def bytes(self, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tar_format) as archive:
            for info, content in self.members:
                archive.addfile(info, io.BytesIO(content))
        return made.getvalue()


def zipped(*members: tuple[str, bytes], mode: int = 0, method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, content)
    return made.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "part_0.tar.gz"
        path.write_bytes(content)
        return path

    return write


GOOD = Tar().add("./", b"", type=tarfile.DIRTYPE).add("./a b/'1' (x).mp4").add("./-é.mp4", b"").add("n" * 200 + ".mp4")
NAMES = {"a b/'1' (x).mp4": CLIP, "-é.mp4": b"", "n" * 200 + ".mp4": CLIP}


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_extract_of_a_tar_ignores_the_archives_name(
    put: Callable[[bytes], Path], tmp_path: Path, tar_format: int, pack: Callable[[bytes], bytes]
) -> None:
    got = extract(put(pack(GOOD.bytes(tar_format))), tmp_path / "out")
    assert tree(tmp_path / "out") == NAMES
    assert got == sorted(tmp_path / "out" / name for name in NAMES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_extract_of_a_zip_gives_its_files(put: Callable[[bytes], Path], tmp_path: Path, method: int) -> None:
    content = zipped(("lists/", b""), ("lists/é.txt", b"1\n"), ("x/y/z", CLIP), method=method)
    extract(put(content), tmp_path / "out")
    assert tree(tmp_path / "out") == {"lists/é.txt": b"1\n", "x/y/z": CLIP}


def test_modes_owners_and_times_of_the_archive_are_not_taken(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    special = Tar().add("dir", b"", type=tarfile.DIRTYPE, mode=0o7777).add("dir/f", mode=0o6777, uid=12345, mtime=1)
    before = os.umask(0o022)
    try:
        extract(put(special.bytes()), tmp_path / "out")
    finally:
        os.umask(before)
    landed = (tmp_path / "out/dir/f").stat()
    assert stat.S_IMODE(landed.st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "out/dir").stat().st_mode) == 0o755
    assert landed.st_uid == os.getuid()
    assert landed.st_mtime > 1e9


def test_extract_into_a_present_folder_does_nothing(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    archive = put(gzip.compress(GOOD.bytes()))
    first = extract(archive, tmp_path / "out")
    archive.write_bytes(b"not looked at")
    assert extract(archive, tmp_path / "out") == first


def test_extract_after_a_killed_one_clears_what_it_left(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    (tmp_path / ".tmp-out/deep").mkdir(parents=True)
    (tmp_path / ".tmp-out/deep/half.mp4").write_bytes(b"half")
    extract(put(GOOD.bytes()), tmp_path / "out")
    assert tree(tmp_path / "out") == NAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "part_0.tar.gz"]


def _long_path() -> bytes:
    """As in CVE-2025-4517: folders whose real path outgrows PATH_MAX, links through them, then a file behind."""
    attack = Tar()
    component, path = "d" * 247, ""
    for step in "abcdefghijklmnop":
        attack.add(f"{path}{component}", b"", type=tarfile.DIRTYPE)
        attack.add(f"{path}{step}", b"", type=tarfile.SYMTYPE, linkname=component)
        path += f"{step}/"
    attack.add(path + "l" * 254, b"", type=tarfile.SYMTYPE, linkname="../" * 16)
    attack.add("escape", b"", type=tarfile.SYMTYPE, linkname=path + "l" * 254 + "/../../../../outside")
    return attack.add("escape", b"evil").bytes()


def _negative_size() -> bytes:
    """A size of -512 in base 256, as in CVE-2025-8194."""
    header = bytearray(Tar().add("a", b"").bytes()[:512])
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(10_240)


def _header_of_zeros() -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 100 << 20
    return info.tobuf() + bytes(100 << 20)


TAR_ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent": (lambda: Tar().add("ok").add("../evil").bytes(), r"'../evil' leads out of the archive"),
    "parent within": (lambda: Tar().add("a/../../evil").bytes(), "leads out"),
    "parent folder": (lambda: Tar().add("../evil/", b"", type=tarfile.DIRTYPE).bytes(), "leads out"),
    "absolute": (lambda: Tar().add("/tmp/evil").bytes(), "has no relative name"),
    "drive": (lambda: Tar().add("C:/evil").bytes(), "has no relative name"),
    "backslashes": (lambda: Tar().add("..\\evil").bytes(), "has no relative name"),
    "terminal codes": (lambda: Tar().add("\x1b[2Jx").bytes(), r"'\\x1b\[2Jx' has control characters"),
    "symbolic link": (
        lambda: Tar().add("l", b"", type=tarfile.SYMTYPE, linkname="../outside").add("l/evil").bytes(),
        "'l' is a symbolic link",
    ),
    "hard link": (
        lambda: Tar().add("l", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd").bytes(),
        "is a hard link",
    ),
    "device": (
        lambda: Tar().add("d", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5).bytes(),
        "is not a regular file",
    ),
    "disk": (lambda: Tar().add("d", b"", type=tarfile.BLKTYPE).bytes(), "is not a regular file"),
    "pipe": (lambda: Tar().add("p", b"", type=tarfile.FIFOTYPE).bytes(), "is not a regular file"),
    "unknown": (lambda: Tar().add("u", b"", type=b"V").bytes(), "is not a regular file"),
    "sparse": (lambda: Tar().add("s", b"", type=tarfile.GNUTYPE_SPARSE).bytes(), "is not a regular file"),
    "duplicate": (lambda: Tar().add("a/b").add("./a//b", b"other").bytes(), "has the path of another member"),
    "file as folder": (lambda: Tar().add("a").add("a/b").bytes(), "has the path of another member"),
    "no name": (lambda: Tar().add("./").bytes(), "has the path of another member"),
    "long component": (lambda: Tar().add("x" * 256).bytes(), "has too long a name"),
    "deep": (lambda: Tar().add("d/" * 40 + "x").bytes(), "is nested too deeply"),
    "long path": (_long_path, "is a symbolic link"),
    "negative size": (_negative_size, "negative size|is damaged"),
    "endless header": (_header_of_zeros, "is damaged, or not a tar, zip or rar archive: a header of 104857600 bytes"),
    "chain of headers": (
        lambda: b"".join(Tar().add("x", b"", type=tarfile.XHDTYPE).bytes()[:512] for _ in range(5_000)),
        "is damaged",
    ),
}

ZIP_ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent": (lambda: zipped(("ok", CLIP), ("../evil", CLIP)), "leads out"),
    "absolute": (lambda: zipped(("/evil", CLIP)), "has no relative name"),
    "drive": (lambda: zipped(("c:evil", CLIP)), "has no relative name"),
    "nul": (lambda: zipped(("nXl.mp4", CLIP)).replace(b"nXl.mp4", b"n\0l.mp4"), "has control characters"),
    "symbolic link": (lambda: zipped(("l", b"../outside"), mode=stat.S_IFLNK | 0o777), "is a symbolic link"),
    "device": (lambda: zipped(("d", b""), mode=stat.S_IFCHR | 0o666), "is not a regular file"),
    "duplicate": (lambda: zipped(("./a", CLIP), ("a", CLIP)), "has the path of another member"),
    "encrypted": (lambda: _flagged(zipped(("a", CLIP))), "is encrypted"),
}


def _flagged(content: bytes) -> bytes:
    directory = content.index(b"PK\x01\x02")
    return content[: directory + 8] + b"\x01" + content[directory + 9 :]


ATTACKS = {f"tar: {name}": attack for name, attack in TAR_ATTACKS.items()}
for _name, (_make, _text) in TAR_ATTACKS.items():
    ATTACKS[f"gz: {_name}"] = (lambda make=_make: gzip.compress(make(), 1), _text)  # type: ignore[misc]
ATTACKS |= {f"zip: {name}": attack for name, attack in ZIP_ATTACKS.items()}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_nothing_lands_anywhere(
    put: Callable[[bytes], Path], tmp_path: Path, name: str
) -> None:
    make, text = ATTACKS[name]
    folder = tmp_path / "root/train"
    folder.parent.mkdir()
    archive = put(make())
    with pytest.raises(TdpnError, match=text) as caught:
        extract(archive, folder, limits=ArchiveLimits(max_ratio=1e9))
    assert caught.value.where == archive
    assert set(tmp_path.rglob("*")) == {folder.parent, archive}


BOMBS: dict[str, tuple[Callable[[], bytes], ArchiveLimits, str]] = {
    "zip of zeros": (
        lambda: zipped(("z", bytes(10 << 20)), method=zipfile.ZIP_DEFLATED),
        ArchiveLimits(),
        "more than 100 bytes for each of its own",
    ),
    "tar of zeros": (
        lambda: gzip.compress(Tar().add("z", bytes(10 << 20)).bytes()),
        ArchiveLimits(),
        "more than 100 bytes for each of its own",
    ),
    "many members": (
        lambda: b"".join(Tar().add(str(number), b"").bytes()[:512] for number in range(2_000)) + bytes(1024),
        ArchiveLimits(max_members=1_999),
        "more than 1999 members",
    ),
    "bytes": (
        lambda: Tar().add("a").add("b").bytes(),
        ArchiveLimits(max_bytes=9_999),
        "more than 10.0 kB",
    ),
    "padding": (
        lambda: gzip.compress(Tar().add("a").bytes() + bytes(40 << 20), 1),
        ArchiveLimits(max_ratio=1e9),
        "its padding has no end",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_stopped_and_what_had_landed_is_removed(
    put: Callable[[bytes], Path], tmp_path: Path, name: str
) -> None:
    make, limits, text = BOMBS[name]
    archive = put(make())
    with pytest.raises(TdpnError, match=text):
        extract(archive, tmp_path / "out", limits=limits)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", ["tar", "gz", "zip"])
def test_every_cut_and_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path, kind: str) -> None:
    """Plain tar has no checksum of contents: there a flip may change a clip, but never lose one."""
    make = {"tar": GOOD.bytes, "gz": lambda: gzip.compress(GOOD.bytes()), "zip": lambda: zipped(*NAMES.items())}[kind]
    whole = make()
    chance = random.Random(kind)
    archive, out = tmp_path / "archive", tmp_path / "out"
    for number in range(60):
        damaged = bytearray(whole)
        place = chance.randrange(len(whole))
        if number % 2:
            damaged = damaged[:place]
        else:
            damaged[place] ^= 1 << chance.randrange(8)
        archive.write_bytes(damaged)
        folder = out / str(number)
        try:
            extract(archive, folder)
        except TdpnError:
            assert not folder.exists()
            continue
        found = tree(folder)
        if kind == "tar":
            assert len(found) == len(NAMES)
        else:
            assert found == NAMES


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\x1f\x8b", b"PK\x03\x04", bytes(300)])
def test_extract_of_no_archive_says_so(put: Callable[[bytes], Path], tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TdpnError, match=r"part_0.tar.gz: is damaged, or not a tar, zip or rar archive: .*run again"):
        extract(put(content), tmp_path / "out")


def test_extract_onto_too_small_a_disk_is_refused_first(
    put: Callable[[bytes], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 6_000}))
    with pytest.raises(TdpnError, match=r"part_0.tar.gz: needs 10.0 kB more, but only 6.0 kB are free"):
        extract(put(zipped(("a", CLIP * 2), method=zipfile.ZIP_DEFLATED)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merge_moves_and_replaces_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    (source / "a/1").write_bytes(b"new")
    (source / "2").write_bytes(b"two")
    (target / "a").mkdir(parents=True)
    (target / "a/1").write_bytes(b"old")
    (target / "a/0").write_bytes(b"kept")
    assert merge(source, target) == 2
    assert tree(target) == {"a/0": b"kept", "a/1": b"new", "2": b"two"}
    assert not source.exists()


@pytest.mark.parametrize("where", ["train", "train/deep", "train/deep/clip.mp4"])
def test_merge_does_not_follow_a_link_of_the_target(tmp_path: Path, where: str) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    (source / "deep").mkdir(parents=True)
    (source / "deep/clip.mp4").write_bytes(CLIP)
    outside.mkdir()
    link = tmp_path / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(TdpnError, match=r"is a link or a file where a folder is needed|is in the way of one"):
        merge(source, tmp_path / "train")
    assert not list(outside.iterdir())
    assert (source / "deep/clip.mp4").exists()


def test_merge_onto_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/clip.mp4").write_bytes(CLIP)
    (tmp_path / "train").mkdir()
    (tmp_path / "own.mp4").write_bytes(b"own")
    (tmp_path / "train/clip.mp4").symlink_to(tmp_path / "own.mp4")
    with pytest.raises(TdpnError, match="is in the way of one; remove it"):
        merge(tmp_path / "source", tmp_path / "train")
    assert (tmp_path / "own.mp4").read_bytes() == b"own"
