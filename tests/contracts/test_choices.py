"""Which contract a series means: by calendar, by the volume before, never by what is to come."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Series, series_of
from pipeline.rolls import Choice, Contract, by_calendar, by_volume, delivery_month
from pipeline.stage import Partition, Selection

H, M, U = (Contract(n, i, first=0, last=last) for i, (n, last) in enumerate(
    (("ESH5", 4), ("ESM5", 30), ("ESU5", 60))
))  # fmt: skip


def told(choices) -> list[tuple[int, str, int, str]]:
    return [(c.session, c.contract.symbol, c.roll, c.why) for c in choices]


def test_by_calendar_a_contract_is_held_while_enough_sessions_are_left() -> None:
    assert told(by_calendar(4, [M, H], 3, 0)) == [
        (0, "ESH5", 0, "start"),
        (1, "ESH5", 0, "hold"),
        (2, "ESM5", 1, "calendar"),
        (3, "ESM5", 1, "hold"),
    ]
    assert [c[1] for c in told(by_calendar(6, [H, M], 0, 0))] == ["ESH5"] * 5 + ["ESM5"]
    assert told(by_calendar(6, [H, M], 0, 0))[5] == (5, "ESM5", 1, "expired")
    # The second contract, as long as there is one.
    assert [c[1] for c in told(by_calendar(4, [H, M], 3, 1))] == ["ESM5", "ESM5"]


def test_a_contract_without_expiration_is_never_left_by_calendar() -> None:
    unknown = Contract("ESH5", 0, 0, None)
    assert {c[1] for c in told(by_calendar(9, [unknown], 3, 0))} == {"ESH5"}


def test_by_volume_the_session_after_decides() -> None:
    volumes = {0: {"ESH5": 9, "ESM5": 1}, 1: {"ESH5": 4, "ESM5": 5}, 2: {"ESH5": 9, "ESM5": 1}}
    front = told(by_volume(4, [H, M, U], volumes, 0))
    assert front == [
        (0, "ESH5", 0, "start"),  # nothing known before: the nearest delivery
        (1, "ESH5", 0, "hold"),
        (2, "ESM5", 1, "volume"),
        (3, "ESM5", 1, "hold"),  # never back, whatever traded more
    ]
    assert [c[1] for c in told(by_volume(4, [H, M, U], volumes, 1))] == [
        "ESM5",
        "ESM5",
        "ESH5",
        "ESH5",
    ]


def test_equal_volumes_and_unknown_ones_change_nothing() -> None:
    assert {c[1] for c in told(by_volume(3, [H, M], {0: {"ESH5": 5, "ESM5": 5}}, 0))} == {"ESH5"}
    assert {c[1] for c in told(by_volume(3, [H, M], {}, 0))} == {"ESH5"}


def test_an_expired_contract_is_left_whatever_traded() -> None:
    volumes = {i: {"ESH5": 9, "ESM5": 1} for i in range(9)}
    assert told(by_volume(7, [H, M], volumes, 0))[5] == (5, "ESM5", 1, "expired")


def test_a_contract_counts_once_it_is_known() -> None:
    late = Contract("ESH5", 0, first=2, last=9)
    assert [c[1] for c in told(by_calendar(4, [late, M], 0, 0))] == ["ESM5", "ESM5", "ESH5", "ESH5"]


def slow_front(volumes: list[dict[str, int]], contracts: list[Contract]) -> list[str]:
    """The front by volume, session by session, in plain words."""
    held: Contract | None = None
    found = []
    for i in range(len(volumes) + 1):
        alive = [c for c in contracts if c.last is None or c.last >= i]
        before = volumes[i - 1] if i else {}
        if held is None:
            held = min(alive, key=lambda c: c.order)
        elif held not in alive:
            alive = [c for c in alive if c.order > held.order]
            if not alive:
                break
            held = min(alive, key=lambda c: (-before.get(c.symbol, 0), c.order))
        else:
            best = min(alive, key=lambda c: (-before.get(c.symbol, 0), c.order))
            if best.order > held.order and before[best.symbol] > before.get(held.symbol, 0):
                held = best
        found.append(held.symbol)
    return found


days = st.lists(
    st.fixed_dictionaries({s: st.integers(0, 3) for s in ("ESH5", "ESM5", "ESU5")}),
    min_size=1,
    max_size=12,
)


@given(days, days)
def test_the_front_by_volume_knows_nothing_of_its_own_session(
    volumes: list[dict[str, int]], other: list[dict[str, int]]
) -> None:
    contracts = [H, M, U]
    n = len(volumes) + 1

    def front(traded: list[dict[str, int]], sessions: int) -> list[Choice]:
        return list(by_volume(sessions, contracts, dict(enumerate(traded)), 0))

    whole = front(volumes, n)
    assert [c.contract.symbol for c in whole] == slow_front(volumes, contracts)
    cut = len(volumes) // 2
    assert front([*volumes[:cut], *other], cut + 1) == whole[: cut + 1]
    assert all(a.contract.order <= b.contract.order for a, b in pairwise(whole))


@pytest.mark.parametrize(
    ("symbol", "near", "month"),
    [
        ("ESH4", date(2024, 3, 1), date(2024, 3, 1)),
        ("ESH0", date(2019, 12, 1), date(2020, 3, 1)),
        ("ESZ9", date(2020, 1, 2), date(2019, 12, 1)),
        ("6EM25", date(2024, 3, 1), date(2025, 6, 1)),
    ],
)
def test_delivery_months(symbol: str, near: date, month: date) -> None:
    assert delivery_month(symbol, near) == month


def test_continuous_symbols_mean_outrights_of_their_root() -> None:
    series = series_of(" ES.v.0")
    assert series == Series("ES", "v", 0)
    assert str(series) == "ES.v.0"
    assert [s for s in ("ESM5", "MESM5", "ESM5-ESU5", "ES:BF M5-U5-Z5", "ES") if
            Series("ES", "c", 0).covers(s)] == ["ESM5"]  # fmt: skip
    assert [series_of(s) for s in ("ESM5", "BRK.B", "ES.n.0", "ES.v", "*")] == [None] * 5


def test_a_resolved_selection_admits_the_contract_of_the_session() -> None:
    chosen = Selection(
        symbols="ES.v.0,NQM5", contracts=frozenset({("GLBX.MDP3", "2025-03-05", "ESH5")})
    )

    def admits(symbol: str, **keys: str) -> bool:
        return chosen.admits(Partition.of(dataset="GLBX.MDP3", symbol=symbol, **keys))

    assert admits("ESH5", session="2025-03-05")
    assert not admits("ESH5", session="2025-03-06")
    assert not admits("ESM5", session="2025-03-05")
    assert admits("NQM5", session="2025-03-06")
    # Tables by UTC date: every contract may be needed.
    assert admits("ESM5", date="2025-03-05")
    assert not admits("ESM5-ESU5", date="2025-03-05")
