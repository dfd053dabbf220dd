"""The checksum that the publisher of a file states: an algorithm and digits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

Algorithm = Literal["sha256", "sha1", "md5"]


@dataclass(frozen=True)
class Checksum:
    """A checksum in hexadecimal, or its first digits."""

    algorithm: Algorithm
    digits: str

    def matches(self, digest: str) -> bool:
        """Whether `digest` begins with these digits, in whatever case."""
        return digest.lower().startswith(self.digits.lower())

    def of(self, path: Path) -> str:
        """The digest of a file by this algorithm, in lower case."""
        # SHA-1 and MD5 guard against damage, not against forgery: they are all that some owners publish
        with path.open("rb") as source:
            return hashlib.file_digest(source, partial(hashlib.new, self.algorithm, usedforsecurity=False)).hexdigest()

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digits}"
