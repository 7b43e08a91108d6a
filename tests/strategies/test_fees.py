"""A strategy knows what a contract costs it: the session's fee, in ticks."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import polars as pl
import pytest

from pipeline.backtest import state as st
from pipeline.backtest.decisions import decisions_of
from pipeline.backtest.feature_files import FeatureFile
from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.units import NS_PER_S, PRICE_SCALE
from strategies.event import BUY, SELL, EventStrategy, Market
from strategies.interface import SignalStrategy
from strategies.running import Program
from tests.backtest.scenario import RULE, Session, Tape

# A tick of 0.25 is 12.50 of money; fees of 1.50 and 2.50, then 3.00 and 5.00.
MONEY = Money(
    tick=PRICE_SCALE // 4,
    multiplier=Fraction(50),
    fees=((1_500_000_000, 2_500_000_000, 0), (3_000_000_000, 5_000_000_000, 0)),
)


@dataclass
class Tells(EventStrategy):
    """Sends orders whose sizes are the fees in hundredths of a tick."""

    def on_session_start(self, m: Market) -> None:
        m.market(BUY, round(100 * m.maker_fee))
        m.market(SELL, round(100 * m.taker_fee))


@pytest.mark.parametrize("interpret", [True, False])
def test_event_strategies_read_the_fees_of_their_session(interpret):
    sessions = [
        Session(start - NS_PER_S, start + NS_PER_S, ((start, start + NS_PER_S),))
        for start in (0, 10 * NS_PER_S)
    ]
    options = SimOptions("exact", 1000, 1000, money=MONEY)
    replay = Replay(options, timetable(sessions, None), RULE)
    replay.employ(Program(Tells(), interpret=interpret).run([replay.market()]), sessions)
    replay.start_day(19700101)
    tape = Tape()
    tape.add(-500, "R N - 0 #0")
    replay.feed(tape.chunk())
    replay.finish(20 * NS_PER_S)

    assert replay.take(last=True).orders[:, st.O_SIZE].tolist() == [12, 20, 24, 40]


@dataclass(frozen=True)
class Costly(SignalStrategy):
    def features(self) -> tuple[str, ...]:
        return ("edge",)

    def target(self) -> pl.Expr:
        dear = pl.col("edge") > pl.col("maker_fee") + pl.col("taker_fee")
        return pl.when(dear).then(1).otherwise(0)


@dataclass(frozen=True)
class Constant(SignalStrategy):
    def features(self) -> tuple[str, ...]:
        return ()

    def target(self) -> pl.Expr:
        return pl.when(pl.col("taker_fee") > 0.3).then(1).otherwise(-1)


def test_targets_read_the_fees_as_columns(tmp_path):
    path = tmp_path / "part.parquet"
    pl.DataFrame(
        {
            "ts": pl.Series([1, 2, 3]).cast(pl.Datetime("ns", "UTC")),
            "event": [0, 1, 2],
            "bid_px": [100, 101, 102],
            "ask_px": [101, 102, 103],
            "edge": [0.3, 0.5, 0.7],
        }
    ).write_parquet(path)
    files = [FeatureFile(path)]

    def targets(strategy: SignalStrategy, session: int) -> list[int]:
        rows = decisions_of(strategy, files, MONEY.fees_in_ticks(session), check=True)
        return rows[:, st.D_TARGET].tolist()

    assert MONEY.fees_in_ticks(0) == (0.12, 0.2)
    assert targets(Costly(), 0) == [0, 1, 1]
    assert targets(Costly(), 1) == [0, 0, 1]
    assert targets(Constant(), 0) == [-1, -1, -1]
    assert targets(Constant(), 1) == [1, 1, 1]
