"""``mbo book-at``: the ladder, or every order, at an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import Invocation
from pipeline.cli.look import text_table
from pipeline.errors import OK
from pipeline.instants import decimals_of, format_count, format_instant, format_price

if TYPE_CHECKING:
    from pipeline.book.at import BookAt


def book_at(
    call: Invocation,
    symbol: Annotated[str, typer.Argument(help="Raw symbol, e.g. MESM5.")],
    time: Annotated[
        str | None, typer.Argument(help="'2025-05-01 13:30:00.25' (UTC), or nanoseconds.")
    ] = None,
    event: Annotated[int | None, typer.Option("--event", help="An event key instead.")] = None,
    publisher: Annotated[
        int | None, typer.Option("--publisher", help="Where several have a book.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Levels to show.")] = 10,
    orders: Annotated[bool, typer.Option("--orders", help="Every order of these levels.")] = False,
) -> int:
    """Show the book at an instant: the ladder, or every order in priority.

    Example: mbo book-at MESM5 '2025-05-01 13:30:00.25' --orders
    """
    from pipeline.lake import open_lake

    instant = int(time) if time is not None and time.lstrip("-").isdigit() else time
    book = open_lake(call.root).book_at(
        symbol, instant, event=event, dataset=call.selection.dataset, publisher=publisher
    )
    if call.json:
        call.print_json(_as_json(book, depth, orders=orders))
        return OK
    print(_title(book))
    print()
    print(text_table(*(_orders(book, depth) if orders else _ladder(book, depth))))
    return OK


def _title(book: BookAt) -> str:
    simulated = "SIMULATED  " if book.dataset.startswith("SIM.") else ""
    valid = "valid" if book.valid else "not valid: its contents are not known to be complete"
    count = book.orders.height
    return (
        f"{simulated}{book.symbol}  {book.dataset}, publisher {book.publisher_id}, "
        f"instrument {book.instrument_id}\n"
        f"event {book.event}, known at {format_instant(book.ts_recv)} UTC\n"
        f"{book.state}, {valid}, {format_count(count, 'order')}"
    )


def _shown(book: BookAt, depth: int) -> Any:
    """The levels that there are, up to a depth."""
    import polars as pl

    levels = book.levels(depth)
    return levels.filter(pl.col("bid_px").is_not_null() | pl.col("ask_px").is_not_null())


def _ladder(book: BookAt, depth: int) -> tuple[list[str], list[list[Any]]]:
    header = ["orders", "size", "bid", "ask", "size", "orders"]
    rows = []
    levels = _shown(book, depth).to_dicts()
    decimals = decimals_of(row[name] for row in levels for name in ("bid_px", "ask_px"))
    for row in levels:
        bid = [row["bid_ct"], row["bid_sz"], _price(row["bid_px"], decimals)]
        ask = [_price(row["ask_px"], decimals), row["ask_sz"], row["ask_ct"]]
        rows.append(
            [None if row["bid_px"] is None else v for v in bid]
            + [None if row["ask_px"] is None else v for v in ask]
        )
    return header, rows


def _orders(book: BookAt, depth: int) -> tuple[list[str], list[list[Any]]]:
    header = ["side", "price", "order", "size", "orders ahead", "size ahead", "in place since"]
    rows: list[list[Any]] = []
    near = _near(book, depth).to_dicts()
    decimals = decimals_of(row["price"] for row in near)
    for row in near:
        since = row["since"]
        rows.append(
            [
                {"B": "bid", "A": "ask"}[row["side"]],
                _price(row["price"], decimals),
                str(row["order_id"]),
                row["size"],
                row["orders_ahead"],
                row["size_ahead"],
                None if since is None else format_instant(since),
            ]
        )
    return header, rows


def _near(book: BookAt, depth: int) -> Any:
    """Orders of the levels shown; ``since`` is their ``ts_event`` in nanoseconds."""
    import polars as pl

    shown = _shown(book, depth)
    frame = book.orders.filter(
        ((pl.col("side") == "B") & pl.col("price").is_in(shown["bid_px"].to_list()))
        | ((pl.col("side") == "A") & pl.col("price").is_in(shown["ask_px"].to_list()))
    )
    return frame.with_columns(pl.col("ts_event").cast(pl.Int64).alias("since")).drop("ts_event")


def _price(units: int | None, decimals: int) -> str | None:
    return None if units is None else format_price(units, decimals)


def _as_json(book: BookAt, depth: int, *, orders: bool) -> dict[str, Any]:
    """Prices in 1e-9 and times in nanoseconds, as the tables have them."""
    names = (
        "dataset", "symbol", "publisher_id", "instrument_id", "event", "ts_recv", "ts_event",
        "sequence", "valid", "state",
    )  # fmt: skip
    value: dict[str, Any] = {name: getattr(book, name) for name in names}
    value["levels"] = _shown(book, depth).to_dicts()
    if orders:
        value["orders"] = _near(book, depth).rename({"since": "ts_event"}).to_dicts()
    return value
