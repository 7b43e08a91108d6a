"""From the kernel's rows to the rows of ``orders``, ``fills`` and ``equity``.

The simulator knows prices and contracts; here they become money: one page of a ledger for one
symbol and reading, fed in the order of time.  Rows that are not final yet wait, so that a long
run needs no more memory than a session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.backtest import state as st
from pipeline.backtest.ledger import Ledger
from pipeline.backtest.money import money_column
from pipeline.backtest.replay import Rows
from pipeline.backtest.tables import (
    EQUITY,
    FILL_REASONS,
    FILLS,
    MARKOUT_HORIZONS,
    ORDER_REASONS,
    ORDER_STATUS,
    ORDER_TYPES,
    ORDERS,
    ROLES,
    TIMES_IN_FORCE,
)
from pipeline.book.columns import column_of, text_of
from pipeline.book.layout import I64
from pipeline.columns import PRICE, SIZE, TS
from pipeline.tables import Table
from pipeline.units import UNDEF_PRICE

SIDES = ("B", "A")
"""Text of a side by its code: we buy, we sell."""
MARK_KINDS = ("clock", "session_end", "kill_switch")


@dataclass(frozen=True)
class Contract:
    """What money of a symbol needs to know."""

    symbol: str
    product: str
    multiplier: Fraction
    """Money of one whole price unit."""
    tick: int
    """1e-9."""
    currency: str


Fee = Callable[[str, date], int]
"""Fee a contract (1e-9) by role and session."""


class Account:
    """Books the rows of one simulation.

    Parameters
    ----------
    reading
        optimistic, exact or pessimistic.
    contract
        The symbol's money.
    fee
        Fee a contract by role and session; raises where there is none.
    sessions
        Dates of the sessions by their number in the timetable.
    """

    def __init__(
        self, reading: str, contract: Contract, fee: Fee, sessions: Sequence[date]
    ) -> None:
        self.reading = reading
        self.contract = contract
        self.ledger = Ledger(contract.currency)
        self.ledger.open(contract.symbol, contract.multiplier)
        self._fee = fee
        self._sessions = sessions
        self._marks: deque[list[int]] = deque()
        self._booked = 0
        self._last_mark = UNDEF_PRICE

    def take(self, rows: Rows) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Book rows that became final; returns rows of ``orders``, ``fills``, ``equity``."""
        self._marks += rows.marks.tolist()
        equity: list[tuple[list[int], list[int]]] = []
        fees, realised = [], []
        for fill in rows.fills.tolist():
            self._mark_until(self._booked, equity)
            fee, profit = self._book(fill)
            fees.append(fee)
            realised.append(profit)
            self._booked += 1
        self._mark_until(self._booked, equity)
        return self._orders(rows), self._fills(rows, fees, realised), self._equity(equity)

    def _book(self, fill: list[int]) -> tuple[int, int]:
        size, session = fill[st.F_SIZE], self._sessions[fill[st.F_SESSION]]
        fee = self._fee(ROLES[fill[st.F_ROLE]], session) * size
        signed = size if fill[st.F_SIDE] == 0 else -size
        price = fill[st.F_PRICE]
        profit = self.ledger.fill(
            self.contract.symbol, ts=fill[st.F_TS], price=price, size=signed, fee=fee
        )
        if self._last_mark == UNDEF_PRICE:
            self._last_mark = 2 * price
        return fee, profit

    def _mark_until(self, fills: int, out: list[tuple[list[int], list[int]]]) -> None:
        """Take the marks that were made after so many fills."""
        while self._marks and self._marks[0][st.M_FILLS] <= fills:
            mark = self._marks.popleft()
            if mark[st.M_MARK] != UNDEF_PRICE:
                self._last_mark = mark[st.M_MARK]
            ledger = self.ledger
            prices = {self.contract.symbol: self._last_mark}
            value, equity = ledger.value(prices), ledger.equity(prices)
            money = [
                ledger.cash, value, ledger.fees, equity,
                ledger.realised, ledger.unrealised(prices),
            ]  # fmt: skip
            assert equity == money[4] + money[5] - money[2], "the ledger does not balance"
            out.append((mark, money))

    # --- rows ---------------------------------------------------------------------------------

    def _same(self, text: str, n: int) -> pa.Array:
        return pa.array([text] * n, pa.string())

    def _dates(self, numbers: I64) -> pa.Array:
        return pa.array([self._sessions[n] for n in numbers.tolist()], pa.date32())

    def _orders(self, rows: Rows) -> pa.Table:
        own, n = rows.orders, len(rows.orders)
        joined = own[:, st.O_MARKER] >= 0
        columns = {
            "reading": self._same(self.reading, n),
            "order": _int64(np.arange(rows.first_order, rows.first_order + n)),
            "session": self._dates(own[:, st.O_SESSION]),
            "side": _text(own[:, st.O_SIDE], SIDES),
            "type": _text(own[:, st.O_TYPE], ORDER_TYPES),
            "tif": _text(own[:, st.O_TIF], TIMES_IN_FORCE),
            "price": _int64(own[:, st.O_PRICE]),
            "size": _uint32(own[:, st.O_SIZE]),
            "filled": _uint32(own[:, st.O_FILLED]),
            "status": _text(own[:, st.O_STATUS], ORDER_STATUS),
            "reason": _text(own[:, st.O_REASON], ORDER_REASONS),
            "ts_decided": _time(own[:, st.O_DECIDED]),
            "ts_arrived": _time(own[:, st.O_ARRIVED]),
            "ts_ended": _time(own[:, st.O_ENDED]),
            "event_arrived": _int64(own[:, st.O_EVENT]),
            "ahead_at_entry": _int64(np.where(joined, own[:, st.O_ENTRY_AHEAD], UNDEF_PRICE)),
            "orders_ahead": _int64(np.where(joined, own[:, st.O_ENTRY_ORDERS], UNDEF_PRICE)),
            "replaced": _uint32(own[:, st.O_REPLACED]),
            "bid_px": _int64(own[:, st.O_BID]),
            "ask_px": _int64(own[:, st.O_ASK]),
        }
        return _table(ORDERS, columns)

    def _fills(self, rows: Rows, fees: list[int], realised: list[int]) -> pa.Table:
        out, n = rows.fills, len(rows.fills)
        sign = np.where(out[:, st.F_SIDE] == 0, 1, -1)
        columns = {
            "reading": self._same(self.reading, n),
            "fill": _int64(np.arange(rows.first_fill, rows.first_fill + n)),
            "order": _int64(out[:, st.F_ORDER]),
            "session": self._dates(out[:, st.F_SESSION]),
            "ts": _time(out[:, st.F_TS]),
            "ts_known": _time(out[:, st.F_KNOWN]),
            "event": _int64(out[:, st.F_EVENT]),
            "record": pa.array(out[:, st.F_RECORD].astype(np.uint64)),
            "side": _text(out[:, st.F_SIDE], SIDES),
            "price": _int64(out[:, st.F_PRICE]),
            "size": _uint32(out[:, st.F_SIZE]),
            "role": _text(out[:, st.F_ROLE], ROLES),
            "reason": _text(out[:, st.F_REASON], FILL_REASONS),
            "ahead_at_entry": _int64(out[:, st.F_ENTRY_AHEAD]),
            "ahead": _int64(out[:, st.F_AHEAD]),
            "position": _int64(out[:, st.F_POSITION]),
            "fee": money_column(fees),
            "realised": money_column(realised),
            "currency": self._same(self.contract.currency, n),
            "bid_px": _int64(out[:, st.F_BID]),
            "ask_px": _int64(out[:, st.F_ASK]),
        }
        for h, name in enumerate(MARKOUT_HORIZONS):
            mark = out[:, st.F_MARK + h]
            known = mark != UNDEF_PRICE
            gain = (np.where(known, mark, 0) - 2 * out[:, st.F_PRICE]) * sign // 2
            columns[name] = _int64(np.where(known, gain, UNDEF_PRICE))
        return _table(FILLS, columns)

    def _equity(self, rows: list[tuple[list[int], list[int]]]) -> pa.Table:
        n = len(rows)
        marks = np.array([mark for mark, _ in rows], np.int64).reshape(n, st.MARK_COLUMNS)
        money = [money_column([m[i] for _, m in rows]) for i in range(6)]
        columns = {
            "reading": self._same(self.reading, n),
            "session": self._dates(marks[:, st.M_SESSION]),
            "ts": _time(marks[:, st.M_TS]),
            "event": _int64(marks[:, st.M_EVENT]),
            "kind": _text(marks[:, st.M_KIND], MARK_KINDS),
            "position": _int64(marks[:, st.M_POSITION]),
            "mark_2x": _int64(marks[:, st.M_MARK]),
            "cash": money[0],
            "value": money[1],
            "fees": money[2],
            "equity": money[3],
            "realised": money[4],
            "unrealised": money[5],
            "currency": self._same(self.contract.currency, n),
        }
        return _table(EQUITY, columns)


def _int64(values: npt.NDArray[np.int64]) -> pa.Array:
    """Int64 in which UNDEF_PRICE is null."""
    return column_of(np.ascontiguousarray(values), PRICE)


def _time(values: I64) -> pa.Array:
    return column_of(np.ascontiguousarray(values), TS)


def _uint32(values: I64) -> pa.Array:
    return pa.array(values.astype(np.uint32), SIZE)


def _text(codes: I64, names: Sequence[str]) -> pa.Array:
    return text_of(codes.astype(np.uint8), names)


def _table(table: Table, columns: dict[str, pa.Array]) -> pa.Table:
    return pa.Table.from_arrays([columns[c.name] for c in table.columns], schema=table.schema())
