"""One `mbo download`: what is there, what the rest costs, and with consent the rest."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.download.batch import Fetched, fetch_job, order, wait
from pipeline.download.plan import Job, Plan, make_plan
from pipeline.download.quote import Line, Quote, make_quote
from pipeline.download.request import DownloadRequest
from pipeline.download.vendor import Vendor, say_nothing
from pipeline.errors import FAILED, OK, RequestError, StorageError
from pipeline.ingest.doctor import PLAIN_BYTES_PER_ZSTD_BYTE, forecast, forecast_line
from pipeline.instants import format_count
from pipeline.progress import human_bytes
from pipeline.storage import HashCache, readable_os_errors
from pipeline.units import parse_duration

_LOCK = ".download.lock"


@dataclass
class Outcome:
    """What a run found and did; :meth:`text` and :meth:`as_json` show it."""

    plan: Plan
    out: Path
    max_cost: float | None
    quote: Quote = field(default_factory=Quote)
    ordered: list[Job] = field(default_factory=list)
    fetched: Fetched | None = None
    """None where it ended with the cost."""
    folders: list[Path] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        return self.fetched.failed if self.fetched else []

    @property
    def exit_code(self) -> int:
        return FAILED if self.failed else OK

    @property
    def too_dear(self) -> bool:
        return self.max_cost is not None and self.quote.usd > self.max_cost

    def check_cost(self) -> None:
        """Raises RequestError if it costs more than was allowed; then nothing was ordered."""
        if self.too_dear:
            raise RequestError(
                f"{_usd(self.quote.usd)} is more than --max-cost {self.max_cost:g}: nothing was "
                "ordered"
            )

    def as_json(self) -> dict[str, Any]:
        done = self.fetched
        return {
            "request": self.plan.request.as_json(),
            "folder": str(self.out),
            "days_here": self.plan.here,
            "conditions": {w: [str(d) for d in days] for w, days in self.plan.unavailable.items()},
            "jobs": [{"id": job.id, "schema": job.schema, "state": job.state}
                     for job in [*self.plan.jobs, *self.ordered]],
            "quote": [asdict(line) for line in self.quote.lines],
            "usd": self.quote.usd,
            "ordered": done is not None,
            "files": [str(path) for path in done.files] if done else [],
            "bytes": done.bytes if done else 0,
            "failed": self.failed,
            "folders": [str(folder) for folder in self.folders],
            "forecast": self._forecast(),
        }  # fmt: skip

    def _forecast(self) -> dict[str, Any]:
        size = int(self.quote.bytes / PLAIN_BYTES_PER_ZSTD_BYTE)
        return forecast(self.quote.records, size)

    def text(self, program: str) -> str:
        lines = self._about()
        if self.plan.complete:
            ready = f"; next: {program} ingest {self.out}"
            return "\n".join([*lines, f"everything is there: nothing to fetch{ready}"])
        if self.quote.lines:
            lines += [_table(self.quote), forecast_line(self._forecast())]
        if self.fetched is None:
            if not self.too_dear:
                lines.append("nothing was ordered: say --yes to go on")
            return "\n".join(lines)
        count, size = len(self.fetched.files), human_bytes(self.fetched.bytes)
        lines.append(f"{format_count(count, 'file')} fetched ({size}), each with its job's sha256")
        if self.failed:
            lines.append(f"{format_count(len(self.failed), 'file')} failed: run it again")
        lines += [f"  {folder}" for folder in self.folders]
        lines.append(f"next: {program} ingest {self.out}")
        return "\n".join(lines)

    def _about(self) -> list[str]:
        request, lines = self.plan.request, []
        lines.append(
            f"{request.dataset} {','.join(request.symbols)} ({request.stype}), "
            f"{request.first} to {request.last}, UTC days"
        )
        for word, days in self.plan.unavailable.items():
            shown = ", ".join(map(str, days[:8])) + (", ..." if len(days) > 8 else "")
            lines.append(f"the vendor calls {word}: {shown}")
        for schema, count in self.plan.here.items():
            if count:
                lines.append(f"{schema}: {format_count(count, 'day')} there already")
        lines += [f"{path}: damaged; it is fetched again" for path in self.plan.damaged]
        for job in self.plan.jobs:
            wanted = format_count(len(job.days), "day")
            lines.append(f"{job.schema}: {wanted} in job {job.id} of an earlier order: 0 USD")
        return lines


def run(
    request: DownloadRequest,
    out: Path,
    settings: Settings,
    *,
    yes: bool,
    anew: bool = False,
    own_schemas: bool = True,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Show the cost; with ``yes`` order, wait, fetch and check.

    ``anew``: order and fetch what is there and what was ordered before, too.

    Raises
    ------
    RequestError, VendorError, StorageError
        What was finished before is kept, and found by the next run.
    """
    tell = say or say_nothing
    vendor = Vendor(settings.download, tell)
    hashes = HashCache(Path(settings.lake.path), rehash=settings.raw.rehash)
    with _alone(out) if yes else contextlib.nullcontext():
        plan = make_plan(vendor, request, out, hashes, anew=anew, own_schemas=own_schemas)
        outcome = Outcome(plan, out, settings.download.max_cost)
        if plan.complete:
            return outcome
        outcome.quote = make_quote(vendor, plan.request, plan.orders, tell)
        if yes and not outcome.too_dear:
            _order_and_fetch(vendor, outcome, settings, tell)
    return outcome


def _order_and_fetch(
    vendor: Vendor, outcome: Outcome, settings: Settings, say: Callable[[str], None]
) -> None:
    plan = outcome.plan
    outcome.fetched = Fetched()
    known = {str(job["id"]) for job in vendor.call("batch.list_jobs")} if plan.orders else set()
    for schema, first, last in plan.orders:
        if not any(_inside(line, schema, first, last) for line in outcome.quote.lines):
            say(f"{schema} {first} to {last}: no records, not ordered")
            continue
        job = order(vendor, plan.request, schema, first, last, known)
        say(f"job {job.id} ({schema} {first} to {last}): ordered")
        outcome.ordered.append(job)
    waiting = [*plan.jobs, *outcome.ordered]
    while waiting:
        poll = parse_duration(settings.download.poll) / 1e9
        for job in wait(vendor, waiting, poll, say):
            outcome.folders.append(fetch_job(vendor, job, outcome.out, outcome.fetched, say))
            waiting.remove(job)


def _inside(line: Line, schema: str, first: Any, last: Any) -> bool:
    return line.schema == schema and first <= line.first <= last


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One download a folder at a time: two would order the same twice."""
    with readable_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        file = open(out / _LOCK, "a", encoding="utf-8")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StorageError(f"{out}: another download is writing here; wait for it") from None
        yield


def _table(quote: Quote) -> str:
    from pipeline.cli.look import text_table

    rows: list[tuple[Any, ...]] = []
    for one in quote.lines:
        days = str(one.first) if one.first == one.last else f"{one.first} to {one.last}"
        rows.append((one.schema, days, one.records, human_bytes(one.bytes), _usd(one.usd)))
    rows.append(("total", "", quote.records, human_bytes(quote.bytes), _usd(quote.usd)))
    return text_table(("schema", "day", "records", "billed size", "cost"), rows)


def _usd(amount: float) -> str:
    return f"{amount:.2f} USD" if amount >= 0.01 or not amount else f"{amount:.4f} USD"
