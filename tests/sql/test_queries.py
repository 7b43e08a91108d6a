"""Queries: named ones answer their question, wrong ones are one clear line, none can write."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import RequestError
from pipeline.roots import ROOT
from pipeline.sql import Result, connect, named_queries, query_frame, run_query, shell
from pipeline.sql.queries import parse
from tests.sql.making import daily, full_lake, trade, write

Q = pytest.mark.parametrize


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def lake(folder: Path) -> duckdb.DuckDBPyConnection:
    return connect(folder)


def table(lake: Path | duckdb.DuckDBPyConnection, query: str) -> list[dict[str, object]]:
    found = run_query(query, lake)
    return [dict(zip(found.names, row, strict=True)) for row in found.rows]


@Q("name", sorted(set(named_queries()) - {"findings"}))  # which needs hours of data
def test_every_named_query_runs_and_says_what_it_answers(
    lake: duckdb.DuckDBPyConnection, name: str
) -> None:
    query = named_queries()[name]
    assert "?" in query.description
    assert run_query(name, lake).rows


def test_there_are_enough_named_queries() -> None:
    assert len(named_queries()) >= 8


def test_model_scores_put_a_models_figures_in_a_row(lake: duckdb.DuckDBPyConnection) -> None:
    model, constant = table(lake, "model_scores model=linear%")
    assert (model["part"], model["auc"], model["gain"]) == ("model", 0.6, None)
    assert (constant["part"], constant["auc"], constant["gain"]) == ("baseline_constant", 0.5, 0.25)
    assert not table(lake, "model_scores model=other%")


def test_spread_by_minute_is_weighted_by_time(lake: duckdb.DuckDBPyConnection) -> None:
    first, second = table(lake, "spread_by_minute")
    # 30 s at (9, 1), 30 s at (2, 2), all one tick wide; then a second of two ticks and one of one.
    # The last row has one side only: it ends the one before and has no spread.
    assert first["mean_spread"] == 0.25
    assert first["mean_spread_ticks"] == 1
    assert first["share_one_tick"] == 1
    assert first["mean_touch_size"] == 3.5
    assert second["mean_spread_ticks"] == 1.5
    assert second["share_one_tick"] == 0.5


def test_volume_profile_counts_each_print_once(lake: duckdb.DuckDBPyConnection) -> None:
    found = table(lake, "volume_profile")
    assert [(r["price"], r["volume"], r["bought"], r["sold"]) for r in found] == [
        (Decimal("5000.5"), 1, 0, 0),
        (Decimal("5000.25"), 6, 5, 1),
    ]
    assert sum(float(str(r["share"])) for r in found) == pytest.approx(1)


def test_fills_at_touch_take_the_book_before_the_event(lake: duckdb.DuckDBPyConnection) -> None:
    (fill,) = table(lake, "fills_at_touch")
    # The fill's own event (row 3) must not be seen: row 2 was the book.
    assert (fill["bid_px_00"], fill["ask_px_00"]) == (Decimal("5000.25"), Decimal("5000.5"))
    assert fill["edge"] == 0.375
    assert fill["markout_1s"] == Decimal("0.25")


def test_fills_of_another_dataset_are_not_joined(tmp_path: Path) -> None:
    from pipeline.backtest.tables import FILLS
    from pipeline.stage import Partition

    full_lake(tmp_path)
    other = Partition.of(run_id="r2", dataset="OTHER", symbol="ESM5")
    write(tmp_path, FILLS, other, [{"event": 202505010000000003, "side": "A"}])
    found = table(tmp_path, "fills_at_touch")
    assert [r["bid_px_00"] for r in found] == [Decimal("5000.25"), None]


def test_profit_by_hour_comes_in_the_order_of_the_exchanges_day(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    found = table(lake, "pnl_by_hour run=r")
    assert [(r["hour"], r["net"]) for r in found] == [
        ("17", Decimal("10.5")),
        ("09", Decimal("-1.5")),
    ]
    assert [r["net_so_far"] for r in table(lake, "pnl_by_session")] == [Decimal("10.5"), 9]
    assert table(lake, "pnl_by_hour run=r2") == []


def test_feature_deciles_rise_with_a_feature_that_foretells(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    found = table(lake, "feature_deciles feature=queue_imbalance label=y_return_1s")
    assert [r["decile"] for r in found] == list(range(1, 11))
    assert [r["mean_return"] for r in found] == [1.5 + 4 * n for n in range(10)]


def test_trade_sizes_count_an_aggressor_once(lake: duckdb.DuckDBPyConnection) -> None:
    found = table(lake, "trade_sizes")
    assert [(r["size_from"], r["size_to"], r["buys"], r["sells"], r["volume"]) for r in found] == [
        (1, 1, 0, 1, 1),
        (4, 7, 1, 0, 5),
    ]


def test_aggressors_by_hour_signs_volume(lake: duckdb.DuckDBPyConnection) -> None:
    (found,) = table(lake, "aggressors_by_hour")
    assert (found["volume"], found["bought_less_sold"]) == (7, 4)


def test_imbalance_next_move_looks_forward_only(lake: duckdb.DuckDBPyConnection) -> None:
    found = table(lake, "imbalance_next_move")
    # Mids 5000.125, 5000.375, 5000.5, 5000.125: the last row has no next move.
    assert [(round(float(str(r["imbalance_from"])), 1), r["share_up"]) for r in found] == [
        (-1.0, 0),
        (0.0, 1),
        (0.8, 1),
    ]


def test_flow_by_zone_sums_each_zone(lake: duckdb.DuckDBPyConnection) -> None:
    found = {(r["side"], r["zone"]): r for r in table(lake, "flow_by_zone")}
    assert len(found) == 6
    assert found["bid", "l1"]["added"] == 15
    assert found["ask", "deep"]["filled"] == 5
    assert found["bid", "l2_10"]["added"] == 0


@Q(
    "statement",
    [
        "CREATE TABLE x AS SELECT 1",
        "CREATE OR REPLACE VIEW book AS SELECT 1",
        "DROP VIEW book",
        "INSERT INTO book SELECT * FROM book",
        "WITH a AS (SELECT 1) INSERT INTO book SELECT * FROM a",
        "DELETE FROM book",
        "COPY book TO '{lake}/x.parquet'",
        "COPY (SELECT 1) TO '/tmp/never.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
        "explain /* ( */ analyze copy (select 1) to '{lake}/x.csv'",
        "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{lake}/x.csv'",
        "EXPORT DATABASE '{lake}/x'",
        "ATTACH '{lake}/x.db'",
        "SET threads = 1",
        "SET VARIABLE files_0 = ['/etc/passwd']",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CHECKPOINT",
        "BEGIN",
        "PREPARE p AS SELECT 1",
        "SELECT 1; DROP VIEW book",
    ],
)
def test_nothing_can_be_written(
    folder: Path, lake: duckdb.DuckDBPyConnection, statement: str
) -> None:
    before = sorted(folder.rglob("*"))
    text = statement.replace("{lake}", str(folder))
    with pytest.raises(RequestError) as raised:
        run_query(text, lake)
    assert "\n" not in str(raised.value)
    with pytest.raises(RequestError):
        query_frame(lake, text)
    assert sorted(folder.rglob("*")) == before


@Q(
    "function",
    ["read_csv('/etc/passwd')", "read_text('/etc/hostname')", "glob('/etc/*')", "'/x.csv'"],
)
def test_nothing_outside_the_lake_can_be_read(
    lake: duckdb.DuckDBPyConnection, function: str
) -> None:
    with pytest.raises(RequestError):
        run_query(f"SELECT * FROM {function}", lake)


def test_settings_of_a_connection_are_locked(lake: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        lake.execute("SET enable_external_access = true")


@Q(
    ("query", "message"),
    [
        ("SELECT * FROM boook", "unknown table 'boook'; did you mean 'book'"),
        ("SELECT bidpx FROM book", 'Referenced column "bidpx" not found'),
        ("SELECT FROM WHERE", "syntax error"),
        ("SELECT nosuch(price) FROM trades", "nosuch"),
        ("volume_profil", "unknown query 'volume_profil'; did you mean 'volume_profile'?"),
        ("volume_profile bins=3", "unknown parameter 'bins' in volume_profile"),
        ("feature_deciles feature=x;drop", "is no name, number or date"),
        ("feature_deciles feature=nosuch", "nosuch"),
        ("  ", "the query is empty"),
        ("PIVOT trades ON side USING sum(size)", "PIVOT needs its columns named"),
    ],
)
def test_wrong_queries_are_one_clear_line(
    lake: duckdb.DuckDBPyConnection, query: str, message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        run_query(query, lake)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@Q(
    ("query", "message"),
    [
        ("SELECT * FROM fills", "holds no fills; `mbo backtest` makes it"),
        ("SELECT * FROM features", "holds no features; `mbo features` makes it"),
        ("imbalance_next_move", "holds no touch: it needs book; `mbo book` makes it"),
        ("SELECT * FROM nosuch", "the lake is empty; run `mbo ingest` first"),
    ],
)
def test_a_missing_table_says_which_command_makes_it(
    tmp_path: Path, query: str, message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        run_query(query, tmp_path)
    assert message in str(raised.value)


def test_a_view_whose_columns_are_missing_says_so_when_asked(tmp_path: Path) -> None:
    from pipeline.tables import FLOW, Table

    other = Table("book", "date", 1, "row", FLOW.columns)
    write(tmp_path, other, daily(), [{"event": 1}])
    assert run_query("SELECT event FROM book", tmp_path).rows == [(1,)]
    with pytest.raises(RequestError, match="touch: Referenced column"):
        run_query("SELECT * FROM touch", tmp_path)


def test_no_lake_at_all(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no lake here; run `mbo ingest` first"):
        run_query("SELECT 1", tmp_path / "absent")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    from pipeline.errors import InputError
    from pipeline.tables import TRADES

    path = write(tmp_path, TRADES, daily(), [trade(1, "B", 5, 1, 5, 6, whole=1)])
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match="trades"):
        run_query("SELECT * FROM trades", tmp_path)


def test_render_aligns_limits_and_counts(lake: duckdb.DuckDBPyConnection) -> None:
    found = run_query(
        "SELECT symbol, price, size, NULL AS x FROM trades ORDER BY price, size", lake
    )
    assert found.render(2).splitlines() == [
        "symbol    price  size     x",
        "------  -------  ----  ----",
        "ESM5    5000.25     1  null",
        "ESM5    5000.25     2  null",
        "(2 of 4 rows; --limit shows more)",
    ]
    assert found.render().endswith("(4 rows)")
    assert run_query("SELECT 1 AS a", lake).render().endswith("(1 row)")


@Q(
    ("value", "text"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1e30", "1.00000e+30"),
        ("123456.789::DOUBLE", "123456.8"),
        ("0.000123456789::DOUBLE", "0.000123457"),
        ("'nan'::DOUBLE", "nan"),
        ("true", "true"),
        ("INTERVAL 90 SECOND", "90 s"),
        ("sum(2::BIGINT)", "2"),
        ("DATE '2025-05-01'", "2025-05-01"),
        ("make_timestamp_ns(1)", "1970-01-01 00:00:00.000000001"),
        ("TIMESTAMP '2025-05-01 12:00:00.5'", "2025-05-01 12:00:00.500"),
        ("repeat('x', 100)", "x" * 79 + "…"),
    ],
)
def test_values_as_text(lake: duckdb.DuckDBPyConnection, value: str, text: str) -> None:
    assert run_query(f"SELECT {value} AS v", lake).render().splitlines()[2].strip() == text


def test_json_is_exact_and_valid(lake: duckdb.DuckDBPyConnection) -> None:
    query = (
        "SELECT price, size, 'nan'::DOUBLE AS n, 123456789.123456789::DECIMAL(18,9) AS long, "
        "[1.5, NULL] AS l, {'a': DATE '2025-05-01'} AS s FROM trades ORDER BY event LIMIT 1"
    )
    found = json.loads(json.dumps(run_query(query, lake).as_json(), allow_nan=False))
    assert found == [
        {
            "price": 5000.25,
            "size": 3,
            "n": None,
            "long": "123456789.123456789",
            "l": [1.5, None],
            "s": {"a": "2025-05-01"},
        }
    ]


def test_many_rows_are_cut_and_said_so(lake: duckdb.DuckDBPyConnection) -> None:
    found = run_query("SELECT * FROM range(100000000)", lake, max_rows=1000)
    assert len(found.rows) == 1000
    assert "of more than 1,000 rows" in found.render(5)
    with pytest.raises(RequestError, match="add a LIMIT"):
        found.as_json()


def test_query_frame_has_polars_types(lake: duckdb.DuckDBPyConnection) -> None:
    import polars as pl

    frame = query_frame(lake, "SELECT price, size, side FROM trades")
    assert frame.schema == {
        "price": pl.Decimal(18, 9),
        "size": pl.Int64(),
        "side": pl.String(),
    }


def test_a_plan_is_printed_as_it_is(lake: duckdb.DuckDBPyConnection) -> None:
    assert "Read Parquet" in run_query("EXPLAIN SELECT * FROM book", lake).render()


def test_parameters_are_declared_in_the_head_of_the_file() -> None:
    query = parse("q", "-- What?\n-- more\n-- @n = 5   how many\nSELECT {n};\n-- @x = 1\n")
    assert query.description == "What? more"
    assert query.parameters == (("n", "5", "how many"),)
    assert "SELECT 7" in query.bind({"n": "7"})


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines somebody types at the prompt."""
    lines: list[str] = []

    def read(prompt: str) -> str:
        if not lines:
            raise EOFError
        return lines.pop(0)

    monkeypatch.setattr(builtins, "input", read)
    return lines


def test_shell_runs_statements_and_commands(
    folder: Path, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += [
        "SELECT count(*) AS n",
        "FROM trades; SELECT 7 AS seven;",
        ".tables",
        ".schema trades",
        ".queries",
        "volume_profile;",
        "feature_deciles feature=queue_imbalance;",
        "SELECT * FROM nosuch;",
        "DROP VIEW book;",
        ".nonsense",
        ".limit 1",
        "SELECT * FROM trades;",
        "",
        ";",
        ".help",
        ".quit",
        "SELECT 'never';",
    ]
    shell(folder)
    printed = capsys.readouterr().out
    assert "seven" in printed
    assert "signed_trades" in printed
    assert "DECIMAL(18,9)" in printed
    assert "At which prices did the volume trade?" in printed
    assert "decile" in printed
    assert "error: unknown table 'nosuch'" in printed
    assert "error: DROP is refused" in printed
    assert "error: .nonsense: no such command" in printed
    assert "(1 of 4 rows" in printed
    assert "never" not in printed
    assert typed == ["SELECT 'never';"]


def test_shell_ends_with_the_input_and_clears_on_interrupt(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script: Iterator[str | type[BaseException]] = iter(
        ["SELECT 'half", KeyboardInterrupt, "SELECT 'whole';", EOFError]
    )

    def read(prompt: str) -> str:
        step = next(script)
        if isinstance(step, str):
            return step
        raise step

    monkeypatch.setattr(builtins, "input", read)
    shell(folder)
    assert "whole" in capsys.readouterr().out


def test_empty_results() -> None:
    assert Result(("a",), []).render() == "a\n-\n(0 rows)"
    assert Result(("a",), []).as_json() == []


def test_the_guide_lists_every_named_query() -> None:
    guide = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    for name, query in named_queries().items():
        assert f"| `{name}` | {query.description.split('?')[0]}? |" in guide
