"""One ledger a currency: integers throughout, exact to 1e-9 of the currency at every mark.

Money is a Python int in units of 1e-9.  A fill's amount is price x size x multiplier, rounded
once (half to even) where a multiplier has more digits than money can hold; everything after
that is addition.  Identities that hold to the integer, always:

    cash + value - fees = equity = realised + unrealised - fees

Lots are matched first in, first out.  A lot carries what was paid for it; what leaves a lot in
part takes its share rounded down, so that the parts add up to the whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from pipeline.errors import InputError
from pipeline.units import PRICE_SCALE

MONEY_SCALE: Final = 10**9
MONEY_LIMIT: Final = 10**38
"""Decimal(38, 9) holds less than this in 1e-9 units: a larger sum is an error, not a wrap."""


def half_even(top: int, bottom: int) -> int:
    """Nearest integer to top / bottom (positive), ties to the even one."""
    whole, rest = divmod(top, bottom)
    return whole + (2 * rest > bottom or (2 * rest == bottom and whole % 2 == 1))


def from_decimal(value: Decimal | str | int) -> int:
    """Money in 1e-9 units of a decimal.

    Raises
    ------
    ValueError
        If it has more than nine digits after the point.
    """
    # Not in decimal arithmetic: its 28 digits would round without a word.
    units = Fraction(value) * MONEY_SCALE
    if units.denominator != 1:
        raise ValueError(f"{value} has more than nine digits after the point")
    return int(units)


def checked(units: int) -> int:
    """The value, if a column of money can hold it.

    Raises
    ------
    InputError
        If it cannot: prices, sizes or a multiplier are absurd.
    """
    if not -MONEY_LIMIT < units < MONEY_LIMIT:
        raise InputError(f"money of {units} x 1e-9 exceeds 38 digits; check the multiplier")
    return units


@dataclass
class Lot:
    """Contracts of one fill that are still open, and what they cost (signed, 1e-9)."""

    size: int
    """Signed: positive is long."""
    cost: int
    """Price x size x multiplier at entry, signed as size is."""
    opened: int
    """Time of the fill, ns."""


@dataclass(frozen=True)
class RoundTrip:
    """From flat back to flat, or through it: times in ns, money in 1e-9, net of fees."""

    opened: int
    closed: int
    side: int
    """1 long, -1 short."""
    size: int
    """Contracts bought and sold: the largest position is at most this."""
    gross: int
    fees: int
    symbol: str = ""

    @property
    def net(self) -> int:
        return self.gross - self.fees


@dataclass
class Page:
    """The ledger's page of one instrument."""

    multiplier: Fraction
    """Money of one whole price unit, exact."""
    position: int = 0
    lots: deque[Lot] = field(default_factory=deque)
    realised: int = 0
    trip_opened: int = 0
    trip_size: int = 0
    trip_gross: int = 0
    trip_fees: int = 0

    def amount(self, price: int, size: int) -> int:
        """Price (1e-9) x size x multiplier in money of 1e-9."""
        return half_even(self.multiplier.numerator * price * size, self.multiplier.denominator)

    def value(self, mark_2x: int) -> int:
        """The position at a mid given as bid + ask (2e-9)."""
        top = self.multiplier.numerator * mark_2x * self.position
        return half_even(top, 2 * self.multiplier.denominator)

    @property
    def cost(self) -> int:
        return sum(lot.cost for lot in self.lots)


class Ledger:
    """Cash, positions and fees of one currency.

    >>> ledger = Ledger("USD")
    >>> ledger.open("ESM5", Decimal(50))
    >>> ledger.fill("ESM5", ts=0, price=5000 * 10**9, size=2, fee=5 * 10**9)
    0
    >>> ledger.fill("ESM5", ts=9, price=5001 * 10**9, size=-2, fee=5 * 10**9) // 10**9
    100
    >>> (ledger.equity({}) // 10**9, ledger.fees // 10**9)
    (90, 10)
    """

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.cash = 0
        self.fees = 0
        self.turnover = 0
        self.pages: dict[str, Page] = {}
        self.trips: list[RoundTrip] = []

    def open(self, symbol: str, multiplier: Decimal | Fraction | int) -> None:
        """Start a page for an instrument.

        Raises
        ------
        InputError
            If the multiplier is not positive: there is no default.
        """
        if multiplier <= 0:
            raise InputError(f"{symbol}: multiplier {multiplier} is not positive")
        self.pages[symbol] = Page(Fraction(multiplier))

    def fill(self, symbol: str, *, ts: int, price: int, size: int, fee: int) -> int:
        """Book a fill; size is signed (buy positive).  Returns the gross profit it realised."""
        page = self.pages[symbol]
        amount = page.amount(price, size)
        self.cash = checked(self.cash - amount)
        self.fees = checked(self.fees + fee)
        self.turnover = checked(self.turnover + abs(amount))
        realised = self._match(symbol, ts, size, amount, fee)
        page.realised += realised
        page.position += size
        return realised

    def _match(self, symbol: str, ts: int, size: int, amount: int, fee: int) -> int:
        """Close the oldest lots on the other side, open a lot with what is left."""
        page = self.pages[symbol]
        realised = 0
        left, money, fee_left = size, amount, fee
        while left and page.lots and (page.lots[0].size > 0) != (left > 0):
            lot = page.lots[0]
            closing = min(abs(left), abs(lot.size))
            # Shares are rounded down; the last part takes the rest, so parts add up.
            out_money = money * closing // abs(left)
            out_fee = fee_left * closing // abs(left)
            out_cost = lot.cost * closing // abs(lot.size)
            sign = 1 if left > 0 else -1
            left -= sign * closing
            money -= out_money
            fee_left -= out_fee
            lot.size += sign * closing
            lot.cost -= out_cost
            gross = -(out_money + out_cost)
            realised += gross
            page.trip_gross += gross
            page.trip_fees += out_fee
            if lot.size == 0:
                page.lots.popleft()
            if not page.lots:
                self._close_trip(symbol, ts, -sign)
        if left:
            if not page.lots:
                page.trip_opened, page.trip_size = ts, 0
            page.lots.append(Lot(left, money, ts))
            page.trip_size += abs(left)
            page.trip_fees += fee_left
        return realised

    def _close_trip(self, symbol: str, ts: int, side: int) -> None:
        self.trips.append(self._trip(symbol, ts, side))
        page = self.pages[symbol]
        page.trip_size = page.trip_gross = page.trip_fees = 0

    def _trip(self, symbol: str, ts: int, side: int) -> RoundTrip:
        page = self.pages[symbol]
        return RoundTrip(
            page.trip_opened, ts, side, page.trip_size, page.trip_gross, page.trip_fees, symbol
        )

    def open_trips(self) -> list[RoundTrip]:
        """Round trips under way, with what they have realised and paid so far; ``closed`` is 0."""
        return [
            self._trip(symbol, 0, 1 if page.position > 0 else -1)
            for symbol, page in self.pages.items()
            if page.position
        ]

    def value(self, marks: dict[str, int]) -> int:
        """All positions at their marks (bid + ask, by symbol); flat ones need none."""
        return checked(sum(page.value(marks[s]) for s, page in self.pages.items() if page.position))

    def equity(self, marks: dict[str, int]) -> int:
        """Cash + value - fees."""
        return checked(self.cash + self.value(marks) - self.fees)

    @property
    def realised(self) -> int:
        return sum(page.realised for page in self.pages.values())

    def unrealised(self, marks: dict[str, int]) -> int:
        """Value minus what the open lots cost."""
        return self.value(marks) - sum(page.cost for page in self.pages.values())


assert PRICE_SCALE == MONEY_SCALE  # amounts need no further scaling
