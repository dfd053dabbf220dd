"""The report in a real browser: it stands alone, plays its films, and can be walked through with the keyboard."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scored import make_scores

from tdpn_core.config.schema import RunConfig, to_dict
from tdpn_core.evaluation.evaluate import measure_scores
from tdpn_core.evaluation.report import write_report
from tdpn_core.shards import ClipStore

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def report(checkpoint: Path, prepared: Path, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of scores by hand, sure of every class and wrong for every third clip."""
    folder = tmp_path_factory.mktemp("report")
    (checkpoint.parent / "metrics.csv").write_text(
        "epoch,loss,top1,val_top1,lr\n1,2.0,0.1,0.2,0.1\n2,1.5,0.3,0.25,0.1\n"
    )
    store = ClipStore(prepared, "train")
    labels = store.labels["action"]
    guess = [(label + (clip % 3 == 0)) % 8 for clip, label in enumerate(labels.tolist())]
    origin = {"checkpoint": str(checkpoint), "data": str(prepared), "split": "train", "settings": to_dict(config)}
    scores = make_scores(np.eye(8)[guess] * 6, labels, ids=store.ids, classes=store.classes, **origin)
    return write_report(measure_scores(scores, folder=folder)).with_suffix(".html")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs chromium")
    return found


def run(browser: str, *words: object) -> str:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_page_has_every_part_and_asks_nothing_of_the_network(report: Path) -> None:
    page = report.read_text()
    for title in (
        "Result",
        "Classes",
        "Confusion",
        "Confidently wrong",
        "Right and wrong by class",
        "Calibration",
        "Training",
        "Settings and data",
    ):
        assert f">{title}</h2>" in page
    assert page.count("<video controls") > 0
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert not re.search(r"url\(|@import|<script", page)
    assert len(page) < 2_000_000
    for chart in ("Cross-entropy by epoch", "Top-1 by epoch", "Learning rate by epoch"):
        assert f'aria-label="{chart}"' in page


def test_films_play_and_every_part_is_reached_by_keyboard(
    report: Path, prepared: Path, browser: str, tmp_path: Path
) -> None:
    probe = """
<script>
addEventListener("load", async () => {
  const films = [...document.querySelectorAll("video")];
  const playing = await Promise.all(films.map((film) =>
    film.play().then(() => [film.videoWidth, film.videoHeight]).catch((error) => String(error))));
  const ids = [...document.querySelectorAll("nav a")].map((link) => document.querySelector(link.hash) !== null);
  const stops = [...document.querySelectorAll("a[href], summary, video, [tabindex='0']")].map((stop) => {
    stop.focus(); return document.activeElement === stop; });
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  document.title = JSON.stringify({playing, ids, stops, wide});
});
</script>"""
    policy = "style-src 'unsafe-inline'"
    page = report.read_text()
    assert policy in page
    page = page.replace(policy, f"{policy}; script-src 'unsafe-inline'").replace("</body>", f"{probe}</body>")
    probed = tmp_path / "probed.html"
    probed.write_text(page)
    shown = run(browser, "--window-size=400,900", "--virtual-time-budget=8000", "--dump-dom", probed.as_uri())
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None

    found = json.loads(title[1].replace("&quot;", '"'))
    assert found["playing"]
    height, width = ClipStore(prepared, "val").size(0)
    assert all(size == [width, height] for size in found["playing"]), found["playing"]
    assert set(found["ids"]) == {True}
    assert len(found["stops"]) > 10
    assert set(found["stops"]) == {True}
    assert found["wide"] is False, "nothing sticks out of a narrow window"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_light_and_dark(report: Path, browser: str, tmp_path: Path, scheme: str) -> None:
    import cv2

    picture = tmp_path / "page.png"
    preferred = {"light": 1, "dark": 0}[scheme]
    run(
        browser,
        f"--blink-settings=preferredColorScheme={preferred}",
        "--window-size=1280,800",
        f"--screenshot={picture}",
        report.as_uri(),
    )
    pixels = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    ground = float(pixels[5:40, 5:40].mean())
    assert ground > 240 if scheme == "light" else ground < 40
    assert (abs(pixels.astype(int) - ground) > 120).mean() > 0.005, "letters stand out from the ground"
