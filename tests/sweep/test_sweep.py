"""Sweeps on a small lake: trials are runs, what is stored stays, no test informs its choice."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pipeline.backtest.command import prepare
from pipeline.backtest.plan import plan_run
from pipeline.backtest.tables import RUNS
from pipeline.catalog import LakeCatalog
from pipeline.errors import RequestError
from pipeline.inventory import listing
from pipeline.lake import open_lake
from pipeline.schedule import StageSummary
from pipeline.stage import Selection
from pipeline.sweep.metrics import METRICS, ranking
from pipeline.sweep.request import Search, check_features, prepare_sweep
from pipeline.sweep.results import SweepResult
from pipeline.sweep.run import Outcome, plan_legs, run_legs
from pipeline.sweep.show import best_table, decay_table, heat_map, luck_lines, walk_lines
from pipeline.sweep.stage import SummariseMany
from pipeline.sweep.tables import SWEEPS
from pipeline.sweep.windows import WalkForward
from tests.e2e.running import digest
from tests.sweep.making import SETTINGS, Lake, days, request, with_readings

SESSIONS = 22
GRID = ("entry_z=2,3", "exit_z=0.5,1")
WALK = WalkForward(train=6, test=4, step=4, purge=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake")).seed(SESSIONS)


@pytest.fixture(scope="module")
def swept(lake):
    """The grid's result."""
    outcome = lake.sweep(request(*GRID))
    assert not outcome.failed
    return open_lake(lake.root).sweep(outcome.sweep_id)


def test_trials_are_the_runs_that_backtest_makes(lake, swept):
    texts = ["patience=1s", "style=aggressive", "stop_z=9", "entry_z=3", "exit_z=1"]
    single = prepare("mean_reversion", texts, SETTINGS)
    plan_run(single, LakeCatalog(lake.root), Selection())

    assert len(swept.rows) == 4
    (row,) = swept.trials.filter((pl.col("entry_z") == 3) & (pl.col("exit_z") == 1)).to_dicts()
    assert row["run_id"] == single.run_id
    own = open_lake(lake.root).run(single.run_id).summary
    assert row["value"] == float(own["net"]) == float(row["net"])
    assert row["sharpe"] == own["sharpe"] is not None


def test_rows_are_the_declared_ones(swept):
    (stored,) = swept.lake.partitions("sweeps", sweep_id=swept.sweep_id)

    assert pl.read_parquet(stored.files[0]).columns == [c.name for c in SWEEPS.columns]
    assert swept.rows["chosen"].sum() == 1
    assert swept.rows.filter("chosen")["value"][0] == swept.rows["value"].max()
    assert set(swept.rows["role"]) == {"all"}
    assert swept.rows["done"].all()
    assert swept.rows["sessions"].to_list() == [SESSIONS] * 4


def test_sweeps_are_listed_with_what_was_varied_and_how_many_failed(lake, swept, side):
    _, outcome, walked = walk(lake, side)
    header, rows = listing("sweeps", SETTINGS, lake.root)
    rows = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    first, last = str(days(SESSIONS)[0]), str(days(SESSIONS)[-1])

    assert list(rows) == sorted(open_lake(lake.root).sweep_ids())
    assert rows[swept.sweep_id] == {
        "sweep_id": swept.sweep_id, "strategy": "mean_reversion", "varied": "entry_z, exit_z",
        "walk-forward": None, "trials": 4, "runs": 4, "failed": 0, "first": first, "last": last,
        "metric": "net", "reading": "exact",
    }  # fmt: skip
    found = rows[outcome.sweep_id]
    assert found["walk-forward"] == str(WALK)
    assert found["runs"] == len(set(walked.rows["run_id"])) > found["trials"]
    with pytest.raises(RequestError, match="listed whole"):
        listing("sweeps", SETTINGS, lake.root, ["entry_z"])


def test_profits_of_sessions_add_up_and_make_the_sharpe_ratio(swept):
    profits = swept.profits()

    for row in swept.trials.to_dicts():
        mine = profits.filter(pl.col("run_id") == row["run_id"])["profit"].to_numpy()
        assert len(mine) == SESSIONS
        assert math.isclose(mine.sum(), float(row["net"]), abs_tol=1e-6)
        ratio = mine.mean() / mine.std(ddof=1) * math.sqrt(252)
        assert row["sharpe"] == pytest.approx(ratio)
    assert swept.luck.sharpe == pytest.approx(swept.trials["sharpe"].max())
    best = swept.trials.row(swept.trials["sharpe"].arg_max(), named=True)
    assert swept.luckiest == best["trial"]


def test_what_is_stored_is_not_run_again(lake, swept):
    again = lake.sweep(request(*GRID))
    assert again.sweep_id == swept.sweep_id
    assert (lake.done("simulate"), lake.done("summarise"), lake.done("sweep")) == (0, 0, 0)

    lake.sweep(request("entry_z=2,3,4", "exit_z=0.5,1"))
    assert lake.done("simulate") == 2


def test_interrupted_sweeps_go_on(tmp_path, swept):
    lake = Lake(tmp_path).seed(SESSIONS)

    class Interrupted(Lake):
        def run(self, stages):
            if self.made and self.made[-1].stage == "simulate":
                raise KeyboardInterrupt
            return super().run(stages)

    with pytest.raises(KeyboardInterrupt):
        Interrupted(tmp_path).sweep(request("entry_z=2", "exit_z=0.5,1"))
    lake.sweep(request(*GRID))

    assert lake.done("simulate") == 2  # two were kept
    assert lake.done("summarise") == 4
    for table in ("runs", "sweeps"):
        made, whole = (digest(root / table) for root in (tmp_path, swept.lake.root))
        assert made
        assert made.items() <= whole.items()


@dataclass(frozen=True)
class Chosen:
    """What a walk-forward chose, and the runs it rested on."""

    points: list[str]
    trained: list[str]
    tested: list[str]


@pytest.fixture(scope="module")
def side(tmp_path_factory) -> str:
    """A strategy whose best parameter is a matter of chance, another in each window."""
    path = tmp_path_factory.mktemp("own") / "side.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import polars as pl\n"
        "from strategies.interface import SignalStrategy, parameter\n\n"
        "@dataclass(frozen=True)\nclass Side(SignalStrategy):\n"
        '    "Always on one side."\n'
        '    side: int = parameter(1, "", "1 long, -1 short")\n'
        '    def features(self):\n        return ("zscore_300s",)\n'
        "    def target(self):\n"
        '        return pl.when(pl.col("zscore_300s").is_not_null()).then(self.side * self.size)\n'
    )
    return f"{path}:Side"


def walk(lake: Lake, side: str) -> tuple[Chosen, Outcome, SweepResult]:
    texts = ["side=1,-1", "size=1,2", "style=aggressive"]
    outcome = lake.sweep(prepare_sweep(side, texts, SETTINGS, walk=WALK))
    result = open_lake(lake.root).sweep(outcome.sweep_id)
    by_role = {
        role: result.rows.filter(pl.col("role") == role).sort("window", "trial")
        for role in ("train", "test")
    }
    chosen = by_role["train"].filter("chosen")
    found = Chosen(
        chosen["point"].to_list(),
        by_role["train"]["run_id"].to_list(),
        by_role["test"]["run_id"].to_list(),
    )
    assert by_role["test"]["point"].to_list() == found.points
    assert len(set(found.points)) > 1  # the choices differ, or nothing is shown
    return found, outcome, result


def test_walk_forward_chooses_the_best_of_each_window_and_tests_it_later(lake, side):
    _, outcome, result = walk(lake, side)

    assert len(outcome.windows) == 3
    assert len(outcome.untested) == 3
    for window in outcome.windows:
        rows = result.rows.filter(pl.col("window") == window.number)
        train = rows.filter(pl.col("role") == "train")
        assert len(train) == 4
        assert set(train["first_session"]) == {window.train[0]}
        assert set(train["last_session"]) == {window.train[-1]}
        best = train.filter(pl.col("value") == train["value"].max())[0]
        (test,) = rows.filter(pl.col("role") == "test").to_dicts()
        assert test["trial"] == best["trial"][0]
        assert (test["first_session"], test["last_session"]) == (window.test[0], window.test[-1])
        traded = result.lake.run(test["run_id"]).equity.collect()["session"].unique().sort()
        assert traded.to_list() == list(window.test)


def test_out_of_sample_is_the_tests_one_after_the_other(lake, side):
    _, outcome, result = walk(lake, side)

    frame = result.out_of_sample

    assert frame["session"].to_list() == [day for w in outcome.windows for day in w.test]
    tests = result.trials.filter(pl.col("role") == "test")
    assert frame["equity"][-1] == pytest.approx(float(tests["net"].sum()))
    assert result.luck is None
    assert len(walk_lines(result)) == 1 + len(outcome.windows)


def test_no_test_session_informs_its_own_choice(lake, side, tmp_path):
    """Another market in the test sessions of a window: its choice and all before are the same."""
    before, outcome, _ = walk(lake, side)
    window = outcome.windows[1]
    other = Lake(tmp_path).seed(SESSIONS, changed=window.test)

    after, _, _ = walk(other, side)

    upto = window.number + 1
    assert after.trained[: 4 * upto] == before.trained[: 4 * upto]
    assert after.points[:upto] == before.points[:upto]
    assert after.tested[0] == before.tested[0]
    assert after.tested[1] != before.tested[1]  # the market there is another
    assert not set(after.trained[4 * upto :]) & set(before.trained[4 * upto :])


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(tmp_path):
    roots = [tmp_path / "one", tmp_path / "two"]
    for workers, root in enumerate(roots, 1):
        Lake(root, workers).seed(15).sweep(request("entry_z=2,3", walk=WALK))

    assert digest(roots[0]) == digest(roots[1])


def test_a_trial_that_fails_does_not_stop_the_others(lake, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import polars as pl\n"
        "from strategies.interface import SignalStrategy, parameter\n\n"
        "@dataclass(frozen=True)\nclass Odd(SignalStrategy):\n"
        '    "Peeks where asked to."\n'
        '    ahead: int = parameter(0, "rows", "how far it peeks")\n'
        '    def features(self):\n        return ("zscore_300s",)\n'
        "    def target(self):\n"
        '        z = pl.col("zscore_300s").shift(-self.ahead)\n'
        "        return pl.when(z > 0).then(1).otherwise(-1)\n"
    )

    outcome = lake.sweep(prepare_sweep(f"{path}:Odd", ["ahead=0,1"], SETTINGS))

    assert [leg.trial for leg in outcome.failed] == [1]
    assert any("looks into the future" in text for s in lake.made for _, text in s.failed)
    result = open_lake(lake.root).sweep(outcome.sweep_id)
    assert result.rows["done"].to_list() == [True, False]
    assert result.rows["value"].is_null().to_list() == [False, True]
    assert result.trials["net"].null_count() == 1
    header, rows = listing("sweeps", SETTINGS, lake.root)
    (row,) = (row for row in rows if row[0] == outcome.sweep_id)
    assert (row[header.index("runs")], row[header.index("failed")]) == (2, 1)
    assert result.luck.trials == 1
    assert len(best_table(result)) == 2


def test_combinations_the_strategy_refuses_are_left_out(lake):
    sweep = request("entry_z=0.4,2", "exit_z=0.5,1,3")

    assert [trial.point for trial in sweep.trials] == [
        {"entry_z": "2", "exit_z": "0.5"},
        {"entry_z": "2", "exit_z": "1"},
    ]
    assert len(sweep.refused) == 4
    assert "must hold" in sweep.refused[0][1]
    with pytest.raises(RequestError, match="must hold"):
        request("entry_z=1,2", "exit_z=3")


def test_equal_values_are_one_trial():
    assert len(request("entry_z=2,2.0,3").trials) == 2


def test_random_search_has_as_many_as_asked_for_and_begins_alike():
    few = request("entry_z=1..4", "exit_z=0..3", search=Search(5, 7))
    many = request("entry_z=1..4", "exit_z=0..3", search=Search(12, 7))
    other = request("entry_z=1..4", "exit_z=0..3", search=Search(12, 8))

    assert len(few.trials) == 5
    assert len(many.trials) == 12
    assert [t.point for t in many.trials[:5]] == [t.point for t in few.trials]
    assert [t.point for t in other.trials] != [t.point for t in many.trials]
    assert many.refused  # exit_z above entry_z was drawn, and another in its place


def test_requests_that_cannot_be(lake):
    for texts, options, words in (
        (("entry_z=2,3",), {"metric": "nett"}, "did you mean 'net'"),
        (("entry_z=2,3",), {"metric": "sharpe", "walk": WALK}, "needs 20 sessions"),
        (("entry_z=2,3", "entry_z=4"), {}, "twice"),
        (("entry_z=2,3",), {"latency": "0,1ms", "walk": WALK}, "cannot be chosen"),
    ):
        with pytest.raises(RequestError, match=words):
            request(*texts, **options)
    with pytest.raises(RequestError, match="needs 55 sessions"):
        lake.sweep(request("entry_z=2,3", walk=WalkForward(50, 5, 5)))
    with pytest.raises(RequestError, match="no features"):
        lake.sweep(request("entry_z=2,3"), Selection(symbols="ESM5"))


def test_latencies_decay(lake):
    readings = ("optimistic", "exact", "pessimistic")
    outcome = lake.sweep(request(latency="0,1ms,2s", settings=with_readings(*readings)))
    result = open_lake(lake.root).sweep(outcome.sweep_id)

    assert result.axes == ["latency"]
    assert result.reading == "exact"
    assert result.trials["latency"].to_list() == [0, 10**6, 2 * 10**9]
    assert len(result.readings) == 9
    lines = decay_table(result)
    assert lines[0].split() == ["latency", "0", "1ms", "2s"]
    nets = {r["run_id"]: r["net"] for r in result.readings.to_dicts() if r["reading"] == "exact"}
    shown = lines[3].split()
    assert shown[0] == "exact"
    assert [float(x.replace(",", "")) for x in shown[1:]] == [
        float(nets[run_id]) for run_id in result.rows["run_id"]
    ]
    assert nets[result.rows["run_id"][0]] != nets[result.rows["run_id"][2]]


def test_heat_map_has_the_values_of_the_trials(swept):
    frame = swept.heat("exit_z", "entry_z")

    assert frame.columns == ["entry_z", "0.5", "1.0"]
    for row in swept.trials.to_dicts():
        (line,) = frame.filter(pl.col("entry_z") == row["entry_z"]).to_dicts()
        assert line[str(row["exit_z"])] == row["value"]
    lines = heat_map(swept, "exit_z", "entry_z")
    assert lines[1].split() == ["0.5", "1"]
    assert [line.split()[0] for line in lines[2:]] == ["2", "3"]
    cells = [v for row in frame.select("0.5", "1.0").rows() for v in row]
    text = "\n".join(lines[2:])
    assert f"{max(cells):,.0f} ██" in text
    assert f"{min(cells):,.0f}" in text
    assert f"{min(cells):,.0f} ██" not in text


def test_heat_map_takes_the_median_over_other_axes(lake):
    outcome = lake.sweep(request(*GRID, "size=1,2"))
    result = open_lake(lake.root).sweep(outcome.sweep_id)

    frame = result.heat("exit_z", "entry_z")

    cell = result.trials.filter((pl.col("exit_z") == 1) & (pl.col("entry_z") == 2))["value"]
    assert len(cell) == 2
    assert frame.filter(pl.col("entry_z") == 2)["1.0"][0] == cell.median()
    assert "median over size" in heat_map(result, "exit_z", "entry_z")[0]


def test_heat_map_has_holes_where_the_strategy_refused(lake):
    outcome = lake.sweep(request("exit_z=2.5,0.5", "entry_z=2,3"))
    result = open_lake(lake.root).sweep(outcome.sweep_id)

    frame = result.heat("exit_z", "entry_z")

    assert frame.columns == ["entry_z", "0.5", "2.5"]
    assert frame["entry_z"].to_list() == [2.0, 3.0]
    assert frame["2.5"].is_null().to_list() == [True, False]


def test_a_parameter_may_be_called_like_a_column(lake, tmp_path):
    """Mean reversion has a ``window``; so does the table."""
    path = tmp_path / "own.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import polars as pl\n"
        "from strategies.interface import SignalStrategy, parameter\n\n"
        "@dataclass(frozen=True)\nclass Far(SignalStrategy):\n"
        '    "Fades far moves."\n'
        '    window: int = parameter(1, "rows", "mean over so many")\n'
        '    def features(self):\n        return ("zscore_300s",)\n'
        "    def target(self):\n"
        '        z = pl.col("zscore_300s").rolling_mean(self.window)\n'
        "        return pl.when(z > 0).then(-1).otherwise(1)\n"
    )
    outcome = lake.sweep(prepare_sweep(f"{path}:Far", ["window=1,5", "size=1,2"], SETTINGS))
    result = open_lake(lake.root).sweep(outcome.sweep_id)

    assert result.trials["window"].null_count() == 4
    assert result.trials["param_window"].to_list() == [1, 1, 5, 5]
    assert heat_map(result, "size", "window")[2].split()[0] == "1"
    walked = lake.sweep(prepare_sweep(f"{path}:Far", ["window=1,5"], SETTINGS, walk=WALK))
    assert len(walk_lines(open_lake(lake.root).sweep(walked.sweep_id))) == 4
    with pytest.raises(RequestError, match="unknown axis 'wndow'"):
        result.heat("size", "wndow")


def test_event_strategies_are_swept_alike(lake, tmp_path):
    """They read no features: their sessions are those of the records."""
    path = tmp_path / "own.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from strategies.event import BUY, EventStrategy, Market, parameter\n\n"
        "@dataclass\nclass Taker(EventStrategy):\n"
        '    "Buys once, at the market."\n'
        '    size: int = parameter(1, "contracts", "of the order", low=1)\n\n'
        "    def on_market_event(self, m: Market) -> None:\n"
        "        if m.two_sided() and m.working == 0 and m.position == 0:\n"
        "            m.market(BUY, self.size)\n"
    )
    sweep = prepare_sweep(f"{path}:Taker", ["size=1..2"], SETTINGS)
    assert check_features(sweep) == []

    outcome = lake.sweep(sweep)

    assert [text for s in lake.made for _, text in s.failed] == []
    result = open_lake(lake.root).sweep(outcome.sweep_id)
    one, two = result.trials["contracts"].to_list()
    assert two == 2 * one > 0
    assert result.trials["net"][1] == 2 * result.trials["net"][0]


def test_luck_is_told_in_sentences(swept):
    text = "\n".join(luck_lines(swept.luck, swept.luckiest))

    for part in ("by luck alone", "Deflated Sharpe ratio", "probability of overfitting"):
        assert part in text


def test_few_sessions_say_how_many_are_needed(tmp_path):
    lake = Lake(tmp_path).seed(5)
    outcome = lake.sweep(request("entry_z=2,3"))
    result = open_lake(tmp_path).sweep(outcome.sweep_id)

    assert result.luck.deflated is None
    assert "needs 20 sessions; there are 5" in luck_lines(result.luck, None)[0]
    assert result.trials["sharpe"].null_count() == 2


def test_ranking():
    assert ranking([1.0, None, 3.0, 3.0], "net") == [2, 3, 0]
    assert ranking([5.0, 2.0, None], "max_drawdown") == [1, 0]
    assert ranking([None, None], "net") == []
    assert set(METRICS) <= {c.name for c in RUNS.columns}


def test_points_are_json(swept):
    points = [json.loads(text) for text in swept.rows["point"]]

    assert points[0] == {"entry_z": "2", "exit_z": "0.5"}
    assert Path(swept.lake.root / "sweeps" / f"sweep_id={swept.sweep_id}").is_dir()
    assert days(3)[0] == swept.rows["first_session"][0]


def test_a_run_that_lacks_a_symbol_has_no_figures(lake):
    """They would be those of another run."""
    sweep = request("entry_z=2,3,4")
    legs, _, _ = plan_legs(sweep, lake.root, Selection())
    for leg in legs:
        plan_run(leg.request, LakeCatalog(lake.root), Selection())
    summed: list[str] = []

    def run(stages):
        (stage,) = stages
        if isinstance(stage, SummariseMany):
            summed.extend(leg.run_id for leg in stage.legs)
            return [StageSummary("summarise", failed=[(legs[2].run_id, "no space")])]
        return [StageSummary("simulate", failed=[(f"{legs[1].run_id} SIM.MDP3 SIMU5", "odd")])]

    outcome = Outcome("")
    run_legs(legs, run, lambda _: None, outcome)

    assert summed == [legs[0].run_id, legs[2].run_id]
    assert outcome.failed == [legs[1], legs[2]]
