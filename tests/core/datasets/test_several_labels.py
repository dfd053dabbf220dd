"""Lists and annotations in which a clip has several labels."""

import numpy as np
import pytest
from miniature import frames, plant, write

from tdpn_core.datasets import Dataset, DatasetOptions, read_dataset
from tdpn_core.datasets.background import BackgroundOptions
from tdpn_core.errors import DatasetError, UsageError
from tdpn_core.prep.overview import overview

SEVERAL = DatasetOptions(multilabel=True)


def names(dataset: Dataset) -> dict[str, list[str]]:
    return dict(zip(dataset.clips["id"], dataset.class_names("action"), strict=True))


def clips(root, *stems):
    return plant(root, *(f"{stem}.mp4" for stem in stems))


@pytest.mark.parametrize("separator", ["|", ";", " | "])
def test_fields_with_several_names_are_several_labels(tmp_path, separator):
    clips(tmp_path, *"abcd")
    rows = [f"a.mp4,walk{separator}wave", "b.mp4,walk", f"c.mp4,wave{separator}walk{separator}wave", "d.mp4,"]
    write(tmp_path, "train.csv", "\n".join(["path,labels", *rows]))
    dataset = read_dataset("list", tmp_path, options=SEVERAL)
    assert dataset.classes == {"action": ["walk", "wave"]}
    assert names(dataset) == {
        "a.mp4": ["walk", "wave"], "b.mp4": ["walk"], "c.mp4": ["walk", "wave"], "d.mp4": [],
    }  # fmt: skip
    assert dataset.understanding.classes == {"action": {"walk": 3, "wave": 2}}
    assert dataset.understanding.unlabelled == 0
    assert any("1 clip has no label (for example 'd.mp4')" in note for note in dataset.notes)


def test_fields_with_several_numbers_are_several_labels(tmp_path):
    clips(tmp_path, *"abc")
    write(tmp_path, "train.csv", "path,label\na.mp4,0;2\nb.mp4,1\nc.mp4,2\n")
    dataset = read_dataset("list", tmp_path, options=SEVERAL)
    assert names(dataset) == {"a.mp4": ["0", "2"], "b.mp4": ["1"], "c.mp4": ["2"]}


def test_lines_of_one_clip_are_joined(tmp_path):
    clips(tmp_path, "a", "b")
    write(tmp_path, "train.txt", "a.mp4 0\na.mp4 3\nb.mp4 1\na.mp4 0\n")
    assert names(read_dataset("list", tmp_path, options=SEVERAL)) == {"a.mp4": ["0", "3"], "b.mp4": ["1"]}
    with pytest.raises(DatasetError, match="twice with different labels") as error:
        read_dataset("list", tmp_path)
    assert "--multilabel" in str(error.value.hint)


def test_frame_list_has_the_labels_of_all_its_frames(tmp_path):
    frames(tmp_path, "A", "A-%06d.jpg", count=3)
    frames(tmp_path, "B", "B-%06d.jpg", count=2)
    rows = ['A 0 0 A/A-000001.jpg ""', 'A 0 1 A/A-000002.jpg "4,1"', 'A 0 2 A/A-000003.jpg "1,2"',
            'B 1 0 B/B-000001.jpg "3"', 'B 1 1 B/B-000002.jpg ""']  # fmt: skip
    write(tmp_path, "train.csv", "\n".join(["original_vido_id video_id frame_id path labels", *rows]))
    assert names(read_dataset("list", tmp_path, options=SEVERAL)) == {"A": ["1", "2", "4"], "B": ["3"]}
    with pytest.raises(DatasetError, match="several labels") as error:
        read_dataset("list", tmp_path)
    assert "--multilabel" in str(error.value.hint)


def test_split_without_any_label_is_unlabelled(tmp_path):
    clips(tmp_path, *"abcd")
    write(tmp_path, "list.csv", "path,labels,split\na.mp4,x|y,train\nb.mp4,,train\nc.mp4,,test\nd.mp4,,test\n")
    dataset = read_dataset("list", tmp_path, options=SEVERAL)
    labels = dict(zip(dataset.clips["id"], dataset.labels("action").tolist(), strict=True))
    assert labels == {"a.mp4": [1, 1], "b.mp4": [0, 0], "c.mp4": [-1, -1], "d.mp4": [-1, -1]}
    assert dataset.understanding.unlabelled == 2


def test_class_that_looks_like_several_labels_is_pointed_out(tmp_path):
    clips(tmp_path, *"abc")
    write(tmp_path, "train.csv", "path,label\na.mp4,walk|wave\nb.mp4,walk\nc.mp4,wave\n")
    dataset = read_dataset("list", tmp_path)
    assert dataset.classes == {"action": ["walk", "walk|wave", "wave"]}
    assert any("1 class is made of the names of others" in note and "--multilabel" in note for note in dataset.notes)


def test_numbers_in_one_field_are_left_out_with_what_reads_them(tmp_path):
    clips(tmp_path, *"abcdef")
    rows = [*(f"{one}.mp4,1" for one in "abcdefg"), "h.mp4,0;1", "i.mp4,dog"]
    clips(tmp_path, *"ghi")
    write(tmp_path, "train.csv", "\n".join(["path,label", *rows]))
    several, word = read_dataset("list", tmp_path).reading.odd_lines
    assert "--multilabel accepts several" in str(several)
    assert "--multilabel" not in str(word)


def test_drawn_split_has_every_class_on_both_sides(tmp_path):
    stems = [f"{place}{number}" for place in ("kitchen", "garden", "street") for number in range(20)]
    clips(tmp_path, *stems)
    sets = ["walk", "walk|wave", "sit", "sit|wave", "walk|sit|wave"]
    rows = [f"{stem}.mp4,{sets[number % 5]}" for number, stem in enumerate(stems)]
    write(tmp_path, "list.csv", "\n".join(["path,labels", *rows]))
    dataset = read_dataset("list", tmp_path, options=SEVERAL)
    labels, splits = dataset.labels("action"), dataset.clips["split"].to_numpy()
    shares = labels[splits == "val"].sum(axis=0) / labels.sum(axis=0)
    assert (shares > 0.05).all()
    assert (shares < 0.5).all()


SEGMENTS = """video,start,end,label
a,0,10,walk
a,4,12,wave
a,9,10,sit
b,0,5,walk
b,0,5,sit
"""


def test_segments_have_the_labels_of_those_that_cover_half_of_them(tmp_path):
    clips(tmp_path, "a", "b")
    write(tmp_path, "train.csv", SEGMENTS)
    dataset = read_dataset("list", tmp_path, options=SEVERAL)
    assert dataset.name == "list"
    assert names(dataset) == {
        "a:0-10": ["walk", "wave"],
        "a:4-12": ["walk", "wave"],
        "a:9-10": ["sit", "walk", "wave"],
        "b:0-5": ["sit", "walk"],
    }


def test_entire_videos_have_the_labels_of_all_their_segments(tmp_path):
    clips(tmp_path, "a", "b")
    path = write(tmp_path, "videos.csv", SEGMENTS)
    options = DatasetOptions(multilabel=True, ignore_segments=True, annotations=path)
    dataset = read_dataset("segments", tmp_path, options=options)
    assert names(dataset) == {"a.mp4": ["sit", "walk", "wave"], "b.mp4": ["sit", "walk"]}
    assert np.isnan(dataset.clips["start"]).all()
    assert not dataset.unfitted
    with pytest.raises(DatasetError, match="segments with different labels") as error:
        read_dataset("segments", tmp_path, options=DatasetOptions(ignore_segments=True, annotations=path))
    assert "--multilabel" in str(error.value.hint)


def test_overlap_is_refused_with_the_option_that_keeps_both_labels(tmp_path):
    clips(tmp_path, "a", "b")
    write(tmp_path, "train.csv", SEGMENTS)
    with pytest.raises(DatasetError, match="overlaps") as error:
        read_dataset("list", tmp_path)
    assert "--multilabel" in str(error.value.hint)


def test_background_is_no_class_of_its_own(tmp_path):
    clips(tmp_path, "a", "b")
    write(tmp_path, "train.csv", SEGMENTS)
    options = DatasetOptions(multilabel=True, background=BackgroundOptions())
    dataset = read_dataset("list", tmp_path, options=options)
    assert dataset.classes == {"action": ["sit", "walk", "wave"]}
    assert dataset.annotated


def test_class_list_orders_the_classes_of_every_clip(tmp_path):
    clips(tmp_path, *"abc")
    write(tmp_path, "list.csv", "path,labels,split\na.mp4,sit|wave,train\nb.mp4,walk|sit,train\nc.mp4,,test\n")
    order = write(tmp_path, "order/classes.txt", "walk\nsit\nwave\n")
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(multilabel=True, class_list=order))
    assert dataset.classes == {"action": ["walk", "sit", "wave"]}
    assert dict(zip(dataset.clips["id"], dataset.clips["label_action"], strict=True)) == {
        "a.mp4": (1, 2), "b.mp4": (0, 1), "c.mp4": (-1,),
    }  # fmt: skip


def test_data_sets_with_one_label_refuse_several(tmp_path):
    plant(tmp_path, "walk/a.mp4", "walk/b.mp4", "sit/c.mp4", "sit/d.mp4")
    with pytest.raises(UsageError, match="has one label") as error:
        read_dataset("folder", tmp_path, options=SEVERAL)
    assert error.value.where == "--multilabel"


def test_label_of_segments_that_are_left_out_is_no_class(tmp_path):
    clips(tmp_path, "a", "b")
    write(tmp_path, "train.csv", "video,start,end,label\na,0,10,walk\na,2,6,wave\nb,0,5,sit\n")
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(overlaps="first"))
    assert dataset.classes == {"action": ["sit", "walk"]}


def test_one_class_of_several_labels_is_there_or_not(tmp_path):
    clips(tmp_path, *"abcd")
    write(tmp_path, "list.csv", "path,labels,split\na.mp4,wave,train\nb.mp4,,train\nc.mp4,wave,val\nd.mp4,,val\n")
    assert not overview(read_dataset("list", tmp_path, options=SEVERAL)).nonsense
    write(tmp_path, "list.csv", "path,labels,split\na.mp4,wave,train\nc.mp4,wave,val\n")
    assert "only one class" in overview(read_dataset("list", tmp_path)).nonsense[0]
