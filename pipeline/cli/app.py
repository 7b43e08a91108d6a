"""All commands, in the order of the work."""

from __future__ import annotations

import typer

from pipeline.cli import bench, book_at, look, query, stages
from pipeline.cli.check import check
from pipeline.cli.common import command
from pipeline.cli.download import download
from pipeline.cli.explain import explain
from pipeline.cli.report import report
from pipeline.cli.sweep import sweep
from pipeline.cli.train import export, train
from pipeline.cli.verify import verify

app = typer.Typer(
    name="mbo",
    help=(
        "From Databento market-by-order files to books, features and backtests.\n\n"
        "Start with: mbo doctor data/raw, then mbo ingest, mbo features, "
        "mbo backtest mean_reversion.  Without data: mbo sample."
    ),
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for name, function in (
    ("sample", stages.sample),
    ("download", download),
    ("doctor", stages.doctor),
    ("ingest", stages.ingest),
    ("book", stages.book),
    ("features", stages.features),
    ("train", train),
    ("export", export),
    ("backtest", stages.backtest),
    ("sweep", sweep),
    ("report", report),
    ("explain", explain),
    ("verify", verify),
    ("check", check),
    ("book-at", book_at.book_at),
    ("sql", query.sql),
    ("status", look.status),
    ("lineage", look.lineage),
    ("list", look.list_),
    ("describe", look.describe),
    ("gc", look.gc),
    ("bench", bench.bench),
):
    app.command(name)(command(function))
