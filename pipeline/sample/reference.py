"""Definition, status and settlement records of the sample market, as the vendor writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import databento_dbn as dbn
import numpy as np
import numpy.typing as npt

from pipeline.sample.emit import PUBLISHER
from pipeline.sample.instruments import PRODUCT, Instrument
from pipeline.sample.schedule import Kind, Segment, utc_midnight, utc_ns
from pipeline.units import NS_PER_S, PRICE_SCALE, UNDEF_PRICE

Records = npt.NDArray[Any]

DEFINITION = np.dtype(dbn.InstrumentDefMsg._dtypes)  # noqa: SLF001  the library's own layout
STATUS = np.dtype(dbn.StatusMsg._dtypes)  # noqa: SLF001  the same
STATISTICS = np.dtype(dbn.StatMsg._dtypes)  # noqa: SLF001  the same

_MULTIPLIER = 50
_DISPLAY_FACTOR = PRICE_SCALE // 100
_UNSET_I32 = 2**31 - 1
_UNSET_I64 = 2**63 - 1
_UNSET_U16 = 2**16 - 1
_UNSET_U8 = 2**8 - 1
_UNSET_I8 = 2**7 - 1
_RTYPE_DEFINITION = 19
_RTYPE_STATUS = 18
_RTYPE_STATISTICS = 24

_SETTLEMENT, _NEW = 3, 1
_FINAL, _ACTUAL = 1, 2
"""Bits of ``stat_flags``."""
PRELIMINARY_AFTER = 10 * 60 * NS_PER_S
FINAL_AFTER = 110 * 60 * NS_PER_S
"""After the close; the final one comes when the next session trades already."""

_PRE_OPEN, _TRADING, _HALT, _CLOSE = 1, 7, 8, 12
_SCHEDULED, _SURVEILLANCE = 1, 2
_NO_EVENT, _NO_CANCEL = 0, 1


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * NS_PER_S


def definitions(day: date, instruments: Sequence[Instrument], by_symbol: dict[str, int]) -> Records:
    """The definitions that open a UTC day; a spread has one record a leg.

    ``by_symbol`` gives the instrument ids of the legs.
    """
    rows = [(one, leg) for one in instruments for leg in range(max(1, len(one.legs)))]
    out = np.zeros(len(rows), dtype=DEFINITION)
    sunday = day - timedelta(days=(day.weekday() + 1) % 7)
    out["length"] = DEFINITION.itemsize // 4
    out["rtype"] = _RTYPE_DEFINITION
    out["publisher_id"] = PUBLISHER
    out["ts_recv"] = utc_midnight(day)
    out["ts_event"] = utc_midnight(sunday) - 13 * 3600 * NS_PER_S
    for name in ("price_ratio", "strike_price", "leg_price", "leg_delta"):
        out[name] = UNDEF_PRICE
    for name in ("contract_multiplier", "decay_quantity", "original_contract_size"):
        out[name] = _UNSET_I32
    for name in ("main_fraction", "price_display_format", "sub_fraction", "tick_rule"):
        out[name] = _UNSET_U8
    out["decay_start_date"] = _UNSET_U16
    out["maturity_day"] = out["maturity_week"] = _UNSET_U8
    out["contract_multiplier_unit"] = out["flow_schedule_type"] = _UNSET_I8
    out["inst_attrib_value"] = 270_351
    out["market_depth"] = 10
    out["market_segment_id"] = 64
    out["appl_id"] = 310
    out["max_trade_vol"] = 3_000
    out["min_trade_vol"] = 1
    out["currency"] = "USD"
    out["group"] = out["asset"] = PRODUCT
    out["exchange"] = "XSIM"
    out["cfi"] = "FFIXSX"
    out["security_type"] = "FUT"
    out["unit_of_measure"] = "IPNT"
    out["match_algorithm"] = "F"
    out["underlying_product"] = 5
    out["security_update_action"] = "A"
    out["user_defined_instrument"] = "N"
    out["leg_instrument_class"] = " "
    out["leg_side"] = "N"
    out["display_factor"] = _DISPLAY_FACTOR
    out["unit_of_measure_qty"] = _MULTIPLIER * PRICE_SCALE
    for row, (one, leg) in zip(out, rows, strict=True):
        row["instrument_id"] = row["raw_instrument_id"] = one.instrument_id
        row["raw_symbol"] = one.symbol
        row["instrument_class"] = one.instrument_class
        row["min_price_increment"] = one.tick
        row["min_price_increment_amount"] = one.tick * _MULTIPLIER // 100
        row["expiration"] = _moment(one.expiration)
        row["activation"] = _moment("2024-03-15T13:30:00")
        row["maturity_year"], row["maturity_month"] = one.maturity
        band = 400 * PRICE_SCALE if not one.legs else 100 * PRICE_SCALE
        row["high_limit_price"] = one.start + band
        row["low_limit_price"] = one.start - band
        row["max_price_variation"] = 24 * one.tick
        if one.legs:
            symbol, side = one.legs[leg]
            row["secsubtype"] = "EQ"
            row["leg_count"] = len(one.legs)
            row["leg_index"] = leg
            row["leg_instrument_id"] = by_symbol[symbol]
            row["leg_raw_symbol"] = symbol
            row["leg_instrument_class"] = "F"
            row["leg_side"] = side
            for name in (
                "leg_ratio_price_numerator",
                "leg_ratio_price_denominator",
                "leg_ratio_qty_numerator",
                "leg_ratio_qty_denominator",
            ):
                row[name] = 1
    return out


def _status(
    ts_recv: int, ts_event: int, one: Instrument, action: int, reason: int, event: int
) -> Records:
    out = np.zeros(1, dtype=STATUS)
    out["length"] = STATUS.itemsize // 4
    out["rtype"] = _RTYPE_STATUS
    out["publisher_id"] = PUBLISHER
    out["instrument_id"] = one.instrument_id
    out["ts_event"] = ts_event
    out["ts_recv"] = ts_recv
    out["action"] = action
    out["reason"] = reason
    out["trading_event"] = event
    out["is_trading"] = "Y" if action == _TRADING else "N"
    out["is_quoting"] = "Y" if action in (_TRADING, _PRE_OPEN) else "N"
    out["is_short_sell_restricted"] = "~"
    return out


def halt_of(session: date, first: date) -> tuple[int, int]:
    """The short halt of the second instrument in the first session: (from, to), ns."""
    if session != first:
        return 0, 0
    begin = utc_ns(session, datetime(2000, 1, 1, 11, 17).time())  # noqa: DTZ001  a wall clock
    return begin, begin + 20 * NS_PER_S


def statuses(segment: Segment, instruments: Sequence[Instrument], delay: int) -> list[Records]:
    """Status records that a segment of the day opens with, one an instrument.

    At midnight the vendor repeats the state that holds; ``delay`` (ns) is the way to the
    receiver otherwise.
    """
    at = segment.begin
    match segment.kind:
        case Kind.SNAPSHOT:
            opened = utc_ns(segment.session - timedelta(days=1), datetime(2000, 1, 1, 17).time())  # noqa: DTZ001  a wall clock
            return [
                _status(at, opened, one, _TRADING, _SCHEDULED, _NO_EVENT) for one in instruments
            ]
        case Kind.PRE_OPEN:
            action, event = _PRE_OPEN, _NO_EVENT
        case Kind.NO_CANCEL:
            action, event = _PRE_OPEN, _NO_CANCEL
        case Kind.OPEN:
            action, event = _TRADING, _NO_EVENT
        case Kind.CLOSE:
            action, event = _CLOSE, _NO_EVENT
        case _:
            return []
    return [
        _status(at + delay + 1_000 * k, at, one, action, _SCHEDULED, event)
        for k, one in enumerate(instruments)
    ]


def halt_statuses(one: Instrument, begin: int, end: int, delay: int) -> list[Records]:
    """HALT by surveillance, and trading again."""
    return [
        _status(begin + delay, begin, one, _HALT, _SURVEILLANCE, _NO_EVENT),
        _status(end + delay, end, one, _TRADING, _SURVEILLANCE, _NO_EVENT),
    ]


def settlements(
    close: int, session: date, instruments: Sequence[Instrument], prices: Sequence[int], delay: int
) -> list[Records]:
    """Settlement prices (1e-9) of a session: all preliminary ones, then all final ones.

    The first instrument's is revised by a tick.
    """
    found = []
    for after, flags in ((PRELIMINARY_AFTER, _ACTUAL), (FINAL_AFTER, _ACTUAL | _FINAL)):
        for k, (one, price) in enumerate(zip(instruments, prices, strict=True)):
            out = np.zeros(1, dtype=STATISTICS)
            out["length"] = STATISTICS.itemsize // 4
            out["rtype"] = _RTYPE_STATISTICS
            out["publisher_id"] = PUBLISHER
            out["instrument_id"] = one.instrument_id
            out["ts_event"] = close + after
            out["ts_recv"] = close + after + delay + 1_000 * k
            out["ts_ref"] = utc_midnight(session)
            revised = k == 0 and flags & _FINAL
            out["price"] = price + one.tick if revised else price
            out["quantity"] = _UNSET_I64
            out["stat_type"] = _SETTLEMENT
            out["update_action"] = _NEW
            out["stat_flags"] = flags
            found.append(out)
    return found
