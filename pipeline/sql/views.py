"""Which files make which view, and how stored columns become columns one can calculate with.

A view reads an explicit list of files: no wide globs, no ``union_by_name``.  The list is kept in
a variable of the connection, so that a view over thousands of partitions stays a line of SQL and
opens at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.stage import Partition
from pipeline.storage import COMMITS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DATED = ("date", "session")
"""Keys that are dates."""


@dataclass(frozen=True)
class Part:
    """A file of a table and the keys in its path."""

    table: str
    partition: Partition
    path: str
    version: int = 0
    """Schema version of the table when it was written."""


@dataclass(frozen=True)
class View:
    """A view over files of one table; all of one key layout and schema version, mostly."""

    name: str
    table: str
    parts: tuple[Part, ...]


def lake_parts(root: Path) -> list[Part]:
    """Every committed file of the lake; internal tables (``_...``) are left out.

    ``root`` is absolute: what the connection may read is told by folder.
    A folder without commit records (a copy, somebody else's Parquet) is taken as it lies.
    """
    if (root / COMMITS).is_dir():
        from pipeline.catalog import LakeCatalog

        catalog = LakeCatalog(root)
        return [
            Part(table, stored.partition, str(path), stored.table_version)
            for table in catalog.tables()
            if table[:1] not in "_."
            for stored in catalog.outputs(table)
            for path in stored.files
        ]
    return list(_walk(root))


def _walk(root: Path) -> Iterator[Part]:
    for table in sorted(_folders(root)):
        for folder, names, files in os.walk(root / table):
            names[:] = sorted(n for n in names if n[:1] not in "_.")
            keys = Partition.parse(os.path.relpath(folder, root / table))
            for name in sorted(files):
                if name.endswith(".parquet") and name[:1] not in "_.":
                    yield Part(table, keys, os.path.join(folder, name))


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return [entry.name for entry in entries if entry.is_dir() and entry.name[:1] not in "_."]


def plan_views(parts: Iterable[Part]) -> list[View]:
    """One view a table; for feature sets one each, and ``features`` for the default or only one.

    Tables with a key ``set`` have other columns in each set, so that one view of all cannot be.
    """
    tables: dict[str, list[Part]] = {}
    for part in parts:
        tables.setdefault(part.table, []).append(part)
    views: list[View] = []
    for table, items in tables.items():
        sets: dict[str, list[Part]] = {}
        for part in items:
            sets.setdefault(part.partition.get("set") or "", []).append(part)
        if set(sets) == {""}:
            views.append(View(table, table, tuple(items)))
            continue
        for name, chosen in sets.items():
            views.append(View(f"{table}_{_word(name)}", table, tuple(chosen)))
        main = "default" if "default" in sets else next(iter(sets)) if len(sets) == 1 else None
        if main is not None:
            views.append(View(table, table, tuple(sets[main])))
    return views


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)


def price_columns(table: str) -> frozenset[str]:
    """Names of the columns of a table that hold prices in 1e-9 units, from its declaration."""
    from pipeline.columns import Column
    from pipeline.documentation import all_tables
    from pipeline.tables import FEATURE_KEYS, MAX_DEPTH, book_table

    columns: Sequence[Column] = ()
    if table.startswith("vendor_"):
        from pipeline.errors import RequestError
        from pipeline.ingest.columns import vendor_table

        try:
            columns = vendor_table(table.removeprefix("vendor_").replace("_", "-")).columns
        except RequestError:  # a table of another program's making: shown as it is
            return frozenset()
    elif table in ("features", "labels"):
        columns = FEATURE_KEYS
    elif table == "book":
        columns = book_table(MAX_DEPTH).columns
    else:
        columns = next((t.columns for t in all_tables() if t.name == table), ())
    return frozenset(column.name for column in columns if column.unit in ("1e-9", "2e-9"))


def quote(name: str) -> str:
    """An identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def expression(name: str, type_: str, prices: frozenset[str]) -> str:
    """How a stored column is shown: exact decimal prices, signed sizes, times in whole ns."""
    column = quote(name)
    if name in prices and type_ == "BIGINT":
        # One multiplication of integers: exact, where a division would go through doubles.
        value = f"{column}::DECIMAL(18,0) * 0.000000001::DECIMAL(10,9)"
        return f"CAST({value} AS DECIMAL(18,9)) AS {column}"
    if type_ in ("UTINYINT", "USMALLINT", "UINTEGER", "TINYINT", "SMALLINT", "INTEGER") or (
        type_ == "UBIGINT" and name != "order_id"
    ):
        return f"CAST({column} AS BIGINT) AS {column}"
    if type_ in ("TIMESTAMPTZ_NS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"):
        # Zoned nanoseconds know no arithmetic in DuckDB; plain ones are UTC here.
        return f"CAST({column} AS TIMESTAMP_NS) AS {column}"
    return column


_ROW = "file_row_number"


class ViewMaker:
    """Creates the views of a lake on one connection.

    With ``row_keys`` the partition keys are values of each row, no longer constants of their
    file: filters on them skip no files, but "as of" joins are right.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], *, row_keys: bool
    ) -> None:
        self._connection = connection
        self._row_keys = row_keys
        self._spans = _expirations(parts)
        self._repeated = {
            owner for owner, spans in self._spans.items() if len({at for *_, at in spans}) > 1
        }
        self._files = 0
        self._set_expirations(parts)

    def create(self, view: View) -> None:
        """Create one view; files of other key layouts of the same table are appended, and so are
        those of older schema versions: columns they do not have are null.
        """
        layouts: dict[tuple[int, tuple[str, ...]], list[Part]] = {}
        for part in sorted(view.parts, key=lambda part: -part.version):
            keys = tuple(name for name, _ in part.partition.keys)
            layouts.setdefault((part.version, keys), []).append(part)
        prices = price_columns(view.table)
        selects = [
            self._select(view.table, keys, parts, prices) for (_, keys), parts in layouts.items()
        ]
        body = " UNION ALL BY NAME ".join(selects)
        self._connection.execute(f"CREATE VIEW {quote(view.name)} AS {body}")

    def _select(
        self, table: str, keys: tuple[str, ...], parts: Sequence[Part], prices: frozenset[str]
    ) -> str:
        variable = f"files_{self._files}"
        self._files += 1
        self._connection.execute(f"SET VARIABLE {variable} = ?", [[part.path for part in parts]])
        types = ", ".join(f"{quote(k)}: {'DATE' if k in DATED else 'VARCHAR'}" for k in keys)
        options = f"hive_partitioning = {bool(keys)}"
        if keys:
            options += f", hive_types = {{{types}}}"
        if self._row_keys:
            options += f", {_ROW} = true"
        source = f"read_parquet(getvariable('{variable}'), {options})"
        described = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        stored = {row[0]: row[1] for row in described if row[0] != _ROW}
        # The symbol stands behind the keys where it is a column: in packed days.
        keyed = (*keys, "symbol") if "date" in keys and "symbol" in stored else keys
        shown = [*dict.fromkeys(keyed), *(name for name in stored if name not in keyed)]
        columns = [
            expression(name, stored[name], frozenset() if name in keys else prices)
            for name in shown
        ]
        if self._row_keys:
            for i, name in enumerate(keys):
                key = quote(name)
                columns[i] = f"CASE WHEN {_ROW} >= 0 THEN {key} END AS {key}"
        if "symbol" in stored and "expiration" not in stored and table != "sources":
            place = 1 + shown.index("symbol")
            columns.insert(place, f"{self._expiration(stored)} AS expiration")
        return f"SELECT {', '.join(columns)} FROM {source}"

    def _expiration(self, stored: dict[str, str]) -> str:
        """The expiration beside the symbol, looked up in a map: its keys are constant in a file,
        so that it costs one look-up for a few thousand rows, and nothing where it is not asked
        for (a join would be carried out in every query).
        """
        if not self._spans or "dataset" not in stored:
            return "CAST(NULL AS TIMESTAMP_NS)"
        found = f"getvariable('{_BY_SYMBOL}')[concat_ws('|', dataset, symbol)]"
        dated = next((key for key in DATED if stored.get(key) == "DATE"), None)
        if dated is None or not self._repeated:
            return found
        by_day = f"getvariable('{_BY_DAY}')[concat_ws('|', dataset, symbol, {quote(dated)})]"
        return f"coalesce({found}, {by_day})"

    def _set_expirations(self, parts: Sequence[Part]) -> None:
        """Maps from dataset and symbol to expiration; where a symbol has had several (one-digit
        years repeat every decade), from dataset, symbol and day.
        """
        if not self._spans:
            return
        by_symbol = {
            "|".join(owner): spans[0][2]
            for owner, spans in self._spans.items()
            if owner not in self._repeated
        }
        by_day: dict[str, int] = {}
        for part in parts if self._repeated else ():
            keys = part.partition
            text = keys.get("date") or keys.get("session")
            dataset, symbol = keys.get("dataset") or "", keys.get("symbol")
            # The file of a packed day may hold any symbol.
            owners = self._repeated if symbol is None else {(dataset, symbol)} & self._repeated
            for owner in owners:
                if text is not None and owner[0] == dataset:
                    at = _span_of(self._spans[owner], date.fromisoformat(text))
                    by_day["|".join((*owner, text))] = at
        for name, values in ((_BY_SYMBOL, by_symbol), (_BY_DAY, by_day)):
            self._connection.execute(
                f"SET VARIABLE {name} = (SELECT MAP(?::VARCHAR[], "
                "list_transform(?::BIGINT[], lambda ns: make_timestamp_ns(ns))))",
                [list(values), list(values.values())],
            )


_BY_SYMBOL, _BY_DAY = "expiration_by_symbol", "expiration_by_day"

Spans = dict[tuple[str, str], list[tuple[date, date, int]]]


def _expirations(parts: Iterable[Part]) -> Spans:
    """By dataset and symbol: first date, last date, expiration in ns; in order of the dates."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    spans: Spans = {}
    wanted = ["symbol", "first_date", "last_date", "expiration"]
    for part in parts:
        dataset = part.partition.get("dataset")
        if part.table != "instruments" or dataset is None:
            continue
        file = pq.ParquetFile(part.path)
        if not set(wanted) <= set(file.schema_arrow.names):
            continue
        table: pa.Table = file.read(wanted)
        times = table["expiration"].cast(pa.int64()).to_pylist()
        columns = [table[name].to_pylist() for name in wanted[:3]]
        for symbol, first, last, expiration in zip(*columns, times, strict=True):
            if expiration is not None:
                spans.setdefault((dataset, symbol), []).append((first, last, expiration))
    return {key: sorted(rows) for key, rows in spans.items()}


def _span_of(spans: Sequence[tuple[date, date, int]], day: date) -> int:
    """Expiration of the span that holds a day, else of the last one begun before it.

    A session's date may lie days after the last UTC date seen.
    """
    begun = [span for span in spans if span[0] <= day]
    return (begun or spans)[-1 if begun else 0][2]
