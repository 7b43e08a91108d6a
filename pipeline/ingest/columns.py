"""From records to columns: which columns a schema has, and arrays of them as Arrow.

``mbo`` and every ``vendor_<schema>`` table go the same way: fields are copied into column arrays
of the record's own types, and an array becomes an Arrow array where "undefined" turns into null,
here and nowhere else.  Columns follow the newest DBN version; what an older one lacks is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import PRICE, TEXT, TS, Column, Encoding
from pipeline.errors import InputError, RequestError
from pipeline.ingest.layouts import MARKET_SCHEMAS, record_class
from pipeline.tables import MBO, Table
from pipeline.units import UNDEF_PRICE

Kind = Literal["time", "price", "integer", "char", "text", "record", "source"]

Array = npt.NDArray[Any]

_BLOCK = 4096
"""Records copied at a time: all their columns are read while they are in the cache."""

_TRI_STATE = frozenset({"is_trading", "is_quoting", "is_short_sell_restricted"})
"""Characters Y, N, and ~ for "not available", which is null."""

_UNDEFINED_SIZES = frozenset(
    {"size", "paired_qty", "total_imbalance_qty", "market_imbalance_qty", "unpaired_qty"}
)

_MAX_IS_UNDEFINED = frozenset({"definition"})
"""Schemas all of whose integers stand at their type's maximum where undefined."""

CODED_TEXT = pa.dictionary(pa.int8(), TEXT)
"""Text of few values as codes: what :meth:`ColumnBuffer.take` gives for characters."""

_ASCII = pa.array([chr(code) for code in range(128)], TEXT)


@dataclass(frozen=True)
class Spec:
    """How one column comes from the records."""

    name: str
    kind: Kind
    dtype: np.dtype[Any]
    """Type it is kept in before it becomes Arrow."""
    undefined: int | None = None
    """Integer that stands for null."""


@dataclass(frozen=True)
class TablePlan:
    """A table and how each of its columns comes from the records of a schema."""

    schema: str
    table: Table
    specs: tuple[Spec, ...]
    index: str
    """The field that is the index time: ``ts_recv`` where the record has one."""

    @property
    def price(self) -> str | None:
        """The field whose steps show the tick size, if any."""
        names = {spec.name for spec in self.specs if spec.kind == "price"}
        return next((name for name in ("price", "close") if name in names), None)


def table_name(schema: str) -> str:
    """The lake's table for a Databento schema: ``mbo``, ``vendor_mbp_10``, ..."""
    return "mbo" if schema == "mbo" else "vendor_" + schema.replace("-", "_")


def vendor_table(schema: str) -> Table:
    """The ``vendor_<schema>`` table of a Databento schema such as ``mbp-10``.

    Raises
    ------
    RequestError
        If there is no such schema.
    """
    if schema not in MARKET_SCHEMAS or schema == "mbo":
        known = [name for name in MARKET_SCHEMAS if name != "mbo"]
        raise RequestError.unknown("schema", schema, known)
    return plan_of(schema).table


@cache
def plan_of(schema: str) -> TablePlan:
    """Table and column specifications of a schema (one of ``MARKET_SCHEMAS``)."""
    kind = record_class(MARKET_SCHEMAS[schema][1])
    fields = np.dtype(list(kind._dtypes)).fields  # noqa: SLF001 - no public way
    assert fields is not None
    times, prices = set(kind._timestamp_fields), set(kind._price_fields)  # noqa: SLF001
    specs = {
        name: _spec(schema, name, fields[name][0], times, prices)
        for name in kind._ordered_fields  # noqa: SLF001
        if name != "rtype"
    }
    specs["record"] = Spec("record", "record", np.dtype("u8"))
    specs["source"] = Spec("source", "source", np.dtype("u1"))
    index = "ts_recv" if "ts_recv" in specs else "ts_event"
    if schema == "mbo":
        return TablePlan(schema, MBO, tuple(specs[c.name] for c in MBO.columns), index)
    columns = tuple(_column(schema, spec) for spec in specs.values())
    table = Table(table_name(schema), "date", 1, f"the vendor's {schema} record", columns)
    return TablePlan(schema, table, tuple(specs.values()), index)


def _spec(schema: str, name: str, dtype: np.dtype[Any], times: set[str], prices: set[str]) -> Spec:
    if name in times:
        return Spec(name, "time", np.dtype("i8"), -1)
    if name in prices:
        return Spec(name, "price", np.dtype("i8"), UNDEF_PRICE)
    if dtype.kind == "S":
        return Spec(name, "char" if dtype.itemsize == 1 else "text", dtype)
    has_undefined = (
        (schema in _MAX_IS_UNDEFINED and name not in ("publisher_id", "instrument_id"))
        or (schema == "statistics" and name == "quantity")
        or (schema != "mbo" and name in _UNDEFINED_SIZES)
    )
    undefined = int(np.iinfo(dtype).max) if has_undefined else None
    return Spec(name, "integer", dtype, undefined)


_DESCRIPTIONS = {
    "ts_recv": "when the record could be known",
    "ts_event": "the venue's clock; start of the interval for bars",
    "ts_in_delta": "ts_recv minus the venue's sending time",
    "sequence": "the venue's message number, per channel",
    "publisher_id": "publisher",
    "instrument_id": "the vendor's instrument number of that day",
    "record": "position of the record in its original file",
    "source": "first 16 hex digits of the sha256 of the original file",
    "flags": "LAST 128 TOB 64 SNAPSHOT 32 MBP 16 BAD_TS 8 MAYBE_BAD 4",
    "depth": "index of the first level that changed",
}


def _column(schema: str, spec: Spec) -> Column:
    name = spec.name
    types: dict[Kind, pa.DataType] = {"time": TS, "price": PRICE, "char": TEXT, "text": TEXT}
    types["source"] = TEXT
    type_ = types.get(spec.kind) or pa.from_numpy_dtype(spec.dtype)
    unit = {"time": "ns", "price": "1e-9"}.get(spec.kind, "ns" if name == "ts_in_delta" else "")
    encoding: Encoding = "dict"
    if spec.kind in ("time", "record") or name in ("sequence", "ts_in_delta"):
        encoding = "delta"
    nullable = spec.kind in ("time", "price", "char", "text") or spec.undefined is not None
    description = _DESCRIPTIONS.get(name, f"the vendor's `{name}` of {schema}")
    return Column(name, type_, unit, description, nullable, encoding)


class BadValueError(ValueError):
    """A value no record may have, in a row of a column array."""

    def __init__(self, what: str, row: int) -> None:
        super().__init__(what)
        self.row = row


class BadRecordError(InputError):
    """The same, in a record of a file that is known by its ``source``."""

    def __init__(self, what: str, source: str, record: int) -> None:
        super().__init__(f"{source}: record {record:,}: {what}")
        self.what, self.source, self.record = what, source, record


class ColumnBuffer:
    """Rows of one partition as column arrays; grows up to ``limit`` rows, then is emptied."""

    def __init__(self, plan: TablePlan, limit: int) -> None:
        self.plan = plan
        self.rows = 0
        self.limit = limit
        self._capacity = 0
        self._was_full = False
        self._arrays: dict[str, Array] = {}
        self._sources: list[tuple[int, str]] = []

    def append(self, records: Array, numbers: Array, source: str) -> int:
        """Copy records in; returns how many fitted."""
        count = min(len(records), self.limit - self.rows)
        self._reserve(self.rows + count)
        if not self._sources or self._sources[-1][1] != source:
            self._sources.append((self.rows, source))
        start = self.rows
        self._arrays["record"][start : start + count] = numbers[:count]
        self._copy(records[:count], start)
        self.rows += count
        return count

    def _copy(self, records: Array, start: int) -> None:
        """The records' fields into the columns, from row ``start`` on."""
        if self.plan.schema == "mbo":
            from pipeline.ingest.gather import fits, gather  # compiles

            if fits(records.dtype) and records.flags.c_contiguous:
                gather(records, start, self._arrays)
                return
        names = set(records.dtype.names or ())
        wanted = [s for s in self.plan.specs if s.kind not in ("record", "source")]
        for at in range(0, len(records), _BLOCK):
            block = records[at : at + _BLOCK]
            rows = slice(start + at, start + at + len(block))
            for spec in wanted:
                target = self._arrays[spec.name]
                if spec.name not in names:
                    target[rows] = b"" if spec.dtype.kind == "S" else spec.undefined
                    continue
                values = block[spec.name]
                if spec.undefined is not None and values.dtype.itemsize < spec.dtype.itemsize:
                    low = np.iinfo(values.dtype).max
                    target[rows] = values
                    target[rows][values == low] = spec.undefined
                else:
                    target[rows] = values.view("i8") if spec.kind == "time" else values

    def _reserve(self, rows: int) -> None:
        if rows <= self._capacity:
            return
        # After a whole row group another one is likely: then nothing need grow step by step.
        capacity = min(self.limit, max(rows, 2 * self._capacity, _BLOCK))
        capacity = self.limit if self._was_full else capacity
        for spec in self.plan.specs:
            if spec.kind != "source":
                grown = np.empty(capacity, spec.dtype)
                if self.rows:
                    grown[: self.rows] = self._arrays[spec.name][: self.rows]
                self._arrays[spec.name] = grown
        self._capacity = capacity

    @property
    def bytes(self) -> int:
        return self._capacity * sum(spec.dtype.itemsize for spec in self.plan.specs)

    def column(self, name: str) -> Array:
        """The values of a field so far, in the record's own type (times as Int64)."""
        return self._arrays[name][: self.rows]

    def take(self) -> pa.Table:
        """All rows as an Arrow table; the buffer is empty after.

        The schema is the table's, but characters and ``source`` come as :data:`CODED_TEXT`.

        Raises
        ------
        BadRecordError
            For values no record may have.
        """
        rows, schema = self.rows, self.plan.table.schema()
        try:
            columns = [
                self._source_column() if spec.kind == "source" else to_arrow(spec, field, array)
                for spec, field in zip(self.plan.specs, schema, strict=True)
                for array in (self._arrays.get(spec.name, np.empty(0))[:rows],)
            ]
        except BadValueError as error:
            source = next(s for start, s in reversed(self._sources) if start <= error.row)
            record = int(self._arrays["record"][error.row])
            raise BadRecordError(str(error), source, record) from None
        self._was_full = rows == self.limit
        self.rows = self._capacity = 0
        self._arrays, self._sources = {}, []
        fields = [
            pa.field(field.name, column.type, field.nullable)
            for field, column in zip(schema, columns, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def _source_column(self) -> pa.Array:
        codes = np.zeros(self.rows, np.int8)
        names = list(dict.fromkeys(source for _, source in self._sources))
        for start, source in self._sources[1:]:
            codes[start:] = names.index(source)
        return _coded(codes, pa.array(names, TEXT))


def to_arrow(spec: Spec, field: pa.Field, values: Array) -> pa.Array:
    """A column array as Arrow, undefined values null.  The array must not change afterwards.

    Raises
    ------
    BadValueError
        For a value no record may have.
    """
    if spec.kind == "char":
        return _chars(spec.name, values, nullable=field.nullable)
    if spec.kind == "text":
        return _texts(values)
    if spec.kind == "time" and values.size and int(values.min()) < -1:
        what = f"{spec.name} is beyond the year 2262: the file is corrupt"
        raise BadValueError(what, int(np.argmax(values < -1)))
    mask = None
    if spec.undefined is not None:
        undefined = values == spec.undefined
        if undefined.any():
            mask = undefined
    if mask is not None and not field.nullable:
        what = f"{spec.name} is undefined: the file is corrupt"
        raise BadValueError(what, int(np.argmax(mask)))
    if spec.kind == "time":
        return pa.array(values, mask=mask).view(TS)
    return pa.array(values, type=field.type, mask=mask)


def _chars(name: str, values: Array, *, nullable: bool) -> pa.Array:
    """One-character codes as text; the zero byte is null."""
    codes = values.view(np.uint8)
    undefined = None
    if codes.size and (codes.min() == 0 or codes.max() > 127 or name in _TRI_STATE):
        undefined = codes == 0
        if name in _TRI_STATE:
            undefined |= codes == ord("~")
        bad = codes > 127
        if not nullable:
            bad |= undefined
        if bad.any():
            row = int(bad.argmax())
            what = f"{name} is the byte {int(codes[row])}, no character: the file is corrupt"
            raise BadValueError(what, row)
        undefined = undefined if undefined.any() else None
    return _coded(codes.view(np.int8), _ASCII, undefined)


def _coded(
    codes: npt.NDArray[np.int8], names: pa.Array, undefined: Array | None = None
) -> pa.Array:
    """Text from codes, which are its places in ``names``."""
    indices = pa.array(codes, mask=undefined)
    return pa.DictionaryArray.from_arrays(indices, names, safe=False)


def _texts(values: Array) -> pa.Array:
    """Zero-padded strings as text; the empty one is null."""
    raw = pa.array(values, type=pa.binary())
    try:
        text = raw.cast(TEXT)
    except pa.ArrowInvalid:
        text = pa.array([bytes(v).decode("utf-8", "replace") for v in values], TEXT)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, TEXT), text)
