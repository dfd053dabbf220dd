"""Rar archives (version 2.9) whose members are stored as they are, and programs that pretend to unpack rar."""

import stat
import struct
import sys
import textwrap
import zlib
from pathlib import Path

FILE = stat.S_IFREG | 0o644


def _block(kind: int, flags: int, body: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


def rar(*members: tuple[str, bytes], mode: int = FILE) -> bytes:
    """An archive of files; a name that ends in / is a folder."""
    made = b"Rar!\x1a\x07\x00" + _block(0x73, 0, bytes(6))
    for name, content in members:
        folder = name.endswith("/")
        encoded = name.rstrip("/").encode()
        head = struct.pack(
            "<IIBIIBBH", len(content), len(content), 3, zlib.crc32(content), 0x58000000, 20, 0x30, len(encoded)
        )
        attributes = struct.pack("<I", stat.S_IFDIR | 0o755 if folder else mode)
        made += _block(0x74, 0x80E0 if folder else 0x8000, head + attributes + encoded) + content
    return made + _block(0x7B, 0x4000, b"")


def pretend(folder: Path, name: str, last_words: str = "") -> Path:
    """A program that writes the stored members of the archive that is its last argument, then does `last_words`."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    code = f"""\
        #!{sys.executable}
        import sys, time
        sys.path[:0] = {sys.path!r}
        import rarfile
        with rarfile.RarFile(sys.argv[-1]) as archive:
            content = b"".join(archive.read(entry) for entry in archive.infolist() if entry.is_file())
        write = sys.stdout.buffer.write
    """
    program.write_text(textwrap.dedent(code) + (last_words or "write(content)") + "\n")
    program.chmod(0o755)
    return program
