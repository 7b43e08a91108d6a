"""Figures of a run: against plain loops on runs drawn at random, by hand, null where undefined."""

from __future__ import annotations

import math
from datetime import date
from statistics import mean, median, stdev
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as hyp

from pipeline.backtest.curve import Curve, drawdowns
from pipeline.backtest.fill_figures import ratio
from pipeline.backtest.metrics import Figures, calmar, figures, sharpe, sortino
from pipeline.backtest.tables import BREAKDOWNS, MARKOUT_HORIZONS, RUNS
from tests.backtest.ledgers import DAYS, ONE, TICK, Drawn, Fill, Mark, Order, hour, opening, runs

CAPITAL = 100_000 * ONE


def of(*parts: Drawn) -> Figures:
    return figures([part.rows() for part in parts], "USD", CAPITAL)


def split(found: Figures, name: str) -> dict[str, dict[str, Any]]:
    return {row["part"]: row for row in found.parts if row["split"] == name}


def share(top: float, bottom: float) -> float | None:
    return top / bottom if bottom else None


def merged(parts: list[Drawn]) -> list[tuple[int, date, int, int, bool]]:
    """Second, session, equity, notional and whether of the clock, at every mark of any."""
    found = []
    for second in sorted({m.second for p in parts for m in p.marks}):
        equity = notional = 0
        for part in parts:
            before = [m for m in part.marks if m.second <= second]
            equity += part.equity(before[-1]) if before else 0
            notional += abs(part.value(before[-1])) if before else 0
        now = [m for p in parts for m in p.marks if m.second == second]
        clock = any(m.kind == "clock" for m in now)
        found.append((second, max(m.session for m in now), equity, notional, clock))
    return found


# --- against the reference -----------------------------------------------------------------------


def profit_is_the_last_mark_and_adds_up(parts: list[Drawn], found: Figures) -> None:
    run = found.run
    net = sum(part.equity(part.marks[-1]) for part in parts if part.marks)
    realised = sum(part.realised() for part in parts)
    fees = sum(f.fee for part in parts for f in part.fills)
    assert (run["net"], run["fees"], run["realised"]) == (net, fees, realised)
    assert run["gross"] == net + fees == realised + run["unrealised"]
    assert run["net_long"] + run["net_short"] == net
    for name in ("session", "hour", "symbol", "direction"):
        rows = split(found, name).values()
        assert sum(row["net"] for row in rows) == net
        assert sum(row["fees"] for row in rows) == fees
        assert all(row["gross"] == row["net"] + row["fees"] for row in rows)
    for name in ("side", "role"):
        assert sum(row["fees"] for row in split(found, name).values()) == fees
    assert run["turnover"] == sum(
        abs(f.size) * f.price * part.multiplier for part in parts for f in part.fills
    )


def profit_by_session_hour_and_direction(parts: list[Drawn], found: Figures) -> None:
    sessions, hours = dict.fromkeys(DAYS, 0), dict.fromkeys((16, 17), 0)
    for part in parts:
        last = 0
        for mark in part.marks:
            change = part.equity(mark) - last
            last = part.equity(mark)
            sessions[mark.session] += change
            hours[hour(mark.second - 0.5)] += change
    there = {mark.session for part in parts for mark in part.marks}
    assert {p: r["net"] for p, r in split(found, "session").items()} == {
        str(day): value for day, value in sessions.items() if day in there
    }
    for part, row in split(found, "hour").items():
        assert row["net"] == hours[int(part)]
        assert row["zone"] == "America/Chicago"
    for name, side in (("long", 1), ("short", -1)):
        gross = fees = 0
        for part in parts:
            for trip in part.trips():
                if trip["side"] == side:
                    gross += trip["gross"]
                    fees += trip["fees"]
                    if trip["closed"] is None:
                        gross += part.rows().equity["unrealised"].to_pylist()[-1] * ONE
        assert split(found, "direction")[name]["gross"] == gross
        assert split(found, "direction")[name]["net"] == found.run[f"net_{name}"] == gross - fees


def drawdowns_are_the_spells_below_the_peak(parts: list[Drawn], found: Figures) -> None:
    run = found.run
    marks = merged(parts)
    falls = [max([0, *(m[2] for m in marks[: i + 1])]) - marks[i][2] for i in range(len(marks))]
    assert run["max_drawdown"] == (max(falls) if falls else None)
    if not any(falls):
        assert run["drawdown_peak"] is run["drawdown_s"] is run["underwater_s"] is None
        return
    deepest = falls.index(max(falls))
    dry = [i for i, fall in enumerate(falls) if fall == 0]
    before = max((i for i in dry if i < deepest), default=None)
    after = min((i for i in dry if i > deepest), default=None)
    peak = marks[before or 0][0]
    end = marks[-1 if after is None else after][0]
    assert run["drawdown_peak"] == peak * ONE
    assert run["drawdown_trough"] == marks[deepest][0] * ONE
    assert run["drawdown_recovery"] == (None if after is None else marks[after][0] * ONE)
    assert run["drawdown_s"] == end - peak
    first = 0 if before is None else before + 1
    last = len(marks) if after is None else after + 1
    assert run["drawdown_sessions"] == len({m[1] for m in marks[first:last]})
    spells = []
    for i, fall in enumerate(falls):
        if fall:
            start = max((d for d in dry if d < i), default=0)
            stop = min((d for d in dry if d > i), default=len(marks) - 1)
            spells.append(marks[stop][0] - marks[start][0])
    assert run["underwater_s"] == max(spells)


def exposure_counts_the_seconds_with_a_position(parts: list[Drawn], found: Figures) -> None:
    def check(row: dict[str, Any], chosen: Any, sign: int = 0) -> None:
        seconds = held = contracts = 0
        for part in parts:
            for start, end, mark in part.spans():
                if chosen(part, mark):
                    own = [part.position(second) for second in range(start, end)]
                    own = [p for p in own if sign == 0 or p * sign > 0]
                    seconds += end - start
                    held += sum(p != 0 for p in own)
                    contracts += sum(abs(p) for p in own)
        assert row["exposure"] == share(held, seconds)
        assert row["mean_position"] == share(contracts, seconds)

    check(found.run, lambda part, mark: True)
    for day in split(found, "session"):
        check(split(found, "session")[day], lambda part, mark, d=day: str(mark.session) == d)
    for name in split(found, "hour"):
        check(
            split(found, "hour")[name],
            lambda part, mark, n=name: hour(mark.second - 0.5) == int(n),
        )
    for name in split(found, "symbol"):
        check(split(found, "symbol")[name], lambda part, mark, n=name: part.symbol == n)
    check(split(found, "direction")["long"], lambda part, mark: True, 1)
    check(split(found, "direction")["short"], lambda part, mark: True, -1)
    positions = [abs(part.position(f.second)) for part in parts for f in part.fills]
    # Several fills of a second: the position between them counts, too.
    for part in parts:
        total = 0
        for fill in part.fills:
            total += fill.size
            positions.append(abs(total))
    assert found.run["max_position"] == max(positions, default=0)
    clock = [mark[3] / ONE for mark in merged(parts) if mark[4]]
    assert found.run["mean_notional"] == (pytest.approx(mean(clock)) if clock else None)
    assert found.run["max_notional"] == max((mark[3] for mark in merged(parts)), default=None)


def check_trades(row: dict[str, Any], trips: list[dict[str, Any]]) -> None:
    nets = [trip["gross"] - trip["fees"] for trip in trips]
    won, lost = [n for n in nets if n > 0], [n for n in nets if n < 0]
    assert row["trades"] == len(trips)
    assert row["hit_rate"] == share(len(won), len(nets))
    assert row["profit_factor"] == share(sum(won), -sum(lost))
    assert row["average_trade"] == (pytest.approx(mean(nets) / ONE) if nets else None)
    held = [trip["closed"] - trip["opened"] for trip in trips]
    assert row["holding_s"] == (pytest.approx(mean(held)) if held else None)
    if "average_win" in row:
        assert row["average_win"] == (pytest.approx(mean(won) / ONE) if won else None)
        assert row["average_loss"] == (pytest.approx(mean(lost) / ONE) if lost else None)
        assert row["holding_median_s"] == (median(held) if held else None)
        assert row["holding_max_s"] == (max(held) if held else None)
        assert row["trades_long"] == sum(trip["side"] > 0 for trip in trips)
        assert row["trades_short"] == sum(trip["side"] < 0 for trip in trips)


def trades_are_round_trips(parts: list[Drawn], found: Figures) -> None:
    trips = [{**t, "symbol": p.symbol} for p in parts for t in p.trips() if t["closed"] is not None]
    check_trades(found.run, trips)
    for name, row in split(found, "session").items():
        check_trades(row, [t for t in trips if str(t["session"]) == name])
    for name, row in split(found, "hour").items():
        check_trades(row, [t for t in trips if t["hour"] == int(name)])
    for name, row in split(found, "symbol").items():
        check_trades(row, [t for t in trips if t["symbol"] == name])
    for name, side in (("long", 1), ("short", -1)):
        check_trades(split(found, "direction")[name], [t for t in trips if t["side"] == side])


def check_fills(row: dict[str, Any], fills: list[Fill], prefix: str = "") -> None:
    for h, name in enumerate(MARKOUT_HORIZONS):
        known = [(f.markouts[h] / TICK, abs(f.size)) for f in fills if f.markouts[h] is not None]
        total = sum(size for _, size in known)
        expected = sum(gain * size for gain, size in known) / total if total else None
        assert row[f"{prefix}{name}"] == (None if expected is None else pytest.approx(expected))
    if prefix:
        return
    contracts = sum(abs(f.size) for f in fills)
    assert (row["fills"], row["contracts"]) == (len(fills), contracts)
    resting = [f for f in fills if f.role != "taker"]
    assert row["maker_share"] == share(sum(abs(f.size) for f in resting), contracts)
    queued = [f for f in resting if f.ahead is not None]
    ahead = sum(f.ahead * abs(f.size) for f in queued)
    assert row["ahead_at_fill"] == share(ahead, sum(abs(f.size) for f in queued))
    for name, h in (("adverse_1s", 1), ("adverse_10s", 2)):
        made = [f for f in fills if f.role == "maker" and f.markouts[h] is not None]
        bad = sum(abs(f.size) for f in made if f.markouts[h] < 0)
        assert row[name] == share(bad, sum(abs(f.size) for f in made))


def fills_are_weighted_by_contracts(parts: list[Drawn], found: Figures) -> None:
    fills = [f for part in parts for f in part.fills]
    check_fills(found.run, fills)
    for role in ("maker", "taker"):
        check_fills(found.run, [f for f in fills if f.role == role], f"{role}_")
    for name, row in split(found, "role").items():
        check_fills(row, [f for f in fills if f.role == name])
    for name, row in split(found, "side").items():
        check_fills(row, [f for f in fills if (f.size > 0) == (name == "B")])
    for name, row in split(found, "session").items():
        check_fills(row, [f for f in fills if str(f.session) == name])
    for name, row in split(found, "hour").items():
        check_fills(row, [f for f in fills if hour(f.second) == int(name)])
    for name, row in split(found, "symbol").items():
        check_fills(row, [f for part in parts if part.symbol == name for f in part.fills])


def orders_of_every_type_count_alike(parts: list[Drawn], found: Figures) -> None:
    run = found.run
    orders = [order for part in parts for order in part.orders]
    rested = [order for order in orders if order.ahead is not None]
    assert run["orders"] == len(orders)
    assert run["rejected"] == sum(order.status == "rejected" for order in orders)
    assert run["fill_ratio"] == share(sum(o.filled for o in rested), sum(o.size for o in rested))
    assert run["ahead_at_entry"] == share(sum(o.ahead for o in rested), len(rested))


def every_column_is_computed_and_every_null_is_allowed(parts: list[Drawn], found: Figures) -> None:
    given_ = {"reading", "currency", "strategy", "params", "settings", "source", "dataset"}
    given_ |= {"symbols", "queue_model", "simulated", "skipped"}

    assert {c.name for c in RUNS.columns} - given_ <= set(found.run)
    for row, table in [(found.run, RUNS), *((row, BREAKDOWNS) for row in found.parts)]:
        for column in table.columns:
            if column.name not in given_ and not column.nullable:
                assert row[column.name] is not None


@given(runs())
@settings(max_examples=40, deadline=None, phases=(Phase.reuse, Phase.generate))
def test_figures_agree_with_plain_loops(parts):
    found = of(*parts)

    profit_is_the_last_mark_and_adds_up(parts, found)
    profit_by_session_hour_and_direction(parts, found)
    drawdowns_are_the_spells_below_the_peak(parts, found)
    exposure_counts_the_seconds_with_a_position(parts, found)
    trades_are_round_trips(parts, found)
    fills_are_weighted_by_contracts(parts, found)
    orders_of_every_type_count_alike(parts, found)
    every_column_is_computed_and_every_null_is_allowed(parts, found)


# --- by hand --------------------------------------------------------------------------------------


def day_of(number: int, *mids: int) -> list[Mark]:
    """Marks of a session, a minute apart; the last one ends it."""
    start, last = opening(DAYS[number]), len(mids) - 1
    return [
        Mark(
            start + 60 * (i + 1),
            DAYS[number],
            2 * mid * ONE,
            "clock" if i < last else "session_end",
        )
        for i, mid in enumerate(mids)
    ]


def test_a_run_worked_out_by_hand():
    """Two sessions of four minutes from 16:57 to 17:01; multiplier 50, fee 1 a contract.

    Bought 2 at 100 after 30 s, sold 3 at 101 after 90 s (reverses to short 1), bought 1 at 103
    after 30 s of the next session, then 1 more at 104 at its last minute: still open.
    """
    start, after = opening(DAYS[0]), opening(DAYS[1])
    fills = [
        Fill(start + 30, DAYS[0], 2, 100 * ONE, "maker", 4, 2 * ONE, (None, TICK, -TICK, None)),
        Fill(start + 90, DAYS[0], -3, 101 * ONE, "taker", None, 3 * ONE, (-TICK, -TICK, 0, None)),
        Fill(after + 30, DAYS[1], 1, 103 * ONE, "maker", 0, ONE, (0, -TICK, None, None)),
        Fill(after + 200, DAYS[1], 1, 104 * ONE, "taker", None, ONE, (None,) * 4),
    ]
    marks = day_of(0, 101, 101, 102, 102) + day_of(1, 103, 103, 103, 105)
    orders = [Order(2, 2, 10, "filled"), Order(4, 1, 5), Order(1, 0, None, "rejected")]

    found = of(Drawn("X", 50, fills, marks, orders))

    run = found.run
    # Equity: 100 - 2; 100 - 5; then short at 101 with 102: 45; the same; -5 - 1 when closed at 103;
    # at the end one contract of 104 at 105: + 50 - 1.
    assert run["net"] == 43 * ONE
    assert (run["realised"], run["unrealised"], run["fees"]) == (0, 50 * ONE, 7 * ONE)
    assert (run["net_long"], run["net_short"]) == ((100 - 4 + 50 - 1) * ONE, (-100 - 2) * ONE)
    # From 98 at the first mark (95 at the second) down to -6, never to recover.
    assert run["max_drawdown"] == 104 * ONE
    assert run["drawdown_peak"] == (start + 60) * ONE
    assert run["drawdown_trough"] == (after + 60) * ONE
    assert run["drawdown_recovery"] is None
    assert run["drawdown_s"] == after + 240 - (start + 60)
    assert (run["drawdown_sessions"], run["underwater_sessions"]) == (2, 2)
    # Held 210 s of the first session, 30 s and 40 s of the second; two contracts for a minute.
    assert run["exposure"] == (210 + 70) / 480
    assert run["mean_position"] == (2 * 60 + 150 + 70) / 480
    assert (run["max_position"], run["max_notional"]) == (2, 2 * 101 * 50 * ONE)
    # Round trips: +96 in a minute, -102 overnight (fees: 2 + 2, 1 + 1).
    assert (run["trades"], run["trades_long"], run["trades_short"]) == (2, 1, 1)
    assert (run["hit_rate"], run["profit_factor"]) == (0.5, pytest.approx(96 / 102))
    assert (run["average_trade"], run["average_win"], run["average_loss"]) == (-3, 96, -102)
    assert (run["holding_s"], run["holding_max_s"]) == ((60 + 86340) / 2, 86340)
    assert run["turnover"] == (200 + 303 + 103 + 104) * 50 * ONE
    # Orders that rested: 3 of 6 contracts executed.
    assert (run["fill_ratio"], run["ahead_at_entry"], run["rejected"]) == (0.5, 7.5, 1)
    assert run["ahead_at_fill"] == pytest.approx(8 / 3)
    assert run["maker_markout_1s"] == pytest.approx((2 * 1 - 1) / 3)
    assert run["taker_markout_100ms"] == -1
    assert run["markout_60s"] is None
    assert (run["adverse_1s"], run["adverse_10s"]) == (pytest.approx(1 / 3), 1)
    # By hour: the first three minutes of each session lie before 17:00.
    hours = split(found, "hour")
    assert list(hours) == ["16", "17"]
    assert (hours["16"]["net"], hours["17"]["net"]) == ((45 - 51) * ONE, 49 * ONE)
    assert (hours["16"]["trades"], hours["17"]["trades"]) == (2, 0)
    assert hours["17"]["fills"] == 1
    sessions = split(found, "session")
    assert [row["net"] for row in sessions.values()] == [45 * ONE, -2 * ONE]
    # No mark of a session says anything of a ratio over sessions yet.
    assert run["sharpe"] is run["sortino"] is run["calmar"] is None


def test_nothing_traded_is_no_profit_and_no_ratio():
    run = of(Drawn("X", 50, [], day_of(0, 100, 100))).run

    zeros = ("net", "fees", "turnover", "max_drawdown", "trades", "fills", "max_position")
    assert [run[name] for name in zeros] == [0] * 7
    assert (run["exposure"], run["mean_notional"]) == (0, 0)
    nulls = (
        "hit_rate", "profit_factor", "average_trade", "holding_s", "fill_ratio", "maker_share",
        "markout_1s", "maker_markout_1s", "adverse_1s", "ahead_at_fill", "drawdown_s", "sharpe",
    )  # fmt: skip
    assert [name for name in nulls if run[name] is not None] == []


def test_hours_begin_where_the_session_opens():
    start = opening(DAYS[0])
    marks = [Mark(start + 60 * i, DAYS[0], 2 * ONE) for i in range(1, 600)]

    rows = split(of(Drawn(marks=marks)), "hour")

    assert list(rows) == ["16", "17", "18", "19", "20", "21", "22", "23", "00", "01", "02"]
    assert [row["rank"] for row in rows.values()] == list(range(11))


def test_ratios_are_null_under_twenty_sessions():
    returns = [0.01, -0.01] * 9 + [0.02]

    assert sharpe(returns) is None
    assert sortino(returns) is None
    assert calmar(returns, 0.1) is None


def test_ratios_of_twenty_sessions():
    returns = [0.02, -0.01] * 10

    assert sharpe(returns) == pytest.approx(mean(returns) / stdev(returns) * math.sqrt(252))
    downside = math.sqrt(10 * 0.01**2 / 20)
    assert sortino(returns) == pytest.approx(0.005 / downside * math.sqrt(252))
    assert calmar(returns, 0.05) == pytest.approx(0.005 * 252 / 0.05)


@given(hyp.lists(hyp.floats(-0.1, 0.1), min_size=20, max_size=30), hyp.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_sharpe_and_sortino_do_not_depend_on_the_scale(returns, scale):
    for figure in (sharpe, sortino):
        own, scaled = figure(returns), figure([r * scale for r in returns])
        if own is not None and scaled is not None and abs(own) < 1e6:
            assert scaled == pytest.approx(own, rel=1e-6, abs=1e-9)


def test_ratios_without_a_denominator_are_null():
    assert sharpe([0.01] * 30) is None
    assert sortino([0.01] * 30) is None
    assert calmar([0.01] * 30, 0.0) is None
    assert ratio(1, 0) is None
    assert ratio(0, 4) == 0


@pytest.mark.parametrize(
    ("equity", "depths"),
    [
        ([], []),
        ([5, 3, 9, 2, 4], [2, 7]),
        ([-3, -1], [3]),
        ([1, 2, 3], []),
        ([5, 4, 5, 4], [1, 1]),
    ],
)
def test_drawdowns_count_from_the_start_at_zero(equity, depths):
    n = len(equity)
    curve = Curve(list(range(n)), equity, [0] * n, [DAYS[0]] * n, [True] * n)

    found = drawdowns(curve)

    assert [spell.depth for spell in found] == depths
    assert all(spell.recovery is not None for spell in found[:-1])
