"""Columns of `rolls` and `volumes`: what continuous symbols are made of."""

from __future__ import annotations

import pyarrow as pa

from pipeline.columns import PRICE, TEXT, col

_SESSION = col("session", pa.date32(), "", "trading session")

VOLUME_COLUMNS = (
    _SESSION,
    col("contract", TEXT, "", "raw symbol of an outright future"),
    col("volume", pa.int64(), "contracts", "contracts traded in the session, all prints"),
    col("next_contract", TEXT, "", "the root's next delivery known by then", null=True),
    col("prints", pa.int64(), "", "trade prints in the session"),
)

ROLL_COLUMNS = (
    col("rule", TEXT, "", "c by the calendar, v by the previous session's volume"),
    col("rank", pa.int8(), "", "0 the front, 1 the next, ..."),
    _SESSION,
    col("contract", TEXT, "", "raw symbol the series means in the session"),
    col("roll", pa.int32(), "", "ordinal of the roll segment: rises when the contract changes"),
    col("why", TEXT, "", "start, hold, calendar, volume or expired"),
    col("contract_before", TEXT, "", "at a roll: the contract left", null=True),
    col(
        "gap",
        PRICE,
        "1e-9",
        "at a roll: mid of the new contract less the old one's, as the session before closed",
        null=True,
    ),
    col("sessions_left", pa.int32(), "", "sessions of the contract after this one", null=True),
    col(
        "volume_before",
        pa.int64(),
        "contracts",
        "its volume in the previous session; null where the lake has nothing of that",
        null=True,
    ),
)
