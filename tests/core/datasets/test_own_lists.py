"""List files and folders as people have them: what they mean, or why they are refused."""

import unicodedata
from pathlib import Path

import pytest
from miniature import columns, plant, write

from tdpn_core.datasets import DatasetOptions, read_dataset
from tdpn_core.datasets.columns import COLUMN_NAMES
from tdpn_core.datasets.scan import VIDEO_SUFFIXES, scan
from tdpn_core.datasets.splits import SYNONYMS
from tdpn_core.errors import DatasetError

CLIPS = tuple(f"v/{name}_{n}.mp4" for name in ("Archery", "Bowling", "Diving") for n in range(4))


def name_of(clip: str) -> str:
    return clip[2:-6]


def listed(dataset) -> dict[str, int]:
    return dict(zip(dataset.clips["id"], dataset.clips["label_action"], strict=True))


def table(header: str, rows) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


# --- the rows of shared/hard/lists


@pytest.mark.parametrize("folder", ["num12_name", "num12_float"])
def test_list_with_integer_labels_keeps_the_numbers_of_the_file(folder, hard):
    dataset = read_dataset("list", hard / "lists" / folder)
    assert listed(dataset) == {f"v/x{n}_{m}.mp4": n for n in range(12) for m in (0, 1)}
    names = [f"c{n}" for n in range(12)] if folder == "num12_name" else [str(n) for n in range(12)]
    assert dataset.classes == {"action": names}


def test_list_under_kaggle_headers_has_its_three_classes(hard):
    dataset = read_dataset("auto", hard / "lists" / "kaggle")
    assert dataset.classes == {"action": ["Archery", "Bowling", "Diving"]}
    assert dataset.understanding.found == {"train": 12, "val": 6, "test": 6}
    assert dataset.understanding.columns_used == {"path": "clip_path", "label": "label"}
    assert dataset.understanding.columns_ignored == ("clip_name",)


def test_metadata_files_in_split_folders_are_read_with_their_splits(hard):
    dataset = read_dataset("auto", hard / "lists" / "hf")
    assert dataset.name == "list"
    splits = dict(columns(dataset, "split"))
    assert {splits[f"data/test/Diving_{n}.mp4"] for n in range(3)} == {("test",)}
    assert {splits[f"data/train/Diving_{n}.mp4"] for n in range(3)} <= {("train",), ("val",)}
    assert len(dataset.clips) == 18
    assert not any("copies" in note or "two splits" in note for note in dataset.notes)


def test_list_with_one_line_without_label_leaves_out_that_line_alone(hard):
    dataset = read_dataset("list", hard / "lists" / "mma847d")
    assert dataset.understanding.classes == {"action": {"0": 3, "1": 2, "2": 3}}
    [odd] = dataset.understanding.odd_lines
    assert (odd.line, odd.file.name) == (5, "kinetics400_train_list_rawframes.txt")
    assert odd.reason.startswith("is not a path and 2 numbers")
    assert any(note == "kinetics400_train_list_rawframes.txt: 1 line is left out" for note in dataset.notes)


def test_list_with_an_empty_label_leaves_out_that_clip_by_line(hard):
    dataset = read_dataset("list", hard / "lists" / "missing_label")
    assert dataset.understanding.classes == {"action": {"Archery": 3, "Bowling": 4, "Diving": 4}}
    assert [(odd.line, odd.reason) for odd in dataset.understanding.odd_lines] == [(5, "has no label, left out")]


@pytest.mark.parametrize("how", ["list", "auto"])
def test_list_with_a_split_column_is_split_by_it(how, hard):
    root = hard / "lists" / "splitcol"
    options = DatasetOptions(annotations=root / "metadata.csv" if how == "list" else None)
    assert read_dataset(how, root, options=options).understanding.found == {"train": 6, "val": 4, "test": 2}


def test_clips_directly_in_split_folders_are_refused(hard):
    with pytest.raises(DatasetError, match="test, train would be classes") as error:
        read_dataset("auto", hard / "lists" / "flat_split")
    assert "a class folder is a folder of clips of one class" in error.value.hint


def test_split_folders_in_a_wrapper_are_read(hard):
    dataset = read_dataset("auto", hard / "lists" / "wrapped")
    assert dataset.classes == {"action": ["A", "B"]}
    assert dataset.understanding.found == {"train": 8, "val": 4}
    assert "all clips are in videos/: it is read as the root" in dataset.notes


@pytest.mark.parametrize("how", ["list", "auto"])
def test_list_with_backslash_paths_is_read(how, hard):
    dataset = read_dataset(how, hard / "lists" / "win")
    assert dataset.understanding.found == {"train": 6, "val": 6}
    assert listed(dataset)["Diving/Diving_3.mp4"] == 2


def test_list_in_latin_1_is_read_and_its_encoding_named(hard):
    dataset = read_dataset("list", hard / "lists" / "latin1")
    assert dataset.classes == {"action": ["caféArchery", "caféBowling", "caféDiving"]}
    assert "train.csv is read as cp1252: check the names" in dataset.notes


def test_spellings_of_a_class_folder_are_one_class(hard):
    dataset = read_dataset("folder", hard / "lists" / "spell")
    assert dataset.understanding.classes == {"action": {"HandStandPushups": 5, "Jump": 3, "café é": 5}}
    assert sum("are spellings of one class" in note for note in dataset.notes) == 3


def test_quoted_class_names_hold_commas(hard):
    dataset = read_dataset("list", hard / "lists" / "comma2")
    assert dataset.understanding.classes == {"action": {"running, fast": 4, "walking": 4}}


def test_dev_folder_is_the_validation_split(hard):
    dataset = read_dataset("folder", hard / "lists" / "split_dev")
    assert dataset.understanding.found == {"train": 8, "val": 4}


# --- their siblings


@pytest.mark.parametrize("column", COLUMN_NAMES["path"])
@pytest.mark.parametrize("label", ["label", "Tag", "class-name"])
def test_every_name_of_a_path_column_is_known(column, label, tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table(f"extra,{label},{column.upper()}", [("x", name_of(c), c) for c in CLIPS]))
    dataset = read_dataset("list", tmp_path)
    assert dataset.classes == {"action": ["Archery", "Bowling", "Diving"]}
    assert (len(dataset.clips), dataset.understanding.columns_ignored) == (12, ("extra",))


def test_header_with_unknown_names_is_asked_about(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table("recording,what", [(clip, name_of(clip)) for clip in CLIPS]))
    options = DatasetOptions(annotations=tmp_path / "train.csv")
    with pytest.raises(
        DatasetError, match=r"line 1 looks like a header without a known path and label column"
    ) as error:
        read_dataset("list", tmp_path, options=options)
    assert "file_path" in error.value.hint


def test_missing_first_clip_is_no_header(tmp_path):
    plant(tmp_path, *CLIPS[1:])
    write(tmp_path, "train.csv", "\n".join(f"{clip},{name_of(clip)}" for clip in CLIPS))
    dataset = read_dataset("list", tmp_path)
    assert dataset.understanding.missing["train"] == 1
    assert len(dataset.clips) == 11


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("odd", ["v/x.mp4", "v/x.mp4,", "v/x.mp4,running"])
@pytest.mark.parametrize("header", [True, False], ids=["header", "bare"])
def test_one_odd_line_changes_no_other_line(place, odd, header, tmp_path):
    plant(tmp_path, *CLIPS, "v/x.mp4")
    lines = [f"{clip},{n % 3}" for n, clip in enumerate(CLIPS)]
    lines.insert(place, odd)
    write(tmp_path, "train.csv", "\n".join((["path,label"] if header else []) + lines))
    dataset = read_dataset("list", tmp_path)
    assert listed(dataset) == {clip: n % 3 for n, clip in enumerate(CLIPS)}
    assert [one.line for one in dataset.understanding.odd_lines] == [place + 1 + header]


def test_one_number_among_class_names_is_a_class_name(tmp_path):
    plant(tmp_path, *CLIPS)
    rows = [(clip, name_of(clip)) for clip in CLIPS[:-1]] + [(CLIPS[-1], 7)]
    write(tmp_path, "train.csv", table("path,label", rows))
    assert read_dataset("list", tmp_path).classes == {"action": ["7", "Archery", "Bowling", "Diving"]}


def test_list_of_which_a_third_does_not_fit_is_refused(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table("path,label", [(c, "" if n % 3 == 0 else "a") for n, c in enumerate(CLIPS)]))
    with pytest.raises(DatasetError, match="4 of 12 lines differ in format from the others") as error:
        read_dataset("list", tmp_path)
    assert "train.csv line 2: has no label" in error.value.hint


def test_list_without_any_label_gives_unlabelled_clips(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table("path,label", [(clip, n % 2) for n, clip in enumerate(CLIPS[:8])]))
    write(tmp_path, "test.csv", table("path,label", [(clip, "") for clip in CLIPS[8:]]))
    dataset = read_dataset("list", tmp_path)
    assert dataset.understanding.unlabelled == 4
    assert dataset.classes == {"action": ["0", "1"]}


@pytest.mark.parametrize("value", ['"{}"', "{}.0", " {}"])
def test_integer_labels_are_numbers_however_written(value, tmp_path):
    plant(tmp_path, *(f"v/{n}.mp4" for n in range(12)))
    rows = [(f"v/{n}.mp4", value.format(n), 25.0) for n in range(12)]
    write(tmp_path, "train.csv", table("file_name,label,fps", rows))
    assert listed(read_dataset("list", tmp_path)) == {f"v/{n}.mp4": n for n in range(12)}


def test_classes_file_beside_names_the_numbers(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table("path,label", [(clip, n // 4) for n, clip in enumerate(CLIPS)]))
    write(tmp_path, "classes.txt", "shoot\nbowl\ndive\n")
    assert read_dataset("list", tmp_path).classes == {"action": ["shoot", "bowl", "dive"]}


def test_number_with_two_names_is_refused(tmp_path):
    plant(tmp_path, *CLIPS)
    rows = [(clip, n // 4, name_of(clip)) for n, clip in enumerate(CLIPS)]
    rows[5] = (CLIPS[5], 1, "Diving")
    write(tmp_path, "train.csv", table("path,label,class_name", rows))
    with pytest.raises(DatasetError, match=r"line 7: class 1 is 'Bowling' in line 6 of train\.csv: 'Diving'"):
        read_dataset("list", tmp_path)


def test_names_in_one_list_and_numbers_in_the_other_are_refused(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS[:8]]))
    write(tmp_path, "val.csv", table("path,label", [(clip, 0) for clip in CLIPS[8:]]))
    with pytest.raises(DatasetError, match=r"train\.csv: labels are names, but numbers in val\.csv"):
        read_dataset("list", tmp_path)


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in SYNONYMS.items() for name in names])
def test_synonyms_of_splits_are_known_in_columns_and_folders(split, name, tmp_path):
    other = "test" if split == "train" else "train"
    rows = [(clip, name_of(clip), name.upper() if n % 2 else other) for n, clip in enumerate(CLIPS)]
    plant(tmp_path / "list", *CLIPS)
    write(tmp_path / "list", "labels.csv", table("path,label,Subset", rows))
    splits = dict(columns(read_dataset("auto", tmp_path / "list"), "split"))
    wanted = {("train",), ("val",)} if split == "train" else {(split,)}  # training clips are drawn for validation
    assert {splits[clip] for clip in CLIPS[1::2]} <= wanted
    plant(tmp_path / "folder", *(f"{one}/{c}/{n}.mp4" for one in {name, "train"} for c in "ab" for n in range(3)))
    found = read_dataset("folder", tmp_path / "folder").understanding.found
    assert set(found) == {"train", "val"} | {split}


def test_unknown_split_is_named_by_line(tmp_path):
    plant(tmp_path, *CLIPS)
    rows = [(clip, name_of(clip), "holdout" if n == 3 else "train") for n, clip in enumerate(CLIPS)]
    write(tmp_path, "metadata.csv", table("path,label,split", rows))
    options = DatasetOptions(annotations=tmp_path / "metadata.csv")
    with pytest.raises(DatasetError, match=r"metadata\.csv: line 5: has an unknown split: 'holdout'"):
        read_dataset("list", tmp_path, options=options)


@pytest.mark.parametrize("header", ["path,label,start,end", "video,label,t_start,t_end"])
def test_list_with_parts_of_videos_gives_segments_unless_they_are_to_be_ignored(header, tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", table(header, [(clip, name_of(clip), 1.5, 3) for clip in CLIPS]))
    parts = read_dataset("list", tmp_path)
    assert set(zip(parts.clips["start"], parts.clips["stop"], strict=True)) == {(1.5, 3.0)}
    assert all(clip.endswith(":1.5-3") for clip in parts.clips["id"])
    dataset = read_dataset("list", tmp_path, options=DatasetOptions(ignore_segments=True))
    assert len(dataset.clips) == 12
    assert any("are ignored: entire videos are packed" in note for note in dataset.notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_are_told_by_content(encoding, tmp_path):
    plant(tmp_path, *CLIPS)
    text = table("path,label", [(clip, f"café {name_of(clip)}") for clip in CLIPS])
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    dataset = read_dataset("list", tmp_path)
    assert dataset.classes["action"][0] == "café Archery"
    assert any("cp1252" in note for note in dataset.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("separator", [",", ";"])
def test_quoted_class_names_hold_the_separator(separator, tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.csv", "".join(f'{c}{separator} "{name_of(c)}{separator} fast"\n' for c in CLIPS))
    assert read_dataset("list", tmp_path).classes["action"][0] == f"Archery{separator} fast"


def test_unquoted_comma_in_a_class_name_is_an_odd_line(tmp_path):
    plant(tmp_path, *CLIPS)
    lines = [f"{clip},{name_of(clip)}" for clip in CLIPS]
    lines[2] += ", fast"
    write(tmp_path, "train.csv", "\n".join(lines))
    dataset = read_dataset("list", tmp_path)
    assert dataset.classes == {"action": ["Archery", "Bowling", "Diving"]}
    assert [odd.line for odd in dataset.understanding.odd_lines] == [3]


def test_class_names_after_a_blank_are_read(tmp_path):
    plant(tmp_path, *CLIPS)
    write(tmp_path, "train.txt", "".join(f"{clip} {name_of(clip)} fast\n" for clip in CLIPS))
    assert read_dataset("list", tmp_path).classes["action"] == ["Archery fast", "Bowling fast", "Diving fast"]


def test_paths_in_another_unicode_form_are_found(tmp_path):
    plant(tmp_path, *(unicodedata.normalize("NFD", f"v/é{n}.mp4") for n in range(4)))
    write(tmp_path, "train.txt", "".join(unicodedata.normalize("NFC", f"v/é{n}.mp4 {n % 2}\n") for n in range(4)))
    assert len(read_dataset("list", tmp_path).clips) == 4


def test_lists_of_which_nothing_is_on_disk_are_refused(tmp_path):
    plant(tmp_path, "other/a.mp4")
    write(tmp_path, "train.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS]))
    options = DatasetOptions(annotations=tmp_path / "train.csv")
    with pytest.raises(DatasetError, match="none of the listed clips is on disk") as error:
        read_dataset("list", tmp_path, options=options)
    assert "12 train clips of the list are not on disk (for example 'v/Archery_0.mp4')" in error.value.hint


def test_quote_that_is_not_closed_is_refused_with_its_line(tmp_path):
    plant(tmp_path, *CLIPS)
    lines = ["path,label", *(f"{clip},{name_of(clip)}" for clip in CLIPS)]
    lines[4] = lines[4].replace(",", ',"')
    write(tmp_path, "train.csv", "\n".join(lines))
    with pytest.raises(DatasetError, match="line 5: a quote is opened here"):
        read_dataset("list", tmp_path)


def test_caption_over_several_lines_is_no_fault(tmp_path):
    plant(tmp_path, *CLIPS)
    rows = "".join(f'{clip},{name_of(clip)},"two\nlines"\n' for clip in CLIPS)
    write(tmp_path, "train.csv", f"path,label,caption\n{rows}")
    assert len(read_dataset("list", tmp_path).clips) == len(CLIPS)


@pytest.mark.parametrize("given", ["lists/a.csv", "lists"])
def test_annotations_are_found_under_the_root(tmp_path, monkeypatch, given):
    root = tmp_path / "root"
    plant(root, *CLIPS)
    write(root, "lists/a.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS[:6]]))
    write(root, "train.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS]))
    monkeypatch.chdir(tmp_path)
    assert len(read_dataset("list", root, options=DatasetOptions(annotations=Path(given))).clips) == 6


def test_annotations_here_go_before_those_under_the_root(tmp_path, monkeypatch):
    root = tmp_path / "root"
    plant(root, *CLIPS)
    write(root, "a.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS[:6]]))
    write(tmp_path, "a.csv", table("path,label", [(clip, name_of(clip)) for clip in CLIPS[:3]]))
    monkeypatch.chdir(tmp_path)
    assert len(read_dataset("list", root, options=DatasetOptions(annotations=Path("a.csv"))).clips) == 3


# --- folders


def test_wrapper_of_class_folders_is_passed_through(tmp_path):
    plant(tmp_path, "intro.mp4", *(f"set/videos/{c}/{n}.mp4" for c in "ab" for n in range(5)))
    dataset = read_dataset("auto", tmp_path)
    assert dataset.classes == {"action": ["a", "b"]}
    assert "all clips are in set/videos/: it is read as the root" in dataset.notes


def test_two_folders_of_one_split_are_noted(tmp_path):
    plant(tmp_path, *(f"{split}/{c}/{n}.mp4" for split in ("train", "val", "eval") for c in "ab" for n in range(2)))
    dataset = read_dataset("folder", tmp_path)
    assert dataset.understanding.found == {"train": 4, "val": 8}
    assert "eval and val are both read as the split val" in dataset.notes


def test_folder_beside_the_splits_is_named(tmp_path):
    plant(tmp_path, *(f"{split}/{c}/{n}.mp4" for split in ("train", "val", "holdout") for c in "ab" for n in range(2)))
    assert (
        "4 videos are not in a class folder of a split: holdout/a, holdout/b" in read_dataset("folder", tmp_path).notes
    )


def test_case_tells_classes_apart_within_a_split(tmp_path):
    plant(tmp_path, *(f"{label}/{n}.mp4" for label in ("a", "A") for n in range(3)))
    dataset = read_dataset("folder", tmp_path)
    assert dataset.classes == {"action": ["A", "a"]}
    assert (
        "classes 'A', 'a' differ only in case and occur in the same split: they are read as separate classes"
        in dataset.notes
    )


def test_linked_class_and_split_folders_are_read(tmp_path):
    plant(tmp_path, *(f"all/{label}/{n}.mp4" for label in "abc" for n in range(3)))
    for split, names in (("train", "ab"), ("val", "ab")):
        (tmp_path / split).mkdir()
        for label in names:
            (tmp_path / split / label).symlink_to(tmp_path / "all" / label)
    dataset = read_dataset("folder", tmp_path)
    assert dataset.understanding.found == {"train": 6, "val": 6}
    assert any("point to folders also read under another path: train/a, train/b" in n for n in dataset.notes)


def test_linked_split_folder_is_read(tmp_path):
    plant(tmp_path, *(f"train/{label}/{n}.mp4" for label in "ab" for n in range(3)))
    plant(tmp_path, *(f"kept/{label}/{n}.mp4" for label in "ab" for n in range(2)))
    (tmp_path / "val").symlink_to(tmp_path / "kept")
    assert read_dataset("folder", tmp_path).understanding.found == {"train": 6, "val": 4}


def test_circle_of_links_is_named_and_ends(tmp_path):
    plant(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    found = scan(tmp_path)
    assert found.videos == ["a/1.mp4", "a/b/2.mp4", "b/2.mp4", "b/a/1.mp4"]
    assert "a/up (link to a folder above it)" in found.special


SUFFIXES = ".MTS", ".m2ts", ".vob", ".3g2", ".f4v", ".gif", ".ts", ".mpeg", ".ogv", ".mxf", ".asf", ".divx", ".m4v"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffixes_of_cameras_and_discs_are_videos(suffix, tmp_path):
    plant(tmp_path, *(f"{label}/{n}{suffix}" for label in "ab" for n in range(2)))
    assert len(read_dataset("folder", tmp_path).clips) == 4


def test_page_about_data_lists_every_column_split_and_suffix():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    for names in (*COLUMN_NAMES.values(), *SYNONYMS.values(), sorted(VIDEO_SUFFIXES)):
        assert ", ".join(f"`{name}`" for name in names) in page
