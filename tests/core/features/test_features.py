"""Features of prepared clips, and the probe that is trained on them."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import UNKNOWN_VIEWS, RunConfig
from tdpn_core.errors import CheckpointError, ScoresError, UsageError
from tdpn_core.evaluation.inference import view_logits
from tdpn_core.features import FeatureOptions, extract_features, read_features
from tdpn_core.features.store import write_features
from tdpn_core.features.stretches import Stretches
from tdpn_core.files import digest_file
from tdpn_core.model.heads import pool
from tdpn_core.model_card import model_card
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.sampling.transforms import normalise
from tdpn_core.shards import ClipStore
from tdpn_core.training.probe import train_probe

QUICK = FeatureOptions(workers=0)


@pytest.fixture(scope="module")
def extracted(prepared: Path, fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    extract_features(prepared, checkpoint=fresh, out=folder, options=QUICK, gpus=0)
    return folder


@pytest.fixture(scope="module", params=["linear", "attentive"])
def probed(
    request: pytest.FixtureRequest,
    prepared: Path,
    extracted: Path,
    fresh_config: RunConfig,
    save_fresh: Callable[[RunConfig, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path, Path]:
    """The checkpoint of a probe, the features that it was trained on, and their checkpoint.

    The linear one is on the features of test views, the attentive one on segments of half a second.
    """
    folder = tmp_path_factory.mktemp("probe")
    features = extracted
    if request.param == "attentive":
        model = model_config(
            name="tsn", arch="r18", num_classes={"action": 8}, num_frames=3, input_size=32, width=0.125
        )
        network = save_fresh(dataclasses.replace(fresh_config, model=model), folder / "best.pt")
        features = folder / "features"
        options = dataclasses.replace(QUICK, stride=0.5)
        extract_features(prepared, checkpoint=network, out=features, options=options, gpus=0)
    run = folder / "run"
    best = train_probe(prepared, probe=request.param, features=features, out=run).best
    return best, features, Path(read_features(features / "train.safetensors").checkpoint)


def test_features_are_the_networks_own_of_every_clip(prepared: Path, fresh: Path, extracted: Path) -> None:
    found, clips = read_features(extracted / "train.safetensors"), ClipStore(prepared, "train")
    assert found.ids == clips.ids
    assert found.clip.tolist() == list(range(len(clips)))
    assert (found.start >= 0).all()
    assert (found.end > found.start).all()
    checkpoint = load_checkpoint(fresh)
    sampling = checkpoint.config.sampling
    views = ViewClips(clips, checkpoint.config.model, sampling)[5].clip
    with torch.inference_mode():
        top = checkpoint.build(torch.device("cpu")).feature_maps(normalise(views, sampling)).top
    assert np.allclose(found.values[5], top[0].mean((2, 3)).T, atol=1e-4)
    assert np.allclose(found.pooled()[5], top[0].mean((1, 2, 3)), atol=1e-4)


def test_stretches_have_a_row_a_stride_with_their_times(prepared: Path, fresh: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(QUICK, splits=("val",), stride=0.5, parquet=True)
    files = extract_features(prepared, checkpoint=fresh, out=tmp_path, options=options, gpus=0)
    found, clips = read_features(files["val"]), ClipStore(prepared, "val")
    for number in range(len(clips)):
        own, last = found.clip == number, float(clips.times(number)[-1])
        assert own.sum() == int(last / 0.5 + 1e-9) + 1
        assert (found.start[own] >= 0.5 * np.arange(own.sum()) - 1e-9).all()
        assert (found.end[own] <= last).all()
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(files["val"].with_suffix(".parquet"))
    assert table.column_names == ["id", "start", "end", "action", "feature"]
    assert np.allclose(table["feature"][3].as_py(), found.pooled()[3])


def test_interrupted_extraction_computes_the_rest_only(
    prepared: Path, fresh: Path, extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tdpn_core.features import extract

    monkeypatch.setattr(extract, "_SAVE_EVERY_SECONDS", 0.0)
    computed: list[int] = []
    own = extract._Job._computed

    def failing(job, model, items):
        if len(computed) >= 16:
            raise KeyboardInterrupt
        computed.extend(item.number for item in items)
        return own(job, model, items)

    monkeypatch.setattr(extract._Job, "_computed", failing)
    options = dataclasses.replace(QUICK, splits=("train",))
    with pytest.raises(KeyboardInterrupt):
        extract_features(prepared, checkpoint=fresh, out=tmp_path, options=options, gpus=0)
    assert not (tmp_path / "train.safetensors").exists()
    monkeypatch.setattr(extract._Job, "_computed", lambda job, model, items: own(job, model, _noted(computed, items)))
    extract_features(prepared, checkpoint=fresh, out=tmp_path, options=options, gpus=0)
    assert sorted(computed) == list(range(len(ClipStore(prepared, "train"))))
    whole, resumed = read_features(extracted / "train.safetensors"), read_features(tmp_path / "train.safetensors")
    assert np.array_equal(whole.values, resumed.values)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def _noted(computed, items):
    computed.extend(item.number for item in items)
    return items


def test_probe_computes_from_pixels_what_it_learned_from_features(
    prepared: Path, probed: tuple[Path, Path, Path]
) -> None:
    checkpoint, clips = load_checkpoint(probed[0]), ClipStore(prepared, "val")
    model, sampling = checkpoint.build(torch.device("cpu")), checkpoint.config.sampling
    known = read_features(probed[1] / "val.safetensors")
    rows = Stretches(clips, checkpoint.config.model, known.config.sampling, known.stride)
    views = torch.cat([rows[clip].clip for clip in range(4)])
    from_pixels = view_logits(model, views, sampling)["action"]
    steps = torch.from_numpy(known.values[: len(views)]).transpose(1, 2)
    assert torch.allclose(model.head(steps[..., None, None])["action"], from_pixels, atol=1e-2)
    assert from_pixels.std() > 1e-3


def test_probe_learns_and_is_evaluated_predicted_and_exported_like_any_network(
    probed: tuple[Path, Path, Path], videos: Path, tmp_path: Path
) -> None:
    best, features, _ = probed
    state = load_checkpoint(best).state
    assert state.history[0]["top1"] > 0.5  # 8 classes, 24 clips: better than guessing on what it has learned
    result = CliRunner().invoke(app, ["eval", str(best), "--gpus", "0", "--workers", "0", "--json"])
    assert result.exit_code == 0, result.output
    if read_features(features / "val.safetensors").stride is None:  # else the test views are near the rows, not equal
        assert json.loads(result.stdout)["heads"]["action"]["top1"] == pytest.approx(state.history[0]["val_top1"])
        return
    tdpn_core.export(best, out=tmp_path / "probe.pt2", options=tdpn_core.ExportOptions(format="pt2"))
    assert (tmp_path / "probe.pt2").is_file()
    words = ["predict", str(next(videos.rglob("*.mp4"))), "--checkpoint", str(best), "--gpus", "0", "--json"]
    predicted = CliRunner().invoke(app, words)
    assert len(json.loads(predicted.stdout)[0]["heads"]["action"]) == 5, predicted.output


def test_card_of_a_probe_states_the_views_of_its_features(probed: tuple[Path, Path, Path]) -> None:
    checkpoint = load_checkpoint(probed[0])
    views = checkpoint.config.validation_views
    assert (views is None) == (read_features(probed[1] / "train.safetensors").stride is not None)
    card = model_card(checkpoint, [], address="best.pt")
    assert f"| folder | val | {views or UNKNOWN_VIEWS} |" in card
    assert "The run's own validation chose nothing. `tdpn eval` measures" in card


def test_probe_of_segments_is_tested_on_views_of_their_length(prepared: Path, probed: tuple[Path, Path, Path]) -> None:
    sampling, known = load_checkpoint(probed[0]).config.sampling, read_features(probed[1] / "train.safetensors")
    if known.stride is None:
        assert sampling == known.config.sampling
        return
    clips = ClipStore(prepared, "train")
    span = np.median((known.end - known.start) * clips.fps[known.clip])
    assert (sampling.mode, sampling.interval) == ("dense", round(span / (known.config.model.num_frames - 1)))
    assert sampling.views == f"{round(len(known.clip) / len(clips))}x1"


def test_a_probe_says_whose_weights_it_has(probed: tuple[Path, Path, Path]) -> None:
    start = load_checkpoint(probed[0]).config.start
    assert (start.name, start.sha256) == (str(probed[2]), digest_file(probed[2]))
    card = (probed[0].parent / "best.md").read_text()
    assert start.sha256[:8] in card
    assert "random weights" not in card


def test_pooling_of_changes_is_the_mean_and_the_mean_absolute_difference() -> None:
    steps = torch.tensor([[[1.0, 3.0, 2.0], [0.0, 0.0, 6.0]]])
    assert pool(steps, "mean").tolist() == [[2.0, 2.0]]
    assert pool(steps, "change").tolist() == [[2.0, 2.0, 1.5, 3.0]]
    assert pool(steps[:, :, :1], "change").tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_faults_are_named(prepared: Path, fresh: Path, extracted: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no features of training clips; tdpn features DATA"):
        train_probe(prepared, out=tmp_path / "a")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    data = bytearray((extracted / "train.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "train.safetensors").write_bytes(data)
    with pytest.raises(ScoresError, match=r"damaged: its digest does not match .*extract the features again"):
        train_probe(prepared, features=damaged, out=tmp_path / "b")
    single = tmp_path / "single"
    known = read_features(extracted / "train.safetensors")
    write_features(single / "train.safetensors", dataclasses.replace(known, values=known.values[:, :1]))
    with pytest.raises(UsageError, match=r"these features have one time step, .*; use --probe linear"):
        train_probe(prepared, probe="attentive", features=single, out=tmp_path / "c")
    with pytest.raises(UsageError, match="--size: input size and number of frames of a tdpn checkpoint"):
        extract_features(prepared, checkpoint=fresh, options=dataclasses.replace(QUICK, size=64), gpus=0)
    with pytest.raises(UsageError, match="--stride: must be a positive number of seconds, not 0"):
        extract_features(prepared, checkpoint=fresh, options=dataclasses.replace(QUICK, stride=0.0), gpus=0)
    with pytest.raises(UsageError, match=r"no prepared data set here; add --archive features\.parquet for"):
        extract_features(tmp_path, checkpoint=fresh, options=QUICK, gpus=0)
    with pytest.raises(CheckpointError, match="no such checkpoint or run"):
        extract_features(prepared, checkpoint=Path("absent.pt"), gpus=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--probe", "cubic"], "'cubic' is not one of 'linear', 'attentive'"),
        (["--features", "x"], "add --probe linear or --probe attentive"),
        (["--probe", "linear", "--epochs", "3"], "train.epochs would change the network"),
    ],
)
def test_train_refuses_what_a_probe_does_not_take(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", *words])
    assert result.exit_code != 0
    assert message in str(result.exception) + result.output


def test_data_review_shows_the_doubted_training_clips_on_a_page(
    prepared: Path, extracted: Path, tmp_path: Path
) -> None:
    page = tmp_path / "review.html"
    words = ["data", str(prepared), "--features", str(extracted)]
    result = CliRunner().invoke(app, [*words, "--review", str(page)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(page.with_suffix(".csv").read_text().splitlines()))
    assert rows
    assert all(row["label"] != row["answer"] for row in rows)
    shares = [float(row["label_probability"]) for row in rows]
    assert shares == sorted(shares)
    assert page.read_text().count("<video controls") == len(rows)
    assert "is for doubted labels" in str(CliRunner().invoke(app, words).exception)
    assert "name a .html file" in str(CliRunner().invoke(app, [*words, "--review", "review"]).exception)
