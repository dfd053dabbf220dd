"""Another project's checkpoint is exported like one of ours, under the names of its classes."""

import pytest
import torch

from tdpn_core.distributed.runtime import set_up
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.exporting import ExportOptions
from tdpn_core.exporting.export import export
from tdpn_core.prediction import PredictOptions
from tdpn_core.prediction.predict import predict
from tdpn_core.shards import load_manifest


@pytest.fixture(scope="module")
def names(prepared):
    return load_manifest(prepared).classes["action"]


@pytest.fixture(scope="module")
def foreign(parity, names, tmp_path_factory):
    """torchvision's ResNet-18 with as many classes as the prepared clips have, and a file that names them."""
    known = parity("torchvision_resnet18").state
    state = known | {name: known[name][: len(names)] for name in ("fc.weight", "fc.bias")}
    folder = tmp_path_factory.mktemp("foreign")
    torch.save(state, folder / "r18.pth")
    (folder / "names.txt").write_text("\n".join(names[::-1]) + "\n")
    return folder / "r18.pth", folder / "names.txt"


def test_its_file_predicts_what_it_predicts(foreign, prepared, videos, names, tmp_path):
    checkpoint, listed = foreign
    options = ExportOptions(data=prepared, classes=listed, compared=2)
    report = export(checkpoint, tmp_path / "r18.onnx", options=options)
    assert report.check.difference < 1e-5
    assert report.description["labels"] == {"action": names[::-1]}
    clip = sorted((videos / "val").rglob("*.mp4"))[0]
    answers = [
        next(predict([clip], checkpoint=path, runtime=set_up(0), options=PredictOptions(topk=8, classes=given)))
        for path, given in ((checkpoint, listed), (report.path, None))
    ]
    own, file = (dict(answer.heads["action"]) for answer in answers)
    assert set(own) == set(names)
    assert max(own.values()) - min(own.values()) > 0.01
    assert file == pytest.approx(own, abs=1e-5)


def test_labels_are_matched_by_name(foreign, prepared, names, tmp_path, monkeypatch):
    """Where the network numbers classes the other way round, a clip's label is the place of its name there."""
    checkpoint, listed = foreign
    seen = []

    def watched(run, clips, expected):
        seen.extend(clips)
        raise StopIteration

    monkeypatch.setattr("tdpn_core.exporting.export.compare", watched)
    options = ExportOptions(data=prepared, classes=listed, compared=8, format="pt2")
    with pytest.raises(StopIteration):
        export(checkpoint, tmp_path / "r18.pt2", options=options)
    assert len(seen) == 8
    for clip in seen:
        (label,) = clip.classes["action"]
        assert names[::-1][label] == clip.name.split("/")[-2]


def test_what_its_file_does_not_tell_is_asked_for(foreign, tmp_path):
    checkpoint, listed = foreign
    with pytest.raises(CheckpointError, match=r"does not name its 8 classes; give --classes FILE"):
        export(checkpoint, tmp_path / "r18.onnx")
    with pytest.raises(UsageError, match=r"no clip to compare with; give videos with --clips, or .* --data"):
        export(checkpoint, tmp_path / "r18.onnx", options=ExportOptions(classes=listed))
    assert not list(tmp_path.iterdir())
