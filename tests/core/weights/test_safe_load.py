"""Files of weights from anywhere: what is read, and what is refused before it can do anything."""

import argparse
import collections
import datetime
import io
import os
import pickle
import struct
import sys
import tarfile
import types
import warnings
import zipfile
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tdpn_core
from tdpn_core.errors import CheckpointError
from tdpn_core.training.checkpoints import initialise
from tdpn_core.weights.convert import unwrapped
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.safe_load import read_weights

STATE = {"conv1.weight": torch.arange(12.0).view(4, 3, 1, 1), "bn1.num_batches_tracked": torch.tensor(3)}


class Payload:
    """Code that leaves a file behind when it is run."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code from the file was run"


def saved(path, value, **options):
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("name", ["a.pth", "a.pyth", "a.pt", "a.safetensors", "weights"])
@pytest.mark.parametrize("older", [False, True])
def test_torchs_two_formats_are_read_whatever_the_name(tmp_path, name, older):
    contents = read_weights(saved(tmp_path / name, STATE, _use_new_zipfile_serialization=not older))
    assert torch.equal(contents.tensors["conv1.weight"], STATE["conv1.weight"])
    assert contents.tensors["bn1.num_batches_tracked"] == 3
    assert contents.left_out == {}


def test_safetensors_are_read_whatever_the_name(tmp_path):
    save_file(STATE, tmp_path / "a.pth", metadata={"format": "pt"})
    contents = read_weights(tmp_path / "a.pth")
    assert torch.equal(contents.tensors["conv1.weight"], STATE["conv1.weight"])
    assert contents.meta == {"format": "pt"}


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state", "model", "anything"])
def test_the_state_is_found_under_its_wrapper_and_the_rest_is_named(tmp_path, wrapper):
    optimiser = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    file = {"epoch": 7, "meta": {"CLASSES": ["a", "b"]}, wrapper: STATE, "optimizer": optimiser}
    contents = read_weights(saved(tmp_path / "a.pth", file))
    assert set(contents.tensors) == set(STATE)
    assert set(contents.left_out) == {"epoch", "meta", "optimizer"}
    assert contents.meta["meta"] == {"CLASSES": ["a", "b"]}
    assert contents.meta["epoch"] == 7


def test_parameters_and_ordered_dictionaries_with_metadata_are_read(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    contents = read_weights(saved(tmp_path / "a.pth", module.state_dict(keep_vars=True)))
    assert set(contents.tensors) == set(module.state_dict())
    assert not contents.tensors["0.weight"].requires_grad


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path, kind):
    contents = read_weights(saved(tmp_path / "a.pth", {"w": torch.tensor([0.5, -2.0], dtype=kind)}))
    assert contents.tensors["w"].dtype == torch.float32
    assert contents.tensors["w"].tolist() == [0.5, -2.0]


def test_the_scores_and_options_that_scripts_save_are_no_hindrance(tmp_path):
    file = {
        "state_dict": STATE,
        "best_prec1": np.float64(51.5),
        "best": np.float32(0.5),
        "args": argparse.Namespace(lr=0.1),
    }
    contents = read_weights(saved(tmp_path / "a.pth.tar", file))
    assert set(contents.left_out) == {"best_prec1", "best", "args"}


def test_entries_that_are_no_tensors_are_named(tmp_path):
    contents = read_weights(saved(tmp_path / "a.pth", {**STATE, "version": 3}))
    assert contents.left_out == {"version": "not a tensor"}


# files as training programs leave them


@pytest.fixture
def elsewhere(monkeypatch):
    """A class of a program that no longer exists when the file is read."""

    def make(module, name, bases=(object,), **members):
        kind = type(name, bases, {"__module__": module, **members})
        parts = module.split(".")
        for number in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:number]), types.ModuleType(".".join(parts[:number])))
        setattr(sys.modules[module], name, kind)
        return kind

    return make


def forget(*modules):
    for module in modules:
        for name in [name for name in sys.modules if name.split(".")[0] == module]:
            del sys.modules[name]


BESIDE = {
    "rng_state": torch.zeros(5056, dtype=torch.uint8),
    "best_acc1": torch.tensor(51.5),
    "class_weights": torch.ones(10),
}


@pytest.mark.parametrize("beside", [*BESIDE, "all"])
def test_tensors_beside_the_state_do_not_become_the_weights(tmp_path, beside):
    more = BESIDE if beside == "all" else {beside: BESIDE[beside]}
    contents = read_weights(saved(tmp_path / "a.pth", {**more, "state_dict": STATE}))
    assert set(contents.tensors) == set(STATE)
    assert set(contents.left_out) == set(more)


@pytest.mark.parametrize(
    "places", [("model", "state_dict"), ("model", "model_state"), ("checkpoint", "net"), ("a", "b", "c")]
)
def test_a_state_deep_in_a_file_is_found(tmp_path, places):
    file = STATE
    for place in reversed(places):
        file = {place: file, "epoch": 3}
    assert set(read_weights(saved(tmp_path / "a.pth", file)).tensors) == set(STATE)


@pytest.mark.parametrize(
    "value",
    [
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
        Path("/data/kinetics"),
        PureWindowsPath("data"),
        datetime.datetime(2024, 5, 6),
        datetime.timedelta(seconds=3),
        torch.Size((2, 3)),
        torch.float16,
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), np.float16)),
        np.array(["a", "b"]),
        np.array([{"a": 1}], dtype=object),
        np.random.default_rng(0).bytes(4),
        np.random.RandomState(0).get_state(),
        *(np.dtype(kind).type(1) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")),
        np.complex128(1j),
        np.str_("text"),
        {1, 2},
    ],
    ids=repr,
)
@pytest.mark.parametrize("older", [False, True])
def test_plain_values_of_any_kind_are_no_hindrance(tmp_path, value, older):
    file = {"state_dict": STATE, "notes": {"value": value}}
    contents = read_weights(saved(tmp_path / "a.pth", file, _use_new_zipfile_serialization=not older))
    assert set(contents.tensors) == set(STATE)
    assert set(contents.left_out) == {"notes"}


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "mmengine.config.config.ConfigDict",
        "yacs.config.CfgNode",
        "easydict.EasyDict",
    ],
)
def test_dictionaries_of_other_programs_are_read_as_dictionaries(tmp_path, elsewhere, name):
    module, _, kind = name.rpartition(".")
    made = elsewhere(module, kind, (dict,))(lr=0.1)
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "hyper_parameters": made})
    forget(module.split(".")[0])
    assert read_weights(path).meta["hyper_parameters"] == {"lr": 0.1}


def test_mmengines_history_is_read_as_its_fields(tmp_path, elsewhere):
    history = elsewhere("mmengine.logging.history_buffer", "HistoryBuffer", mean=lambda self: 0)
    history.mean.__qualname__, history.mean.__module__ = "HistoryBuffer.mean", history.__module__
    buffer = history()
    buffer.__dict__ |= {"_log_history": np.arange(3.0), "_max_length": 9, "statistics_methods": {"mean": history.mean}}
    hub = {"log_scalars": {"train/loss": buffer}, "runtime_info": {"iter": 3}}
    path = saved(tmp_path / "a.pth", {"meta": {"epoch": 1}, "state_dict": STATE, "message_hub": hub})
    forget("mmengine")
    contents = read_weights(path)
    assert set(contents.tensors) == set(STATE)
    assert contents.meta["message_hub"]["log_scalars"]["train/loss"]["_max_length"] == 9


def test_a_state_of_numpy_arrays_is_read(tmp_path):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    contents = read_weights(saved(tmp_path / "a.pth", {"state_dict": arrays}))
    assert torch.equal(contents.tensors["conv1.weight"], STATE["conv1.weight"])


AVERAGED = {name: value + 1 for name, value in STATE.items()}


@pytest.mark.parametrize("ema", [None, True, False])
@pytest.mark.parametrize(
    ("raw", "averaged"), [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model_state", "ema")]
)
def test_averaged_weights_are_the_default_of_programs_that_keep_both(tmp_path, raw, averaged, ema):
    file = {raw: STATE, averaged: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in AVERAGED.items()}}}
    contents = read_weights(saved(tmp_path / "a.pth", file), ema=ema)
    if ema is False:
        assert torch.equal(contents.tensors["conv1.weight"], STATE["conv1.weight"])
        assert contents.notes == ("uses the raw weights; the file also has averaged (EMA) ones",)
    else:
        assert torch.equal(contents.tensors["module.conv1.weight"], AVERAGED["conv1.weight"])
        assert contents.notes == ("uses the averaged (EMA) weights; the file also has raw ones",)


@pytest.mark.parametrize("ema", [None, True, False])
def test_mmengine_saves_the_averaged_weights_as_its_state_and_the_raw_ones_as_ema(tmp_path, ema):
    raw = {"steps": torch.tensor(9), **{f"module.{name}": value for name, value in STATE.items()}}
    contents = read_weights(saved(tmp_path / "a.pth", {"state_dict": AVERAGED, "ema_state_dict": raw}), ema=ema)
    (value,) = (value for name, value in contents.tensors.items() if name.endswith("conv1.weight"))
    assert torch.equal(value, STATE["conv1.weight"] if ema is False else AVERAGED["conv1.weight"])
    assert "steps" not in contents.tensors


@pytest.mark.parametrize("ema", [None, True, False])
def test_mmcv_evaluates_the_plain_entries_and_keeps_others_beside_them(tmp_path, ema):
    file = {"state_dict": {**STATE, "ema_conv1_weight": AVERAGED["conv1.weight"]}}
    contents = read_weights(saved(tmp_path / "a.pth", file), ema=ema)
    assert set(contents.tensors) == set(STATE)
    assert torch.equal(contents.tensors["conv1.weight"], (AVERAGED if ema else STATE)["conv1.weight"])
    assert contents.left_out == {"ema_conv1_weight": "mmcv's other set of weights"}


def test_only_averaged_weights_are_the_weights(tmp_path):
    contents = read_weights(saved(tmp_path / "a.pth", {"ema_state_dict": STATE, "epoch": 3}))
    assert set(contents.tensors) == set(STATE)


@pytest.mark.parametrize("beside", ["criterion.weight", "loss_fn.weight", "n_averaged", "val_acc.tp"])
def test_what_training_keeps_among_the_weights_is_left_out_so_that_their_prefix_is_seen(tmp_path, beside):
    state = {**{f"module.{name}": value for name, value in STATE.items()}, beside: torch.ones(3)[:1]}
    contents = read_weights(saved(tmp_path / "a.pth", {"state_dict": state}))
    assert contents.left_out == {beside: "training state, not a network weight"}
    assert set(unwrapped(contents.tensors)) == set(STATE)


def test_a_real_torchscript_archive_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "a.pt"))
    with pytest.raises(CheckpointError, match=r"a TorchScript archive, which is a program.*state_dict\(\)"):
        read_weights(tmp_path / "a.pt")


# attacks and damage


@pytest.mark.parametrize("name", ["evil.pth", "evil.safetensors"])
def test_a_pickle_is_refused_under_any_name(tmp_path, marker, name):
    (tmp_path / name).write_bytes(pickle.dumps({"state_dict": STATE, "x": Payload(marker)}, protocol=2))
    with pytest.raises(CheckpointError, match=r"evil.*(never run|not readable|refused)"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", ["evil.pt", "evil.safetensors"])
def test_a_torch_file_with_a_payload_is_refused(tmp_path, marker, older, name):
    path = saved(tmp_path / name, {"state_dict": STATE, "x": Payload(marker)}, _use_new_zipfile_serialization=not older)
    with pytest.raises(CheckpointError, match=r"needs \w+\.mkdir, but code.*save the state_dict\(\) alone"):
        read_weights(path)


def test_a_pickled_network_is_refused_by_its_class(tmp_path):
    path = saved(tmp_path / "whole.pth", torch.nn.Conv2d(3, 4, 1))
    with pytest.raises(CheckpointError, match=r"needs torch\.nn\.modules\.conv\.Conv2d"):
        read_weights(path)


def test_a_class_of_an_absent_program_is_refused_by_its_name(tmp_path, monkeypatch):
    module = types.ModuleType("mmengine_history")
    module.HistoryBuffer = type("HistoryBuffer", (), {"__module__": "mmengine_history"})
    monkeypatch.setitem(sys.modules, "mmengine_history", module)
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "message_hub": module.HistoryBuffer()})
    monkeypatch.delitem(sys.modules, "mmengine_history")
    with pytest.raises(CheckpointError, match=r"needs mmengine_history\.HistoryBuffer, but code"):
        read_weights(path)


def test_the_tar_format_of_old_is_refused(tmp_path, marker):
    path = tmp_path / "old.pth"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("pickle", "tensors", "storages"):
            content = pickle.dumps(Payload(marker), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(CheckpointError, match="tar format of before 2017"):
        read_weights(path)


def test_a_torchscript_program_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", STATE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/constants.pkl", pickle.dumps(()))
    with pytest.raises(CheckpointError, match="TorchScript archive, which is a program"):
        read_weights(path)


def test_an_enormous_header_is_not_parsed(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_000) + b'{"')
        file.truncate(8 + 100_000_000)
    with pytest.raises(CheckpointError, match="header has 100 MB"):
        read_weights(path)


@pytest.mark.parametrize("offsets", [[0, 16], [8, 24], [-8, 8]])
def test_overlapping_and_outlying_offsets_are_refused(tmp_path, offsets):
    second = f'{{"dtype":"F32","shape":[4],"data_offsets":[{offsets[0]},{offsets[1]}]}}'
    header = f'{{"a":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}},"b":{second}}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(32))
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_weights(path)


def test_a_compressed_archive_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="compressed archive"):
        read_weights(path)


def test_a_tensor_that_claims_more_than_its_storage_is_refused(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1).expand(1_000_000, 1_000)})
    with pytest.raises(CheckpointError, match="w claims more values than the file holds"):
        read_weights(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("older", [False, True])
def test_a_cut_file_is_refused(tmp_path, share, older):
    path = saved(tmp_path / "a.pth", {"w": torch.randn(1000)}, _use_new_zipfile_serialization=not older)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"a\.pth: .*download it again"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither PyTorch's format nor safetensors"),
        (b"<html>not found</html>" * 40, "neither PyTorch's format nor safetensors"),
        (struct.pack("<Q", 5000) + b"{" + bytes(100), "neither PyTorch's format nor safetensors, or truncated"),
        (struct.pack("<Q", 100) + b"{" + bytes(200), "not a readable safetensors file"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(1)], "holds a list, not a dictionary of tensors"),
        ({"epoch": 3, "arch": "r50"}, "under a known name, only epoch, arch"),
        ({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, "under a known name, only a, b"),
        ({"w": torch.tensor([1.0, float("nan")])}, "w contains non-finite values"),
        ({"w": torch.ones(2, 2).to_sparse()}, "w is not a plain tensor"),
    ],
)
def test_contents_without_usable_tensors_are_refused(tmp_path, value, message):
    with pytest.raises(CheckpointError, match=message):
        read_weights(saved(tmp_path / "a.pth", value))


def test_a_missing_file_is_named():
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such checkpoint"):
        read_weights(Path("nowhere.pth"))


@pytest.mark.parametrize("entry", ["load_model", "init", "checkpoint"])
def test_no_way_into_the_product_runs_a_files_code(tmp_path, marker, entry):
    path = saved(tmp_path / "evil.pth", {"state_dict": STATE, "x": Payload(marker)})
    ways = {
        "load_model": tdpn_core.load_model,
        "init": lambda path: initialise(torch.nn.Identity(), path),
        "checkpoint": open_checkpoint,
    }
    with pytest.raises(CheckpointError, match="code from a file of weights is never run"):
        ways[entry](path)
