"""Miniatures of data sets' trees: empty files and the annotation files' real forms."""

from pathlib import Path

from tdpn_core.datasets import Dataset


def plant(root: Path, *names: str) -> Path:
    """Empty files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def write(root: Path, name: str, text: str) -> Path:
    """A text file, its line ends as given."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def frames(root: Path, folder: str, pattern: str = "%05d.jpg", first: int = 1, count: int = 3) -> None:
    """A folder of empty pictures."""
    plant(root, *(f"{folder}/{pattern % number}" for number in range(first, first + count)))


def labels(dataset: Dataset, head: str = "action") -> dict[str, tuple[str, str | None]]:
    """(split, class name) by clip."""
    names = dataset.classes[head]
    clips = dataset.clips
    return {
        clip: (split, names[label] if label >= 0 else None)
        for clip, split, label in zip(clips["id"], clips["split"], clips[f"label_{head}"], strict=True)
    }


def columns(dataset: Dataset, *names: str) -> dict[str, tuple[object, ...]]:
    """The named columns by clip."""
    return {
        clip: tuple(values)
        for clip, *values in zip(dataset.clips["id"], *(dataset.clips[name] for name in names), strict=True)
    }
