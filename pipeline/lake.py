"""The lake as quants use it: ``open_lake(...)``, ``scan``, ``book_at``, ``run``, ``sql``.

>>> lake = open_lake("data/lake")                                     # doctest: +SKIP
>>> lake.scan("book", symbols="MES*", start="2025-05-01").collect()   # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from pipeline.catalog import LakeCatalog
from pipeline.contracts import Series, legs, resolve, series_in
from pipeline.errors import RequestError
from pipeline.stage import Selection, Stored

DEFAULT_SET = "default"
"""The feature set that is meant where several exist and none is named."""

if TYPE_CHECKING:
    import polars as pl

    from pipeline.book.at import BookAt
    from pipeline.sweep.results import SweepResult

WHICH_COMMAND = {
    "mbo": "mbo ingest",
    "sources": "mbo ingest",
    "instruments": "mbo ingest",
    "book": "mbo book",
    "flow": "mbo book",
    "trades": "mbo book",
    "consolidated": "mbo book",
    "quality": "mbo book",
    "order_life": "mbo book --order-life",
    "queue": "mbo book --queue",
    "statistics": "mbo features",
    "fits": "mbo features",
    "volumes": "mbo features",
    "rolls": "mbo features",
    "features": "mbo features",
    "labels": "mbo features",
    "models": "mbo train",
    "predictions": "mbo train",
    "scores": "mbo train",
    "runs": "mbo backtest",
    "orders": "mbo backtest",
    "fills": "mbo backtest",
    "equity": "mbo backtest",
    "breakdowns": "mbo backtest",
    "sweeps": "mbo sweep",
}
"""Which command makes a table, for messages."""


def open_lake(path: str | Path = "data/lake") -> Lake:
    """Open a lake for reading.  Cheap: nothing is scanned before it is asked for.

    Raises
    ------
    RequestError
        If there is no such folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise RequestError(f"{root}: no lake here; run `mbo ingest` first")
    return Lake(root)


@dataclass(frozen=True)
class Run:
    """One backtest: its row of ``runs`` and its tables as lazy frames."""

    run_id: str
    lake: Lake

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The row of ``runs``: parameters and figures, undefined ones None.  Where a run has
        several readings the first is returned; :attr:`readings` has them all.
        """
        return self.readings.row(0, named=True)

    @property
    def readings(self) -> pl.DataFrame:
        return self._scan("runs").collect()

    @property
    def orders(self) -> pl.LazyFrame:
        return self._scan("orders")

    @property
    def fills(self) -> pl.LazyFrame:
        return self._scan("fills")

    @property
    def equity(self) -> pl.LazyFrame:
        return self._scan("equity")

    def by(self, split: str) -> pl.DataFrame:
        """The run taken apart: by ``session``, ``hour``, ``symbol``, ``direction``, ``side`` or
        ``role``; the rows of ``breakdowns`` in their order, for each reading and currency.

        Raises
        ------
        RequestError
            For another split.
        """
        import polars as pl

        from pipeline.backtest.tables import SPLITS

        if split not in SPLITS:
            raise RequestError.unknown("split", split, SPLITS)
        return self._scan("breakdowns").filter(pl.col("split") == split).collect()

    def _scan(self, table: str) -> pl.LazyFrame:
        return self.lake.scan(table, run_id=self.run_id)


@dataclass(frozen=True)
class Model:
    """A model as it was trained: its tables as lazy frames."""

    model_id: str
    lake: Lake

    @property
    def models(self) -> pl.LazyFrame:
        """What was fitted: a row a block of sessions and part."""
        return self._scan("models")

    @property
    def predictions(self) -> pl.LazyFrame:
        """A row a decision point."""
        return self._scan("predictions")

    @property
    def scores(self) -> pl.LazyFrame:
        """How it did, session by session."""
        return self._scan("scores")

    def _scan(self, table: str) -> pl.LazyFrame:
        return self.lake.scan(table, model=self.model_id)


@dataclass(frozen=True)
class Lake:
    """A lake opened for reading; only committed partitions are seen."""

    root: Path

    @cached_property
    def catalog(self) -> LakeCatalog:
        return LakeCatalog(self.root)

    def tables(self) -> list[str]:
        """Names of the tables that hold something."""
        return [name for name in self.catalog.tables() if not name.startswith("_")]

    def partitions(
        self,
        table: str,
        *,
        dataset: str | None = None,
        symbols: str | Sequence[str] | None = None,
        start: str | date | None = None,
        end: str | date | None = None,
        **keys: str,
    ) -> list[Stored]:
        """Committed partitions of a table.

        Parameters
        ----------
        symbols
            Shell-style pattern; several in a list, or separated by commas.  In tables keyed by
            session also continuous symbols (``ES.v.0``): the contract each session means.
        start, end
            UTC dates, or sessions for tables keyed by session; inclusive.
        keys
            Other keys: ``set="mine"`` (where a lake has several feature sets: else the default
            one), ``run_id="..."``, ``model="..."``.

        Raises
        ------
        RequestError
            For an unknown table, one that is empty, or a selection that matches nothing.
        """
        stored = self.catalog.partitions(table)
        if not stored:
            if table in WHICH_COMMAND:
                raise RequestError(
                    f"{self.root} holds no {table}; `{WHICH_COMMAND[table]}` makes it"
                )
            raise RequestError.unknown("table", table, self.tables(), where=str(self.root))
        if not isinstance(symbols, str | None):
            symbols = ",".join(symbols)
        if "set" not in keys and (chosen_set := _implied_set(table, stored)):
            keys = {**keys, "set": chosen_set}
        selection = Selection(dataset, symbols, as_date(start), as_date(end))
        if asked := series_in(symbols):
            if not any(item.partition.get("session") for item in stored):
                raise RequestError(
                    f"{table}: {asked[0]} means a contract a session, and this table has none; "
                    "name contracts (the table `rolls` says which)"
                )
            selection = resolve(selection, self.catalog)
        chosen = [
            item
            for item in stored
            if selection.admits(item.partition)
            and all(item.partition.get(name) == value for name, value in keys.items())
        ]
        if not chosen:
            wanted = {"dataset": dataset, "symbols": symbols, "start": start, "end": end, **keys}
            text = " ".join(f"{k}={v}" for k, v in wanted.items() if v is not None)
            raise RequestError(f"{table}: no partition matches {text}")
        return chosen

    def scan(
        self,
        table: str,
        *,
        dataset: str | None = None,
        symbols: str | Sequence[str] | None = None,
        start: str | date | None = None,
        end: str | date | None = None,
        **keys: str,
    ) -> pl.LazyFrame:
        """A lazy frame of a table, its partition keys as columns; see :meth:`partitions`.

        Prices are Int64 in 1e-9 units, times ``Datetime[ns, UTC]``, undefined is null.  Where
        ``symbols`` are continuous ones alone, two columns come along: ``series`` (``ES.v.0``)
        and ``roll``, the ordinal of the roll segment.  No price is adjusted.
        """
        import polars as pl

        chosen = self.partitions(
            table, dataset=dataset, symbols=symbols, start=start, end=end, **keys
        )
        runs = groupby(chosen, key=lambda item: item.inside is not None)
        frames = [self.scan_stored(table, list(items), packed=packed) for packed, items in runs]
        whole = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
        patterns = symbols if isinstance(symbols, str | None) else ",".join(symbols)
        asked = series_in(patterns)
        if asked and len(asked) == len((patterns or "").split(",")):
            return whole.join(
                self._legs(asked, dataset),
                on=["dataset", "session", "symbol"],
                how="left",
                maintain_order="left",
            )
        return whole

    def _legs(self, asked: Sequence[Series], dataset: str | None) -> pl.LazyFrame:
        """Dataset, session and contract of continuous symbols, with ``series`` and ``roll``."""
        import polars as pl

        rows = [
            (leg.dataset, date.fromisoformat(leg.session), leg.contract, leg.series, leg.roll)
            for leg in legs(self.catalog, asked, dataset)
        ]
        kinds = {"dataset": pl.String, "session": pl.Date, "symbol": pl.String}
        schema = {**kinds, "series": pl.String, "roll": pl.Int32}
        return pl.LazyFrame(rows, schema=schema, orient="row")

    def scan_stored(
        self, table: str, chosen: Sequence[Stored], *, packed: bool = False
    ) -> pl.LazyFrame:
        """A lazy frame of partitions of one layout that were chosen already.

        Of packed days only the files of the symbols chosen, and of these, by the statistics of
        ``symbol``, only their row groups are read.  Columns that older versions of the table do
        not have are null.
        """
        import polars as pl

        if len({item.table_version for item in chosen}) > 1:
            if chosen[0].partition.get("run_id"):  # in no order of time; the newest columns lead
                chosen = sorted(chosen, key=lambda item: -item.table_version)
            alike = groupby(chosen, key=lambda item: item.table_version)
            frames = [self.scan_stored(table, list(items), packed=packed) for _, items in alike]
            return pl.concat(frames, how="diagonal")
        days = [(item.inside or item.partition) for item in chosen]
        names = dict.fromkeys(name for day in days for name, _ in day.keys)
        types = {"date": pl.Date, "session": pl.Date}
        frame = pl.scan_parquet(
            list(dict.fromkeys(path for item in chosen for path in item.files)),
            hive_partitioning=True,
            hive_schema={name: types.get(name, pl.String) for name in names},
            glob=False,
        )
        if not packed:
            return frame
        everything = Counter(item.inside for item in self.catalog.partitions(table))
        if any(count < everything[day] for day, count in Counter(days).items()):
            symbols = sorted({item.partition["symbol"] for item in chosen})
            # A symbol is chosen on all days or on none.
            frame = frame.filter(pl.col("symbol").is_in(symbols))
        return frame.select(pl.all().exclude("symbol"), "symbol")

    def book_at(
        self,
        symbol: str,
        ts: str | SupportsIndex | datetime | None = None,
        *,
        event: int | None = None,
        dataset: str | None = None,
        publisher: int | None = None,
    ) -> BookAt:
        """The book at an instant, or after an event: every resting order in priority.

        Whole events with ``ts_recv`` up to ``ts`` (its running maximum), by position where times
        tie.  Before a day's first event the state that the day before closed with stands.

        >>> book = lake.book_at("MESM5", "2025-05-01 13:30:00.25")        # doctest: +SKIP
        >>> book.orders; book.levels(10)                                  # doctest: +SKIP

        Parameters
        ----------
        symbol
            Raw symbol.
        ts
            Text (UTC), datetime (UTC unless it is aware), or nanoseconds.
        event
            Instead of ``ts``: an event key, as in `book`, `trades` and `fills`.
        dataset, publisher
            Needed where the symbol is in several datasets, or has books at several publishers.

        Raises
        ------
        RequestError
            For an unknown symbol, a time that is none, a day without records or without a book,
            and a time before anything is known.
        """
        from pipeline.book.at import book_at

        return book_at(self.catalog, symbol, ts, event=event, dataset=dataset, publisher=publisher)

    def run(self, run_id: str) -> Run:
        """A backtest by its id, or by enough of its first characters.

        Raises
        ------
        RequestError
            If no run, or more than one, begins like that.
        """
        return Run(_one_of("run", run_id, self.run_ids(), self.root), self)

    def run_ids(self) -> list[str]:
        return [item.partition["run_id"] for item in self.catalog.partitions("runs")]

    def model(self, model: str) -> Model:
        """A model by its id, by enough of its first characters, or by its name.

        Raises
        ------
        RequestError
            If no model, or more than one, is called so.
        """
        own = [one for one in self.model_ids() if one.rpartition("-")[0] == model]
        known = own or self.model_ids()
        return Model(_one_of("model", model, known, self.root), self)

    def model_ids(self) -> list[str]:
        stored = self.catalog.partitions("predictions")
        return sorted({item.partition["model"] for item in stored})

    def sweep(self, sweep_id: str) -> SweepResult:
        """A sweep by its id, or by enough of its first characters.

        Raises
        ------
        RequestError
            If no sweep, or more than one, begins like that.
        """
        from pipeline.sweep.results import SweepResult

        return SweepResult(_one_of("sweep", sweep_id, self.sweep_ids(), self.root), self)

    def sweep_ids(self) -> list[str]:
        return [item.partition["sweep_id"] for item in self.catalog.partitions("sweeps")]

    def sql(self, query: str) -> pl.DataFrame:
        """Run a DuckDB query over the lake's tables and return its rows.

        Raises
        ------
        RequestError
            If the query is wrong; the message is DuckDB's, in one line.
        """
        from pipeline.sql import query_frame

        return query_frame(self.root, query)

    def instrument(self, symbol: str, *, dataset: str | None = None) -> dict[str, Any]:
        """The latest row of ``instruments`` for a symbol."""
        import polars as pl

        rows = (
            self.scan("instruments", dataset=dataset)
            .filter(pl.col("symbol") == symbol)
            .sort("last_date")
            .collect()
        )
        if rows.is_empty():
            names = self.scan("instruments").select("symbol").collect()["symbol"].to_list()
            raise RequestError.unknown("symbol", symbol, names, where="instruments")
        return rows.row(-1, named=True)


def _one_of(kind: str, given: str, known: Sequence[str], root: Path) -> str:
    """The one id that begins like this."""
    matching = [name for name in known if name.startswith(given)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise RequestError(f"{kind} {given!r} is ambiguous: {', '.join(matching)}")
    raise RequestError.unknown(kind, given, known, where=str(root))


def _implied_set(table: str, stored: Sequence[Stored]) -> str | None:
    """The feature set that is meant where none is named; sets have different rows and columns."""
    sets = sorted({name for item in stored if (name := item.partition.get("set"))})
    if not sets:
        return None
    if len(sets) > 1 and DEFAULT_SET not in sets:
        raise RequestError(f"{table}: say which feature set: set={' or set='.join(sets)}")
    return DEFAULT_SET if DEFAULT_SET in sets else sets[0]


def as_date(value: str | date | None) -> date | None:
    """A date from ``2025-05-01`` or ``20250501``.

    Raises
    ------
    RequestError
        If the text is no date.
    """
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise RequestError(f"{value!r} is not a date; write it as 2025-05-01") from None
