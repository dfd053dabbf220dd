import pytest

from tdpn_core.errors import ToolError
from tdpn_core.video.ffmpeg_binary import find_ffmpeg


@pytest.fixture
def shim(tmp_path):
    def make(version):
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\necho '{version}'\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_the_bundled_program_is_found_and_new_enough(monkeypatch):
    monkeypatch.delenv("TDPN_FFMPEG", raising=False)
    assert int(find_ffmpeg().version.lstrip("n").partition(".")[0]) >= 6


@pytest.mark.parametrize("version", ["3.4.8", "n5.1.9-static"])
def test_an_old_program_is_refused_with_the_version_that_is_needed(shim, version):
    with pytest.raises(ToolError, match=rf"is ffmpeg {version}, but 6\.0 or newer is required.*TDPN_FFMPEG"):
        find_ffmpeg(shim(f"ffmpeg version {version} Copyright"))


@pytest.mark.parametrize("version", ["6.0", "n9.0.2-17-g2a571b6068", "N-123-gabc"])
def test_newer_programs_and_development_builds_are_taken(shim, version):
    assert find_ffmpeg(shim(f"ffmpeg version {version} Copyright")).version == version


def test_something_else_is_not_taken_for_ffmpeg(shim):
    with pytest.raises(ToolError, match="is not an ffmpeg program"):
        find_ffmpeg(shim("hello"))


def test_a_missing_program_is_named():
    with pytest.raises(ToolError, match="/no/ffmpeg: cannot be started"):
        find_ffmpeg("/no/ffmpeg")


def test_the_environment_names_another_program(shim, monkeypatch):
    path = shim("ffmpeg version 7.1 Copyright")
    monkeypatch.setenv("TDPN_FFMPEG", path)
    assert find_ffmpeg().path == path
