"""Options that act only together with another, or not with another, are refused rather than ignored."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.errors import UsageError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval a.pt --search-on half", "--search-on: has no effect without --fuse search; add --fuse search"),
        ("eval a.pt b.pt --fuse equal --search-on half", "--search-on: has no effect without --fuse search"),
        ("eval a.pt --sls 1,3,3", "--sls: has no effect without --submission; add --submission out.zip"),
        ("eval a.pt --keep-right 0.9", "--keep-right: is the share that --calibrate keeps; add --calibrate"),
        ("eval a.pt --nms 0.5", "--nms: has no effect without --timeline; add --timeline ANNOTATIONS"),
        ("predict a.mp4 --processes 2", "--processes: has no effect without --archive; add --archive FOLDER"),
        ("predict a.mp4 --archive out --force", "--force: has no effect with --archive; leave it out"),
        ("predict a.mp4 --executor ray", "--executor: has no effect without --archive; add --archive FOLDER"),
        ("predict a.mp4 --archive o --ray-address x", "--ray-address: has no effect without --executor ray"),
        ("predict a --archive o --executor ray --processes 2", "--processes: has no effect with --executor ray"),
        ("features a --list x.txt", "--list: has no effect without --archive; add --archive features.parquet"),
        ("features a --archive o --split val", "--split: has no effect with --archive; leave it out"),
        ("prep folder --root . --ray-address x", "--ray-address: has no effect without --executor ray"),
        ("train --probe linear --processes 2", "--processes: has no effect with --probe; leave it out"),
        ("train --probe linear --keep 2", "--keep: has no effect with --probe; leave it out"),
        ("train --features x", "--features: is for --probe; add --probe linear or --probe attentive"),
        ("data --features x", "--features: is for doubted labels; add --review review.html"),
        ("data --as-trained", "--as-trained: draws nothing without a file; add --preview clips.png"),
    ],
)
def test_option_that_would_be_ignored_is_refused(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, UsageError), result.output
    assert message in str(result.exception)
