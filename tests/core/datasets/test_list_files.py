import pytest
from miniature import columns, frames, labels, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.class_names import read_class_list
from tdpn_core.errors import DatasetError, UsageError

A, B, C = "abseiling/_4YTwq0-73Y_000044_000054", "air drumming/x, y;z_1", "zumba/-aU-xCCzkT0_000061_000071"


def videos(root, place="videos"):
    return plant(root, *(f"{place}/{name}.mp4" for name in (A, B, C)))


@pytest.mark.parametrize("separator", [" ", ",", "\t", "::", ";"])
@pytest.mark.parametrize("count", ["", "300"], ids=["path label", "path count label"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_are_told_by_looking_and_lines_split_from_the_right(separator, count, end, tmp_path):
    videos(tmp_path)
    fields = [[f"{name}.mp4", *([count] if count else []), str(label)] for label, name in enumerate((A, B, C))]
    write(tmp_path, "train.list", "\ufeff" + "".join(separator.join(row) + end for row in fields[:2]))
    write(tmp_path, "val.list", "".join(separator.join(row) + end for row in fields[2:]))
    dataset = read_dataset("list", tmp_path)
    assert columns(dataset, "source", "split", "label_action", "kind") == {
        f"{A}.mp4": (f"videos/{A}.mp4", "train", 0, "video"),
        f"{B}.mp4": (f"videos/{B}.mp4", "train", 1, "video"),
        f"{C}.mp4": (f"videos/{C}.mp4", "val", 2, "video"),
    }
    assert (dataset.classes, dataset.label_order) == ({"action": ["0", "1", "2"]}, "numbers")


def test_a_path_that_ends_in_a_number_is_told_by_the_disk(tmp_path):
    plant(tmp_path, "jump 01", "other")
    for number in (1, 2, 3):
        frames(tmp_path, f"clips/person 0{number}")
    write(tmp_path, "train.txt", "person 01 2\nperson 02 0\n")
    write(tmp_path, "val.txt", "person 03 1\n")
    assert columns(read_dataset("list", tmp_path), "source", "label_action") == {
        "person 01": ("clips/person 01", 2), "person 02": ("clips/person 02", 0), "person 03": ("clips/person 03", 1),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["{}.mp4", "./{}.mp4", "{}", "videos/{}.mp4", "/elsewhere/videos/{}.mp4", "{}.avi"])
def test_paths_are_relative_to_root_or_list_or_some_folder(form, tmp_path):
    videos(tmp_path)
    write(tmp_path, "lists/train.csv", "".join(f"{form.format(name)},{n}\n" for n, name in enumerate((A, B))))
    write(tmp_path, "lists/val.csv", f"{form.format(C)},2\n")
    sources = columns(read_dataset("list", tmp_path), "source").values()
    assert sorted(sources) == sorted((f"videos/{name}.mp4",) for name in (A, B, C))


def test_namesakes_are_told_by_folder_and_split(tmp_path):
    plant(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4")
    write(tmp_path, "train_list.txt", "a/1.mp4 0\nb/1.mp4 1\n")
    write(tmp_path, "val_list.txt", "val/a/1.mp4 0\n")
    assert columns(read_dataset("list", tmp_path), "source", "split") == {
        "a/1.mp4": ("train/a/1.mp4", "train"), "b/1.mp4": ("train/b/1.mp4", "train"),
        "val/a/1.mp4": ("val/a/1.mp4", "val"),
    }  # fmt: skip


def test_videos_outside_the_root(tmp_path):
    store, root = tmp_path / "store", tmp_path / "root"
    plant(store, "1.mp4", "2.mp4")
    write(root, "train.txt", f"{store}/1.mp4 0\n")
    write(root, "val.txt", "../store/2.mp4 0\n")
    sources = columns(read_dataset("list", root), "source")
    assert [path for (path,) in sources.values()] == [str(store / "1.mp4"), str(store / "2.mp4")]


def test_frames_with_counts(tmp_path):
    """TSN, TSM, TPN: folder, number of frames, label."""
    for clip, count in (("100218", 4), ("48032", 5), ("85", 3)):
        frames(tmp_path, f"20bn-something-something-v1/{clip}", count=count)
    write(tmp_path, "somesomev1_rgb_train_split.txt", "100218 4 1\n48032 5 0\n")
    write(tmp_path, "somesomev1_rgb_validation_split.txt", "85 2 1\n")
    write(tmp_path, "category.txt", "Approaching [something]\nHolding something\n")
    dataset = read_dataset("list", tmp_path)
    assert columns(dataset, "kind", "pattern", "first", "last") == {
        "100218": ("frames", "%05d.jpg", 1, 4), "48032": ("frames", "%05d.jpg", 1, 5),
        "85": ("frames", "%05d.jpg", 1, 2),
    }  # fmt: skip
    assert labels(dataset)["85"] == ("val", "Holding something")
    assert dataset.label_order == "file"
    assert dataset.classes["action"][0] == "Approaching [something]"


@pytest.mark.parametrize(
    ("first", "line", "expected"),
    [
        (1, "imgs 2 5 1", (3, 7)),  # mmaction2: an offset and a count
        (0, "imgs 2 5 1", (2, 6)),
        (1, "imgs 0 8 1", (1, 9)),  # first and last, counted from 0
        (0, "imgs 0 8 1", (0, 8)),
    ],
)
def test_parts_of_frame_folders(first, line, expected, tmp_path):
    frames(tmp_path, "imgs", "img_%05d.jpg", first, 9)
    rest = "imgs 6 1 0" if line.startswith("imgs 2") else "imgs 0 8 1"
    write(tmp_path, "train.txt", f"{line}\n")
    write(tmp_path, "val.txt", f"{rest}\n{line}\n")
    table = read_dataset("list", tmp_path).clips.set_index("id")
    row = table.loc[line.replace(" ", ":", 1).replace(" ", "-", 1).rpartition(" ")[0]]
    assert (row["first"], row["last"]) == expected


def test_verbs_and_nouns_of_epic_frames(tmp_path):
    frames(tmp_path, "P01/rgb_frames/P01_01", "frame_%010d.jpg", count=5)
    write(tmp_path, "EPIC_100_train_new.txt", "P01/rgb_frames/P01_01 8 202 3 3\nP01/rgb_frames/P01_01 262 370 6 114\n")
    write(tmp_path, "EPIC_100_validation_new.txt", "P01/rgb_frames/P01_01 400 410 0 2\n")
    dataset = read_dataset("list", tmp_path)
    assert columns(dataset, "first", "last", "label_verb", "label_noun", "pattern") == {
        "P01/rgb_frames/P01_01:8-202": (8, 202, 3, 3, "frame_%010d.jpg"),
        "P01/rgb_frames/P01_01:262-370": (262, 370, 6, 114, "frame_%010d.jpg"),
        "P01/rgb_frames/P01_01:400-410": (400, 410, 0, 2, "frame_%010d.jpg"),
    }
    assert [len(dataset.classes[head]) for head in ("verb", "noun")] == [7, 115]


def test_parts_of_videos_in_frames_are_refused(tmp_path):
    plant(tmp_path, "a.mp4")
    write(tmp_path, "train.txt", "a 30 90 0\n")
    with pytest.raises(DatasetError, match=r"train\.txt: line 1: a part of a video is given in frames"):
        read_dataset("list", tmp_path)


@pytest.mark.parametrize(
    ("lines", "last"), [("a.mp4 0 -1\nb.mp4 0 -1\n", -1), ("a.mp4\nb.mp4\n", -1), ("c 0 4\nd 0 6\n", 4)]
)
def test_lists_without_labels(lines, last, tmp_path):
    plant(tmp_path, "a.mp4", "b.mp4")
    frames(tmp_path, "frames/c", count=4)
    frames(tmp_path, "frames/d", count=6)
    write(tmp_path, "train.txt", lines)
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(sources="auto"))
    assert set(dataset.clips["label_action"]) == {-1}
    assert dataset.clips["last"].min() == last
    assert dataset.classes == {"action": []}


def test_a_line_a_frame(tmp_path):
    frames(tmp_path, "frames/1", "1_%06d.jpg", count=3)
    frames(tmp_path, "frames/22", "22_%06d.jpg", count=4)
    header = "original_vido_id video_id frame_id path labels\n"
    rows = [f'1 0 {n} 1/1_{n + 1:06}.jpg ""\n' for n in range(3)]
    more = [f"22 1 {n} 22/22_{n + 1:06}.jpg 5\n" for n in range(2)]
    write(tmp_path, "train.csv", header + "".join(rows))
    write(tmp_path, "val.csv", header + "".join(more))
    dataset = read_dataset("list", tmp_path)
    assert columns(dataset, "source", "pattern", "first", "last", "label_action", "split") == {
        "1": ("frames/1", "1_%06d.jpg", 1, 3, -1, "train"), "22": ("frames/22", "22_%06d.jpg", 1, 2, 5, "val"),
    }  # fmt: skip
    write(tmp_path, "train.csv", header + rows[0] + rows[2])
    with pytest.raises(DatasetError, match=r"train\.csv: line 3: frame 2 of 1 is missing before this one"):
        read_dataset("list", tmp_path)


def test_class_names_in_the_list(tmp_path):
    videos(tmp_path)
    write(tmp_path, "train.csv", f'path,label\n{A}.mp4,zumba\n"{B}.mp4",abseiling\n')
    write(tmp_path, "val.csv", f"path,label\n{C}.mp4,zumba\n")
    dataset = read_dataset("list", tmp_path)
    assert labels(dataset) == {
        f"{A}.mp4": ("train", "zumba"), f"{B}.mp4": ("train", "abseiling"), f"{C}.mp4": ("val", "zumba"),
    }  # fmt: skip
    assert dataset.classes == {"action": ["abseiling", "zumba"]}


def test_one_named_list_is_split(tmp_path):
    plant(tmp_path, *(f"v/{n}.mp4" for n in range(20)))
    path = write(tmp_path, "lists/all.txt", "".join(f"{n}.mp4 {n % 2}\n" for n in range(20)))
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(annotations=path))
    assert dataset.clips.groupby(["split", "label_action"]).size().to_dict() == {
        ("train", 0): 8, ("train", 1): 8, ("val", 0): 2, ("val", 1): 2,
    }  # fmt: skip
    assert any(note.startswith("no validation split: 4 of 20 clips") for note in dataset.notes)
    with pytest.raises(DatasetError, match="no list files with clips that are on disk"):
        read_dataset("list", tmp_path)


def test_several_lists_for_a_split(tmp_path):
    videos(tmp_path)
    for split in (1, 2, 3):
        write(tmp_path, f"x_train_split_{split}.txt", f"{A}.mp4 {split}\n")
        write(tmp_path, f"x_val_split_{split}.txt", f"{C}.mp4 {split}\n")
    assert read_dataset("list", tmp_path, options=DatasetOptions(split=2)).clips["label_action"].tolist() == [2, 2]
    write(tmp_path, "more/train_split_2.txt", f"{B}.mp4 0\n")
    with pytest.raises(DatasetError, match=r"2 lists could be the train split: train_split_2\.txt, x_train_"):
        read_dataset("list", tmp_path, options=DatasetOptions(split=2))
    named = (tmp_path / "x_train_split_2.txt", tmp_path / "x_val_split_3.txt")
    assert len(read_dataset("list", tmp_path, options=DatasetOptions(annotations=named)).clips) == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{A}.mp4 0\n{C}.mp4 -2\n", "line 2: is not a label: -2"),
        (f"{A}.mp4 0\n\n{C}.mp4 7\n", r"line 3: label is not one of the 3 of classes\.txt: 7"),
        (f"{A}.mp4 0\n{C}.mp4 1\n{A}.mp4 2\n", "line 3: clip is listed twice with different labels"),
        ("\ufeff\r\n", r"train\.txt: is empty"),
        ("gone.mp4 0\n", "none of the listed clips is on disk; .*1 train clip of the list is not on disk"),
    ],
)
def test_a_faulty_line_is_named(text, fault, tmp_path):
    videos(tmp_path)
    write(tmp_path, "classes.txt", "abseiling\nair drumming\nzumba\n")
    path = write(tmp_path, "train.txt", text)
    with pytest.raises(DatasetError, match=fault):
        read_dataset("list", tmp_path, options=DatasetOptions(annotations=path))


def test_clips_in_both_lists_are_counted(tmp_path):
    videos(tmp_path)
    write(tmp_path, "train.txt", f"{A}.mp4 0\n{A}.mp4 0\n{B}.mp4 1\n")
    write(tmp_path, "val.txt", f"{A}.mp4 0\n{C}.mp4 1\ngone.mp4 1\n./gone.mp4 1\n")
    dataset = read_dataset("list", tmp_path)
    notes = "\n".join(dataset.notes)
    assert len(dataset.clips) == 3
    assert f"1 clip is listed more than once and used once (for example '{A}.mp4')" in notes
    assert f"1 clip is in two splits and used in the first (for example '{A}.mp4')" in notes
    assert "1 val clip of the list is not on disk (for example 'gone.mp4')" in notes
    assert dataset.absent == {"train": [], "val": ["gone.mp4"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "b c\na\n"),
        ("classInd.txt", "1 b c\r\n2 a\r\n"),
        ("x_label_list.txt", "0 b c\n1 a\n"),
        ("x_label_map.txt", "0: b c\n1: a\n"),
        ("category.txt", "a\t1\nb c\t0\n"),
        ("labels_to_id.csv", "id,name\n1,a\n0,b c\n"),
        ("labels.json", '{"a": "1", "b c": "0"}'),
        ("labels.json", '["b c", "a"]'),
    ],
)
def test_class_files_in_every_form(name, text, tmp_path):
    assert read_class_list(write(tmp_path, name, text)) == ["b c", "a"]


def test_class_files_that_disagree_name_nothing(tmp_path):
    videos(tmp_path)
    write(tmp_path, "train.txt", f"{A}.mp4 0\n")
    write(tmp_path, "val.txt", f"{C}.mp4 1\n")
    write(tmp_path, "classes.txt", "a\nb\n")
    other = write(tmp_path, "category.txt", "b\na\n")
    dataset = read_dataset("list", tmp_path)
    assert dataset.classes == {"action": ["0", "1"]}
    assert "category.txt, classes.txt contain different class names: give one with --class-list" in dataset.notes
    chosen = read_dataset("list", tmp_path, options=DatasetOptions(class_list=other))
    assert (chosen.classes, chosen.label_order) == ({"action": ["b", "a"]}, "list category.txt")
    with pytest.raises(UsageError, match="the classes of the list have no names to sort"):
        read_dataset("list", tmp_path, options=DatasetOptions(label_order="sorted"))


@pytest.mark.parametrize(
    ("files", "classes", "expected"),
    [
        (("kinetics400-PaddleVideo/train_small_videos.list", "kinetics400-PaddleVideo/val_small_videos.list"),
         "kinetics400-PaddleVideo/Kinetics-400_label_list.txt", "abseiling"),
        (("kinetics400-PaddleVideo/train_small_frames.list", "kinetics400-PaddleVideo/val_small_frames.list"),
         "kinetics400-PaddleVideo/Kinetics-400_label_list.txt", "abseiling"),
        (("RaivoKoot-lists/valid_processed.txt",), "RaivoKoot-lists/labels_to_id.csv", None),
        (("MorphMLP-lists/val.csv",), "MorphMLP-lists/kinetics_400_categroies.txt", "abseiling"),
        (("MorphMLP-lists/somesomev1_rgb_train_split.txt", "MorphMLP-lists/somesomev1_rgb_validation_split.txt"),
         "MorphMLP-lists/category.txt", None),
        (("MorphMLP-lists/somesomev2_rgb_train_split.txt", "MorphMLP-lists/somesomev2_rgb_validation_split.txt",
          "MorphMLP-lists/somesomev2_rgb_test_split.txt"), "tpn/category.txt", None),
        (("RaivoKoot-lists/something-something-v2-train-processed.txt",), "MorphMLP-lists/sthv2_category.txt", None),
        (("hmdb51-microsoft/hmdb51_vid_train_split_1.txt", "hmdb51-microsoft/hmdb51_vid_val_split_1.txt"),
         "tsn-splits/class_list.txt", None),
    ],
)  # fmt: skip
def test_real_lists(files, classes, expected, shared, tmp_path):
    """The first, a middle and the last clip of each list are on disk; they get the labels that the list gives."""
    wanted = {}
    for name in files:
        lines = (shared / "annotations" / name).read_text().splitlines()
        for line in {lines[0], lines[len(lines) // 2], lines[-1]}:
            fields = line.replace(",", " ").split()
            if "rgb" in name or "processed" in name:
                frames(tmp_path, f"data/{fields[0]}", count=2)
            else:
                plant(tmp_path, f"data/{fields[0].removesuffix('.mp4')}.mp4")
            wanted[fields[0]] = int(fields[-1])
    options = DatasetOptions(
        annotations=tuple(shared / "annotations" / name for name in files),
        class_list=shared / "annotations" / classes,
    )
    dataset = read_dataset("list", tmp_path, options=options)
    head = dataset.clips.columns[-1]
    found = {
        clip.partition(":")[0]: label for clip, label in zip(dataset.clips["id"], dataset.clips[head], strict=True)
    }
    assert found == wanted
    if expected:
        assert expected in {dataset.classes["action"][label] for label in found.values()}


def test_real_epic_lists(shared, tmp_path):
    folder = shared / "annotations" / "RaivoKoot-lists"
    frames(tmp_path, "P01/rgb_frames/P01_11", "frame_%010d.jpg")
    lists = [folder / f"EPIC_100_{part}_new.txt" for part in ("train", "validation")]
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(annotations=tuple(lists)))
    rows = {tuple(map(int, line.split()[1:])) for line in lists[1].read_text().splitlines() if "P01_11 " in line}
    columns_ = ["first", "last", "label_verb", "label_noun"]
    assert set(dataset.clips[dataset.clips["split"] == "val"][columns_].itertuples(index=False, name=None)) == rows
    assert len(rows) > 40


def test_labels_that_count_from_1_are_asked_about(tmp_path):
    plant(tmp_path, "a/1.avi", "b/2.avi")
    write(tmp_path, "classInd.txt", "1 a\n2 b\n")
    write(tmp_path, "trainlist01.txt", "a/1.avi 1\nb/2.avi 2\n")
    with pytest.raises(DatasetError, match=r"label is not one of the 2 of classInd\.txt: 2") as error:
        read_dataset("list", tmp_path)
    assert "do its labels count from 1?" in error.value.hint
