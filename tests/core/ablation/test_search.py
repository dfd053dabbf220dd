"""Learning rates chosen per row on held-out training clips."""

import json
from pathlib import Path

import pytest

from tdpn_core.ablation import ablate as run
from tdpn_core.ablation.search import check_rates, choose_rate, prepare_search
from tdpn_core.ablation.tables import cells, columns, csv_table, markdown_table, plain_rows
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.errors import UsageError

HITS = {"ids": ["a", "b"], "hits": {"action": [1, 0]}, "parameters": 1, "gmac": 1.0, "clips_per_second": 1.0}


def finish(folder: Path, **result: object) -> None:
    (folder / "result.json").write_text(json.dumps(result))


def trials(folder: Path, results: dict[float, tuple[float, float] | None]) -> dict[float, Path]:
    paths = {}
    for rate, result in results.items():
        paths[rate] = folder / f"lr={rate:g}"
        paths[rate].mkdir(parents=True)
        if result is not None:
            finish(paths[rate], top1=result[0], loss=result[1])
    return paths


@pytest.mark.parametrize(
    ("results", "lr", "at_end"),
    [
        ({0.1: (0.5, 1.0), 0.2: (0.75, 2.0), 0.4: (0.5, 0.5)}, 0.2, False),
        ({0.1: (0.5, 1.0), 0.2: (0.5, 0.9), 0.4: (0.25, 0.1)}, 0.2, False),
        ({0.1: (0.5, 1.0), 0.2: None, 0.4: (0.75, 9.0)}, 0.4, True),
        ({0.1: None, 0.2: None}, None, False),
    ],
)
def test_rate_with_most_held_out_clips_right_is_chosen_then_lowest_loss(
    results: dict[float, tuple[float, float] | None], lr: float | None, at_end: bool, tmp_path: Path
) -> None:
    searched = choose_rate(trials(tmp_path, results))
    assert (searched.lr, searched.at_end) == (lr, at_end)
    assert searched.top1 == {rate: result and result[0] for rate, result in results.items()}


@pytest.mark.parametrize(
    ("rates", "asked", "message"),
    [
        ([0.1], set(), "--search-lr: needs two or more different learning rates, not 0.1"),
        ([0.1, 0.1], set(), "needs two or more different learning rates, not 0.1, 0.1"),
        ([0.1, -1.0], set(), "learning rates must be positive numbers, not 0.1, -1"),
        ([0.1, float("inf")], set(), "learning rates must be positive numbers"),
        ([0.1, 0.2], {"train.lr"}, "the learning rate is set or varied already"),
    ],
)
def test_rates_that_cannot_be_searched_are_refused(rates: list[float], asked: set[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_rates(rates, asked)
    check_rates([], {"train.lr"})


def test_epochs_of_a_search_without_rates_are_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--search-epochs: has no effect without --search-lr; add --search-lr"):
        run.ablate(data=prepared, out=tmp_path / "out", search_epochs=2)
    assert not (tmp_path / "out").exists()
    check_rates([0.1, 0.2], set(), 2)


def test_trial_is_the_rows_run_at_its_rate_on_part_of_the_training_clips(tmp_path: Path) -> None:
    own = TrainOverrides(model="tpn", epochs=8, settings={"model.width": "0.25", "train.epochs": "9"})
    paths = prepare_search(tmp_path, {"data": "d", "overrides": own.given()}, [0.4, 0.1], 3)
    assert [path.name for path in paths.values()] == ["search-lr=0.1", "search-lr=0.4"]
    cell = json.loads((paths[0.4] / "cell.json").read_text())
    assert cell["search"]
    assert TrainOverrides(**cell["overrides"]) == TrainOverrides(
        model="tpn", epochs=3, lr=0.4, settings={"model.width": "0.25", "train.holdout": "0.25"}
    )


def test_each_row_runs_with_its_own_rate_and_fails_without_one(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues: list[list[Path]] = []

    def done(folders: list[Path], *_: object) -> dict[Path, str]:
        queues.append(folders)
        for folder in folders:
            if not folder.name.startswith("search"):
                finish(folder, **HITS)
            elif "model=tsm" not in str(folder):
                finish(
                    folder, top1=0.5, loss=1.0 if ("tpn" in str(folder)) == (folder.name == "search-lr=0.1") else 2.0
                )
        return {folder: "not finite" for folder in folders if not (folder / "result.json").exists()}

    monkeypatch.setattr(run, "run_queue", done)
    given = {"data": prepared, "out": tmp_path, "vary": ["model=tsn,tpn,tsm"], "seeds": 2}
    result = run.ablate(**given, search_lr=[0.1, 0.2])
    assert [row.searched and row.searched.lr for row in result.rows] == [0.2, 0.1, None]
    assert result.rows[2].failed == dict.fromkeys([0, 1], "every learning rate of the search failed: not finite")
    assert [len(folders) for folders in queues] == [6, 4]
    rates = {
        str(path.relative_to(tmp_path)): json.loads((path / "cell.json").read_text())["overrides"]["lr"]
        for path in queues[1]
    }
    assert rates == {
        "model=tsn/seed-0": 0.2, "model=tpn/seed-0": 0.1, "model=tsn/seed-1": 0.2, "model=tpn/seed-1": 0.1,
    }  # fmt: skip
    place = columns(result.rows).index("lr")
    assert [row[place] for row in cells(result.rows)] == ["0.2*", "0.1*", "–"]
    assert "lr: learning rate with the highest top-1 on held-out training clips" in markdown_table(result.rows)
    assert csv_table(result.rows).splitlines()[1].startswith("tsn,0.2,")
    assert plain_rows(result.rows)[0]["searched"] == {"top1": {0.1: 0.5, 0.2: 0.5}, "lr": 0.2}
    run.ablate(**given, search_lr=[0.1, 0.2])
    assert [str(path.relative_to(tmp_path)) for path in queues[2]] == [
        "model=tsm/search-lr=0.1",
        "model=tsm/search-lr=0.2",
    ]


def test_search_cell_is_scored_on_its_held_out_training_clips(
    prepared: Path, tiny: dict[str, str], tmp_path: Path
) -> None:
    from tdpn_core.ablation.worker import run_cell

    own = TrainOverrides(settings={**tiny, "train.epochs": "2"})
    call = {"data": str(prepared), "workers": 0, "recipe": "small", "overrides": own.given()}
    path = prepare_search(tmp_path, call, [0.001, 0.002], 1)[0.001]
    result = run_cell(path, 0)
    assert set(result) == {"top1", "loss"}
    assert choose_rate({0.001: path}).top1 == {0.001: result["top1"]}
    assert not list(path.rglob("report.md")), "the validation split is not scored"
