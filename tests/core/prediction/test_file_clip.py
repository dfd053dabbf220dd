"""A file is the clip that preparation makes of it, to the last bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import ClipError
from tdpn_core.prep import PrepConfig
from tdpn_core.prep.prepare import prepare
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore
from tdpn_core.shards.file_clip import open_clip
from tdpn_core.training.launch import data_config
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(short_side=40),
        Encoding(short_side=200, enlarge=True, quality=7, fps=12.0),
        Encoding(short_side=64, codec="video"),
        Encoding(short_side=40, modality="flow", flow_method="dis"),
    ],
    ids=["jpeg", "enlarged", "video", "flow"],
)
def test_every_frame_of_every_packing_is_the_stored_one(
    encoding: Encoding, videos: Path, program: Program, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for number, path in enumerate(sorted((videos / "val").rglob("*.mp4"))[:2]):
        (root / f"class {number}").mkdir(parents=True)
        (root / f"class {number}" / path.name).symlink_to(path)
    prepare("folder", root, tmp_path / "data", settings=PrepConfig(encoding=encoding))
    data = data_config(tmp_path / "data")
    for split in ("train", "val"):
        try:
            store = ClipStore(tmp_path / "data", split)
        except Exception:
            continue
        for index in range(len(store)):
            frames = list(range(int(store.counts[index])))
            with open_clip(Source(root / store.source(index)), data, program, name="x") as clip:
                assert (int(clip.counts[0]), clip.size(0)) == (len(frames), store.size(index))
                assert np.array_equal(clip.decode(0, frames), store.decode(index, frames))


def test_the_views_of_a_file_are_the_views_of_its_prepared_clip(
    prepared: Path, videos: Path, config: RunConfig, program: Program
) -> None:
    store = ClipStore(prepared, "val")
    sampling = replace(config.sampling, views="2x3")
    for index in range(3):
        stored = ViewClips(store, config.model, sampling)[index].clip
        with open_clip(Source(videos / store.source(index)), config.data, program, name="x") as clip:
            assert ViewClips(clip, config.model, sampling)[0].clip.equal(stored)


def test_an_error_bears_the_name_that_the_user_gave(config: RunConfig, program: Program, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"not a video")
    opened = open_clip(Source(tmp_path / "x.mp4"), config.data, program, name="https://somewhere/x.mp4")
    with pytest.raises(ClipError, match=r"^https://somewhere/x.mp4: not a video"), opened:
        pass
