"""The instruments of the sample market: two outrights and their calendar spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RequestError
from pipeline.sample.state import (
    ANCHOR,
    BASE,
    CENTRE,
    INSTRUMENT_ID,
    LEAD,
    MID2,
    NEAR,
    ORDER_MEAN,
    TARGET,
    TARGET_FAR,
    TICK,
    TRADE_MEAN,
    TRADE_SHARE,
    WEIGHT,
    Market,
)
from pipeline.units import PRICE_SCALE


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a definition says, and how the market in it behaves.

    Attributes
    ----------
    tick, start
        Smallest price step and the price the simulation starts at, in 1e-9.
    weight
        Share of all events, before normalising.
    queue
        Orders that a touch queue aims at.
    order_mean, trade_mean
        Mean size of ordinary resting and aggressive orders, contracts.
    trade_share
        Share of actions that are aggressive.
    lead
        Pull per tick of distance: positive towards the first instrument, negative (as a
        spread) towards the start price.
    """

    symbol: str
    instrument_id: int
    instrument_class: str
    tick: int
    start: int
    expiration: str
    maturity: tuple[int, int]
    weight: float
    queue: float
    order_mean: float
    trade_mean: float
    trade_share: float
    lead: float
    legs: tuple[tuple[str, str], ...] = ()
    """(leg symbol, its side when the spread is bought)."""


PRODUCT = "SIM"

INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        symbol="SIMM5",
        instrument_id=4_916,
        instrument_class="F",
        tick=PRICE_SCALE // 4,
        start=5_900 * PRICE_SCALE,
        expiration="2025-06-20T13:30:00",
        maturity=(2025, 6),
        weight=0.66,
        queue=12.0,
        order_mean=2.4,
        trade_mean=3.0,
        trade_share=0.075,
        lead=0.0,
    ),
    Instrument(
        symbol="SIMU5",
        instrument_id=14_160,
        instrument_class="F",
        tick=PRICE_SCALE // 4,
        start=5_952 * PRICE_SCALE,
        expiration="2025-09-19T13:30:00",
        maturity=(2025, 9),
        weight=0.24,
        queue=6.0,
        order_mean=1.7,
        trade_mean=2.0,
        trade_share=0.05,
        lead=0.12,
    ),
    Instrument(
        symbol="SIMM5-SIMU5",
        instrument_id=42_009_475,
        instrument_class="S",
        tick=PRICE_SCALE // 20,
        start=-52 * PRICE_SCALE,
        expiration="2025-06-20T13:30:00",
        maturity=(2025, 6),
        weight=0.10,
        queue=14.0,
        order_mean=9.0,
        trade_mean=6.0,
        trade_share=0.05,
        lead=-0.05,
        legs=(("SIMM5", "B"), ("SIMU5", "A")),
    ),
)


def choose(symbols: Sequence[str] | None) -> tuple[Instrument, ...]:
    """The instruments of these symbols in the market's own order; all for None.

    Raises
    ------
    RequestError
        For a symbol the sample market does not have, or for none at all.
    """
    if symbols is None:
        return INSTRUMENTS
    known = [one.symbol for one in INSTRUMENTS]
    for symbol in symbols:
        if symbol not in known:
            raise RequestError.unknown("symbol of the sample market", symbol, known)
    if not symbols:
        raise RequestError("the sample market needs at least one symbol: " + ", ".join(known))
    return tuple(one for one in INSTRUMENTS if one.symbol in symbols)


def fill_market(market: Market, instruments: Sequence[Instrument]) -> None:
    """Write the instruments' constants into the venue's arrays."""
    for i, one in enumerate(instruments):
        market.inst[i, INSTRUMENT_ID] = one.instrument_id
        market.inst[i, TICK] = one.tick
        market.inst[i, BASE] = one.start // one.tick - CENTRE
        market.inst[i, ANCHOR] = CENTRE
        market.inst[i, MID2] = 2 * CENTRE
        market.params[i, WEIGHT] = one.weight
        market.params[i, ORDER_MEAN] = one.order_mean
        market.params[i, TRADE_MEAN] = one.trade_mean
        market.params[i, TRADE_SHARE] = one.trade_share
        # Without the leader in the market there is nothing to follow.
        follows = one.lead > 0.0 and instruments[0].symbol != INSTRUMENTS[0].symbol
        market.params[i, LEAD] = 0.0 if follows else one.lead
        level = np.arange(NEAR)
        # Queues are longest a few ticks behind the touch and thin out further away.
        shape = np.where(level < 3, 1.0 + 0.3 * level, 1.6 * np.exp(-(level - 3) / 18.0))
        market.params[i, TARGET:] = one.queue * shape
        market.inst[i, TARGET_FAR] = int(one.queue * shape.sum() * 2.5)
