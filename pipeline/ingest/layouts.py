"""Record layouts: which numpy dtype stands behind a record type, a length and a DBN version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import databento_dbn as dbn
import numpy as np

NEWEST = 3
"""The DBN version whose columns the vendor tables have."""

MARKET_SCHEMAS: dict[str, tuple[int, str]] = {
    "mbo": (160, "MBOMsg"),
    "mbp-1": (1, "MBP1Msg"),
    "mbp-10": (10, "MBP10Msg"),
    "tbbo": (1, "TBBOMsg"),
    "trades": (0, "TradeMsg"),
    "ohlcv-1s": (32, "OHLCVMsg"),
    "ohlcv-1m": (33, "OHLCVMsg"),
    "ohlcv-1h": (34, "OHLCVMsg"),
    "ohlcv-1d": (35, "OHLCVMsg"),
    "ohlcv-eod": (36, "OHLCVMsg"),
    "definition": (19, "InstrumentDefMsg"),
    "statistics": (24, "StatMsg"),
    "status": (18, "StatusMsg"),
    "imbalance": (20, "ImbalanceMsg"),
    "cmbp-1": (177, "CMBP1Msg"),
    "cbbo-1s": (192, "CBBO1SMsg"),
    "cbbo-1m": (193, "CBBO1MMsg"),
    "tcbbo": (194, "TCBBOMsg"),
    "bbo-1s": (195, "BBO1SMsg"),
    "bbo-1m": (196, "BBO1MMsg"),
}
"""Schema -> (record type, name of the record class)."""

CONTROL_RTYPES: dict[int, tuple[str, str]] = {
    21: ("error", "ErrorMsg"),
    22: ("symbol_mapping", "SymbolMappingMsg"),
    23: ("system", "SystemMsg"),
}
"""Record types that carry no market data: (reason they become no row, record class)."""

_SCHEMA_OF_RTYPE = {
    # tbbo has mbp-1's record type: a file that names its schema decides, a stream is mbp-1.
    rtype: schema
    for schema, (rtype, _) in reversed(MARKET_SCHEMAS.items())
    if schema != "tbbo"
}
# An old type that stood for bars of any length.
_OHLCV_DEPRECATED = 17

RTYPE_SYMBOL_MAPPING = 22

MIN_RECORD_BYTES = 16
"""The header all records share."""


@dataclass(frozen=True)
class Layout:
    """How the records of one type, version and length are read."""

    schema: str
    """Databento schema, or the reason why such records become no row."""
    control: bool
    dtype: np.dtype[Any]
    """Exactly as long as the record, ``ts_out`` included where it is appended."""


def record_class(name: str, version: int = NEWEST) -> Any:
    """The record class of a DBN version, with its ``_dtypes`` and kinds of fields."""
    return getattr(getattr(dbn, f"v{version}"), name)


def schema_of_rtype(rtype: int) -> str | None:
    return _SCHEMA_OF_RTYPE.get(rtype)


def is_record_head(length: int, rtype: int) -> bool:
    """True if some version has records of that length and type."""
    return any(
        layout(rtype, length, NEWEST, None, ts_out=ts_out) is not None for ts_out in (False, True)
    )


@cache
def layout(
    rtype: int, length: int, version: int, schema: str | None, *, ts_out: bool
) -> Layout | None:
    """The layout of records of ``length`` bytes; None where no known version has such.

    ``schema`` is what the file's header says, or None for a stream of mixed records; a file of
    one schema holds its records and control records only.  Records of another version than the
    header's are taken by their length: live streams mix them.
    """
    control = rtype in CONTROL_RTYPES
    if control:
        name, class_name = CONTROL_RTYPES[rtype]
    else:
        found = schema_of_rtype(rtype) if schema is None else schema
        if found is None or not _fits(found, rtype):
            return None
        name, class_name = found, MARKET_SCHEMAS[found][1]
    versions = [version, *(v for v in range(NEWEST, 0, -1) if v != version)]
    for candidate in versions:
        fields = list(record_class(class_name, candidate)._dtypes)  # noqa: SLF001 - no public way
        for extra in ([("ts_out", "u8")], []) if ts_out else ([],):
            dtype = np.dtype(fields + extra)
            if dtype.itemsize == length:
                return Layout(name, control, dtype)
    return None


def _fits(schema: str, rtype: int) -> bool:
    expected = MARKET_SCHEMAS.get(schema)
    if expected is None:
        return False
    return expected[0] == rtype or (rtype == _OHLCV_DEPRECATED and schema.startswith("ohlcv"))
