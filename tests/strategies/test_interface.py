"""Strategies: parameters, loading, targets, and no looking ahead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import RequestError
from strategies.interface import (
    SignalStrategy,
    build,
    check_causal,
    evaluate,
    hold,
    parameter,
    parameters,
)
from strategies.mean_reversion import MeanReversion
from strategies.ofi_momentum import OfiMomentum
from strategies.registry import load, names


def frame(**columns):
    return pl.DataFrame(columns)


def reversion(z, *, gap=9.0, lean=0.0, fee=0.12):
    columns = {"zscore_300s": z, "ema_gap_h60s": gap, "queue_imbalance": lean}
    columns |= {"spread": 1.0, "taker_fee": fee}
    return frame(**{name: _filled(value, len(z)) for name, value in columns.items()})


def _filled(value, n):
    return value if isinstance(value, list) else [value] * n


def test_mean_reversion_enters_holds_and_leaves():
    rows = reversion([None, 1.0, -2.6, -1.0, -0.4, 0.0, 2.6, 5.5, 2.6, 0.3])

    targets = evaluate(MeanReversion(size=2, entry_z=2.5), rows).to_list()
    assert targets == [0, 0, 2, 2, 0, 0, -2, 0, -2, 0]


def test_mean_reversion_does_not_trade_against_a_leaning_touch():
    rows = reversion([-3.0, -3.0, 3.0], lean=[-0.6, -0.4, 0.9])

    assert evaluate(MeanReversion(entry_z=2.5), rows).to_list() == [0, 1, 1]


def test_mean_reversion_wants_a_way_back_that_covers_its_costs():
    # Spread and two fees of 0.25 are 1.5 ticks; twice that is 3.
    rows = reversion([-3.5, -3.5, -3.5], gap=[-2.9, None, -3.0], fee=0.25)

    assert evaluate(MeanReversion(cover=2.0), rows).to_list() == [0, 0, 1]
    assert evaluate(MeanReversion(cover=1.9), rows).to_list() == [1, 1, 1]


def momentum(flow, book, *, spread=1.0):
    columns = {"ofi_normalised_10s": flow, "depth_imbalance_5": book, "spread": spread}
    return frame(**{name: _filled(value, len(flow)) for name, value in columns.items()})


def test_ofi_momentum_goes_with_flow_that_the_book_confirms():
    flow = [None, 4.0, 4.0, None, 1.0, -4.0, -0.5, -4.0, -4.0, 4.0]
    book = [0.5, 0.1, 0.5, None, 0.1, 0.1, -0.1, -0.2, -0.5, 0.5]

    targets = evaluate(OfiMomentum(size=2), momentum(flow, book)).to_list()
    assert targets == [0, 0, 2, 2, 2, 2, 0, 0, -2, 2]


def test_ofi_momentum_leaves_a_wide_touch_alone_but_not_a_trade():
    rows = momentum([4.0, 4.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.0], spread=[2.0, 1.0, 2.0, 2.0])

    assert evaluate(OfiMomentum(), rows).to_list() == [0, 1, 1, 0]


def test_ofi_momentum_can_hold_on_through_a_lean_against_it_or_let_go_early():
    rows = momentum([4.0, 0.0, 0.0, 0.0], [0.5, 0.1, -0.1, -0.25])

    assert evaluate(OfiMomentum(leave=-0.2), rows).to_list() == [1, 1, 1, 0]
    assert evaluate(OfiMomentum(leave=0.2), rows).to_list() == [1, 0, 0, 0]
    with pytest.raises(RequestError, match=r"leave 0.3 must be below lean 0.3, and not below -0.3"):
        OfiMomentum(leave=0.3)
    with pytest.raises(RequestError, match=r"leave -0.4 must be"):
        OfiMomentum(leave=-0.4)


@pytest.mark.parametrize("name", names())
def test_built_in_strategies_are_documented_and_read_known_features(name):
    from features.registry import FEATURES
    from pipeline.models.tables import PREDICTED

    loaded = load(name)

    assert loaded.summary
    assert loaded.strategy.regime
    assert all(item.doc for item in parameters(loaded.strategy).values())
    wanted = [name for name in loaded.strategy().features() if name not in PREDICTED]
    assert {c.name for c in FEATURES.resolve(wanted)} == set(wanted)
    # The first reads the book alone, the second what a model predicts.
    assert wanted or name in ("market_making", "ml")


def test_parameters_come_from_texts_over_settings_over_defaults():
    strategy = build(
        MeanReversion,
        {"entry_z": "3", "patience": "2s", "flatten": "no"},
        {"entry_z": 4, "flatten_before": "10m"},
    )

    assert strategy.entry_z == 3.0
    assert strategy.patience == 2_000_000_000
    assert strategy.flatten_before == 600_000_000_000
    assert strategy.flatten is False


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"entry_zz": "1"}, "did you mean 'entry_z'"),
        ({"entry_z": "far"}, "it is a number"),
        ({"size": "1.5"}, "it is a whole number"),
        ({"size": "0"}, "must be at least 1"),
        ({"flatten": "perhaps"}, "true or false"),
        ({"patience": "5"}, "not a duration"),
        ({"style": "pasive"}, "did you mean 'passive'"),
        ({"entry_z": "nan"}, "must be"),
        ({"entry_z": "9"}, "stop_z"),
    ],
)
def test_wrong_parameters_are_errors_that_help(texts, message):
    with pytest.raises(RequestError, match=message):
        build(MeanReversion, texts, {})


def test_unknown_strategy_names_the_nearest():
    with pytest.raises(RequestError, match="did you mean 'mean_reversion'"):
        load("mean_revresion")


OWN = '''
from __future__ import annotations
from dataclasses import dataclass
import polars as pl
from strategies.interface import SignalStrategy, parameter

@dataclass(frozen=True)
class Mine(SignalStrategy):
    """Always long."""
    level: float = parameter(1.0, "sigma", "a level")

    def features(self) -> tuple[str, ...]:
        return ("mid",)

    def target(self) -> pl.Expr:
        return pl.lit(self.size, dtype=pl.Int64).repeat_by(1).explode()
'''


def test_strategies_load_from_files(tmp_path: Path):
    path = tmp_path / "own.py"
    path.write_text(OWN)

    loaded = load(f"{path}:Mine")

    assert (loaded.name, loaded.summary) == ("Mine", "Always long.")
    assert build(loaded.strategy, {"level": "2"}, {}).values()["level"] == 2.0
    with pytest.raises(RequestError, match="did you mean 'Mine'"):
        load(f"{path}:Mime")
    with pytest.raises(RequestError, match="say which strategy"):
        load(str(path))
    with pytest.raises(RequestError, match="no such file"):
        load(f"{tmp_path / 'none.py'}:Mine")


def test_files_that_fail_to_load_say_why(tmp_path: Path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_this_name\n")

    with pytest.raises(RequestError, match="nothing_of_this_name"):
        load(f"{path}:Mine")


@dataclass(frozen=True)
class Peeks(SignalStrategy):
    how: str = parameter("shift")

    def features(self):
        return ("x",)

    def target(self):
        x = pl.col("x")
        return {
            "shift": hold(pl.when(x.shift(-1) > x).then(1).otherwise(-1)),
            "mean": hold(pl.when(x > x.mean()).then(1).otherwise(-1)),
            "past": hold(pl.when(x > x.rolling_mean(5)).then(1).otherwise(-1)),
            "float": x,
            "one": x.max().cast(pl.Int64),
            "column": pl.col("y"),
        }[self.how]


WAVE = frame(x=[float((i * 37) % 23) for i in range(200)])


@pytest.mark.parametrize("how", ["shift", "mean"])
def test_looking_ahead_is_found(how):
    with pytest.raises(RequestError, match="looks into the future"):
        check_causal(Peeks(how=how), WAVE, evaluate(Peeks(how=how), WAVE))


def test_looking_back_is_allowed():
    check_causal(Peeks(how="past"), WAVE, evaluate(Peeks(how="past"), WAVE))


@pytest.mark.parametrize(
    ("how", "message"),
    [("float", "whole number"), ("one", "1 values"), ("column", "cannot be computed")],
)
def test_targets_must_be_one_whole_number_a_row(how, message):
    with pytest.raises(RequestError, match=message):
        evaluate(Peeks(how=how), WAVE)
