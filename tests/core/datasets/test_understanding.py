from miniature import plant, write

from tdpn_core.datasets import read_dataset


def test_understanding_of_class_folders_counts_clips_by_class_and_split(tmp_path):
    plant(tmp_path, "train/a/1.mp4", "train/a/2.mp4", "train/b/1.mp4", "val/b/2.mp4")
    understood = read_dataset("folder", tmp_path).understanding
    assert understood.layout == "a folder per class, below folders of splits"
    assert understood.classes == {"action": {"a": 2, "b": 2}}
    assert (understood.listed, understood.found, understood.missing) == (
        {"train": 3, "val": 1},
        {"train": 3, "val": 1},
        {},
    )
    assert understood.annotations == ()


def test_understanding_of_lists_counts_missing_clips_and_names_the_files(tmp_path):
    plant(tmp_path, "a.mp4", "b.mp4")
    train = write(tmp_path, "train.txt", "a.mp4 0\ngone.mp4 1\n")
    val = write(tmp_path, "val.txt", "b.mp4 1\n")
    understood = read_dataset("list", tmp_path).understanding
    assert understood.annotations == (train, val)
    assert understood.classes == {"action": {"0": 1, "1": 1}}
    assert understood.listed == {"train": 2, "val": 1}
    assert understood.found == {"train": 1, "val": 1}
    assert understood.missing == {"train": 1, "val": 0}
