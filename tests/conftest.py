"""Fixtures for every test."""

import os
import signal
from pathlib import Path

import pytest
import torch

os.environ["COLUMNS"] = "100"  # the commands' consoles keep the width of when they were first imported
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of what a shell starts in the background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # networks this small are slower on several, much slower beside other work


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="ten times what tests of faults do at random")


@pytest.fixture(scope="session")
def repetitions(request: pytest.FixtureRequest) -> int:
    """How often a test of faults does what it does a random part of: 1, or 10 with --long."""
    return 10 if request.config.getoption("--long") else 1


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fixtures beside the checkout; a test that needs it is skipped by name where it is not there."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the fixtures of {folder.name}/ beside the checkout")
    return folder


@pytest.fixture(scope="session")
def hard() -> Path:
    """Small inputs that once went wrong, with the right values in their README."""
    return Path(__file__).parent / "fixtures" / "hard"


@pytest.fixture(scope="session")
def parity_files() -> Path:
    """Names, shapes and outputs of reference implementations, with the rule that makes their weights again."""
    return Path(__file__).parent / "fixtures" / "parity"


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real MP4 files: 8 classes of motion, 3 training clips and 1 validation clip each."""
    from tdpn_core.demo.render import render_dataset

    folder = tmp_path_factory.mktemp("videos")
    render_dataset(folder, train_per_class=3, val_per_class=1, seed=0)
    return folder


@pytest.fixture(scope="session")
def prepared(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`videos`, prepared."""
    from tdpn_core.prep import PrepConfig
    from tdpn_core.prep.prepare import prepare
    from tdpn_core.video.encode_options import Encoding

    folder = tmp_path_factory.mktemp("data") / "folder"
    prepare("folder", videos, folder, settings=PrepConfig(encoding=Encoding(short_side=40)))
    return folder


@pytest.fixture(scope="session")
def tiny() -> dict[str, str]:
    """Settings of the smallest network, for tests that train: by name, as `--set` takes them."""
    return {
        "model.arch": "r18",
        "model.width": "0.125",
        "model.num_frames": "2",
        "model.input_size": "32",
        "sampling.short_side": "36",
        "train.batch_size": "8",
        "train.epochs": "2",
    }
