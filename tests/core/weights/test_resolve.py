"""What a user names as a network resolves to its file, or is an error with the nearest names."""

from pathlib import Path

import pytest

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.resolve import find_weights, split_weights


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, one without a best checkpoint yet, clips, and a checkpoint of another project."""
    names = ["runs/yoga/best.pt", "runs/yoga-2/best.pt", "early/last.pt", "clip.mp4", "clips/a.mp4", "w.pth.tar"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("runs/yoga", "runs/yoga/best.pt"),
        ("yoga", "runs/yoga/best.pt"),
        ("runs/yoga/best.pt", "runs/yoga/best.pt"),
        ("w.pth.tar", "w.pth.tar"),
    ],
)
def test_a_network_named_first_is_split_from_the_clips(first: str, expected: str) -> None:
    assert split_weights([first, "clip.mp4"]) == (Path(expected), ["clip.mp4"])


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("first", ["clip.mp4", "clips", "gone.mp4", "f/%05d.jpg", "*.mkv", "https://h/a", "f/01.png"])
def test_a_clip_named_first_stays_a_clip(first: str) -> None:
    assert split_weights([first]) == (None, [first])


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("runs/yoha", r"runs/yoha: no such checkpoint or run; did you mean runs/yoga"),
        ("besst.pt", r"besst.pt: no such checkpoint or run; did you mean runs/yoga"),
        ("zzzz", r"zzzz: no such checkpoint or run; runs here: runs/yoga, runs/yoga-2"),
        ("runs", r"runs: a folder of several runs; name one: runs/yoga, runs/yoga-2"),
        ("early", r"early: this run has no best.pt yet; name early/last.pt to use its last state"),
    ],
)
def test_a_name_without_weights_is_an_error_with_the_nearest_names(named: str, message: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        split_weights([named, "clip.mp4"])
    assert str(raised.value).startswith(message)
    with pytest.raises(CheckpointError):
        find_weights(Path(named))
