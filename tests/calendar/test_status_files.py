"""The final session of a symbol from its vendor_status files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.calendar import Session, calendar_for, utc_dates
from pipeline.calendar_status import session_with_status
from pipeline.errors import InputError
from pipeline.ingest.columns import vendor_table
from tests.calendar.test_rules import OWN, ns

PRE_OPEN, NEW_PRICE, TRADING, HALT, CLOSE = 1, 6, 7, 8, 12
CME = calendar_for("GLBX.MDP3", "ESM5")
NS = 10**9
LATE = 7_000_000
"""Status records arrive some milliseconds after the clock."""

Row = tuple[str, int] | tuple[str, int, str | None]


def write(folder: Path, rows: list[Row]) -> list[Path]:
    """Files of the lake's schema, one a UTC day."""
    schema = vendor_table("status").schema()
    by_day: dict[str, list[Row]] = {}
    for row in rows:
        by_day.setdefault(row[0][:10], []).append(row)
    paths = []
    for day, own in by_day.items():
        times = [ns(row[0]) + (0 if row[0].endswith("00:00:00") else LATE) for row in own]
        filled = {
            "ts_recv": times,
            "ts_event": [ns(row[0]) for row in own],
            "action": [row[1] for row in own],
            "is_trading": [row[2] if len(row) == 3 else None for row in own],
        }
        columns = []
        for field in schema:
            zero = None if field.nullable else ("" if pa.types.is_string(field.type) else 0)
            values = filled.get(field.name, [zero] * len(own))
            is_time = pa.types.is_timestamp(field.type)
            array = pa.array(values, pa.int64() if is_time else field.type)
            columns.append(array.cast(field.type))
        path = folder / f"date={day}" / "part-0.parquet"
        path.parent.mkdir()
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)
        paths.append(path)
    return paths


def scheduled(day: str) -> Session:
    found = CME.session(date.fromisoformat(day))
    assert found is not None
    return found


def spans(session: Session) -> list[str]:
    """Segments in UTC; a dot marks an edge at the delay of the status records."""

    def text(ts: int) -> str:
        late = "." if ts % NS == LATE else ""
        return f"{datetime.fromtimestamp(ts // NS, UTC):%d %H:%M:%S}{late}"

    return [f"{text(a)} - {text(b)}" for a, b in session.segments]


ORDINARY: list[Row] = [
    ("2025-05-05 00:00:00", TRADING),
    ("2025-05-05 21:00:00", CLOSE),
    ("2025-05-05 21:45:00", PRE_OPEN),
    ("2025-05-05 22:00:00", TRADING),
    ("2025-05-06 00:00:00", TRADING),
    ("2025-05-06 21:00:00", CLOSE),
    ("2025-05-06 21:45:00", PRE_OPEN),
    ("2025-05-06 22:00:00", TRADING),
]


def test_an_ordinary_session_between_two_others(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    found = session_with_status(CME, session, write(tmp_path, ORDINARY))
    # The last session's trading reaches milliseconds beyond the boundary: not ours.
    assert spans(found) == ["05 22:00:00. - 06 21:00:00"]
    assert found.open_ns == session.open_ns + LATE
    assert (found.preopen_ns, found.end_ns) == (session.preopen_ns, session.end_ns)
    assert (found.rth, found.early_close) == (session.rth, False)
    assert utc_dates(found) == utc_dates(session)


def test_files_may_come_in_any_order_and_as_text(tmp_path: Path) -> None:
    session, paths = scheduled("2025-05-06"), write(tmp_path, ORDINARY)
    forth = session_with_status(CME, session, paths)
    assert session_with_status(CME, session, [str(path) for path in reversed(paths)]) == forth


def test_without_files_the_schedule_holds() -> None:
    session = scheduled("2025-05-06")
    assert session_with_status(CME, session, []) == session


def test_on_a_day_without_a_file_the_schedule_holds(tmp_path: Path) -> None:
    # The session after Martin Luther King Day; the holiday's own file is missing.
    session = scheduled("2025-01-21")
    rows: list[Row] = [
        ("2025-01-19 22:45:00", PRE_OPEN),
        ("2025-01-19 23:05:00", TRADING),
        ("2025-01-21 00:00:00", TRADING),
        ("2025-01-21 22:00:00", CLOSE),
    ]
    found = session_with_status(CME, session, write(tmp_path, rows))
    assert spans(found) == [
        "19 23:05:00. - 20 18:00:00",
        "20 23:00:00 - 21 22:00:00",
    ]
    first_only = session_with_status(CME, session, [tmp_path / "date=2025-01-19/part-0.parquet"])
    assert spans(first_only) == spans(found)


def test_a_holiday_told_by_its_records(tmp_path: Path) -> None:
    session = scheduled("2025-01-21")
    rows: list[Row] = [
        ("2025-01-19 00:00:00", CLOSE),
        ("2025-01-19 22:00:00", PRE_OPEN),
        ("2025-01-19 23:00:00", TRADING),
        ("2025-01-20 00:00:00", TRADING),
        ("2025-01-20 18:00:00", HALT),
        ("2025-01-20 22:45:00", PRE_OPEN),
        ("2025-01-20 23:00:00", TRADING),
        ("2025-01-21 00:00:00", TRADING),
        ("2025-01-21 22:00:00", CLOSE),
    ]
    found = session_with_status(CME, session, write(tmp_path, rows))
    assert spans(found) == ["19 23:00:00. - 20 18:00:00.", "20 23:00:00. - 21 22:00:00"]
    assert [f"{day:%d}" for day in utc_dates(found)] == ["19", "20", "21"]


def test_an_early_close_no_table_knew_of(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    rows = [*ORDINARY[:5], ("2025-05-06 17:00:00", CLOSE), *ORDINARY[6:]]
    found = session_with_status(CME, session, write(tmp_path, rows))
    assert found.early_close
    assert found.close_ns == ns("2025-05-06 17:00") + LATE
    assert found.rth == (ns("2025-05-06 13:30"), found.close_ns)


def test_a_close_before_the_regular_hours_leaves_none(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    rows = [*ORDINARY[:5], ("2025-05-06 12:00:00", CLOSE), *ORDINARY[6:]]
    assert session_with_status(CME, session, write(tmp_path, rows)).rth is None


def test_the_flag_decides_where_the_action_does_not(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    halt: list[Row] = [
        ("2025-05-06 15:00:00", HALT, "N"),
        ("2025-05-06 15:05:00", NEW_PRICE, None),
        ("2025-05-06 15:10:00", NEW_PRICE, "Y"),
        ("2025-05-06 15:20:00", 14, "Y"),
    ]
    found = session_with_status(CME, session, write(tmp_path, [*ORDINARY[:5], *halt]))
    assert spans(found) == ["05 22:00:00. - 06 15:00:00.", "06 15:10:00. - 06 21:00:00"]


def test_a_halted_instrument_stays_halted_over_midnight(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    rows: list[Row] = [
        *ORDINARY[:4],
        ("2025-05-05 23:00:00", HALT),
        ("2025-05-06 00:00:00", HALT),
        ("2025-05-06 02:00:00", TRADING),
    ]
    found = session_with_status(CME, session, write(tmp_path, rows))
    assert spans(found) == ["05 22:00:00. - 05 23:00:00.", "06 02:00:00. - 06 21:00:00"]


def test_the_users_hours_win_and_nothing_is_read() -> None:
    calendar = calendar_for("X.Y", "ABC", {"mine": OWN})
    session = calendar.session(date(2025, 5, 1))
    assert session is not None
    assert session_with_status(calendar, session, [Path("nowhere")]) == session


def test_files_that_are_no_status_files(tmp_path: Path) -> None:
    session = scheduled("2025-05-06")
    other, torn = tmp_path / "other.parquet", tmp_path / "torn.parquet"
    pq.write_table(pa.table({"ts_recv": [1], "action": [7]}), other)
    torn.write_bytes(b"PAR1")
    for path, message in (
        (other, "is no vendor_status file: it has no is_trading"),
        (torn, "cannot be read"),
        (tmp_path / "absent.parquet", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message) as raised:
            session_with_status(CME, session, [path])
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)


def test_the_real_pause_of_2020(real_data: Path, tmp_path: Path) -> None:
    import databento_dbn as dbn
    import zstandard

    path = real_data / "datasets" / "GLBX.MDP3" / "test_data.status.dbn.zst"
    decoder = dbn.DBNDecoder()
    decoder.write(zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read())
    records = [r for r in decoder.decode() if isinstance(r, dbn.StatusMsg)]
    schema = vendor_table("status").schema()
    table = pa.table(
        {
            "ts_recv": pa.array([r.ts_recv for r in records]).cast(schema.field("ts_recv").type),
            "action": pa.array([int(r.action) for r in records], pa.uint16()),
            "is_trading": ["Y" if r.is_trading else "N" for r in records],
        }
    )
    pq.write_table(table, tmp_path / "part-0.parquet")

    session = scheduled("2020-12-28")
    found = session_with_status(CME, session, [tmp_path / "part-0.parquet"])

    # Monday's file alone: Sunday evening by the schedule, the pause at the cash close as it was.
    assert len(found.segments) == len(session.segments) == 2
    assert found.segments[0][0] == session.open_ns == ns("2020-12-27 23:00")
    assert found.segments[0][1] == ns("2020-12-28 21:15") + 7_055_917
    assert found.segments[1] == (ns("2020-12-28 21:30") + 7_282_029, ns("2020-12-28 22:00"))
