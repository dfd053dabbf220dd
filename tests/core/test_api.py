"""Functions of the public API that do what a command does, called from Python."""

from pathlib import Path

import pytest

import tdpn_core
from tdpn_core import DatasetOptions, Overview, TdpnError, understand
from tdpn_core.errors import UsageError


@pytest.fixture
def unread(tmp_path: Path) -> Path:
    """A folder of two classes; nothing in it can be decoded."""
    for split, name in (("train", "a"), ("train", "b"), ("val", "a"), ("val", "b")):
        clip = tmp_path / "videos" / split / name / f"{split}.mp4"
        clip.parent.mkdir(parents=True)
        clip.write_text(f"{split} {name}")
    return tmp_path / "videos"


def test_understand_counts_clips_without_decoding_them(unread: Path) -> None:
    seen = understand("folder", unread)
    assert seen.per_class == {"a": {"train": 1, "val": 1}, "b": {"train": 1, "val": 1}}
    assert understand("auto", unread, options=DatasetOptions()).dataset == "folder"


def test_prepare_stops_where_its_check_raises_and_packs_nothing(unread: Path, tmp_path: Path) -> None:
    shown: list[Overview] = []

    def refuse(seen: Overview) -> None:
        shown.append(seen)
        raise TdpnError("not these")

    with pytest.raises(TdpnError, match="not these"):
        tdpn_core.prepare("folder", unread, tmp_path / "out", check=refuse)
    assert [seen.dataset for seen in shown] == ["folder"]
    assert not (tmp_path / "out").exists()


def test_inspect_data_reads_a_prepared_data_set_and_draws_its_clips(prepared: Path, tmp_path: Path) -> None:
    found = tdpn_core.inspect_data(prepared, verify=True)
    assert found.error() is None
    assert found.verified
    assert found.faults == []
    shown = tdpn_core.draw_clips(found, tmp_path / "clips.png")
    assert len(shown) > 2
    assert (tmp_path / "clips.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_data_of_a_damaged_shard_has_the_error_that_the_command_ends_with(
    prepared: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "data"
    copied.mkdir()
    for path in (one for one in prepared.rglob("*") if one.is_file()):
        (copied / path.relative_to(prepared)).parent.mkdir(parents=True, exist_ok=True)
        (copied / path.relative_to(prepared)).write_bytes(path.read_bytes())
    shard = min(copied.glob("train-*.h5"))
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    assert tdpn_core.inspect_data(copied).error() is None, "only sizes and heads are compared"
    error = tdpn_core.inspect_data(copied, verify=True).error()
    assert error is not None
    assert "1 of" in error.what
    assert "shards are bad" in error.what


@pytest.mark.parametrize(("names", "message"), [([], "no checkpoint is named"), (["nonesuch"], "nonesuch")])
def test_fetch_weights_of_no_or_an_unknown_checkpoint_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(TdpnError, match=message):
        tdpn_core.fetch_weights(names)


def test_bench_models_traces_one_model_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a trace is of one model"):
        tdpn_core.bench_models("infer", ["tdpn", "tsn"], profile=tmp_path / "trace.json")
