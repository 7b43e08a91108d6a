"""What is to be fetched: days that are not there, from jobs that were paid or must be ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.download.folders import covered_days, held, same_query
from pipeline.download.request import DownloadRequest, spans
from pipeline.download.vendor import Vendor
from pipeline.errors import RequestError
from pipeline.instants import parse_instant
from pipeline.storage import HashCache
from pipeline.units import NS_PER_S


@dataclass
class Job:
    """A batch job and the days wanted of it."""

    id: str
    schema: str
    state: str
    days: list[date] = field(default_factory=list)


@dataclass
class Plan:
    """What a request needs."""

    request: DownloadRequest
    here: dict[str, int]
    """By schema: days that need no fetching."""
    damaged: list[Path]
    unavailable: dict[str, list[date]]
    """The vendor's word, where it is not `available` -> days."""
    jobs: list[Job]
    """Ordered earlier and still at the vendor's: paid already."""
    orders: list[tuple[str, date, date]]
    """(schema, first day, last day) to be ordered."""

    @property
    def complete(self) -> bool:
        return not self.jobs and not self.orders


def make_plan(
    vendor: Vendor,
    request: DownloadRequest,
    out: Path,
    hashes: HashCache,
    *,
    batch: bool = True,
    anew: bool = False,
    own_schemas: bool = True,
) -> Plan:
    """Compare a request with what is there, here and at the vendor's.

    Parameters
    ----------
    batch
        Look for jobs of earlier runs.
    anew
        Neither files nor jobs of earlier runs count.
    own_schemas
        The schemas were asked for by name: one that the dataset does not have is an error.

    Raises
    ------
    RequestError
        If the dataset does not have those days or schemas.
    """
    request = _within_range(vendor, request, own_schemas=own_schemas)
    conditions = vendor.call(
        "metadata.get_dataset_condition",
        dataset=request.dataset,
        start_date=request.first,
        end_date=request.last,
    )
    unavailable: dict[str, list[date]] = {}
    for item in conditions:
        day, word = date.fromisoformat(str(item["date"])), str(item["condition"])
        if word != "available" and request.first <= day <= request.last:
            unavailable.setdefault(word, []).append(day)
    have = {} if anew else held(out, request, hashes)
    known = vendor.call("batch.list_jobs") if batch and not anew else []
    plan = Plan(request, {}, [], unavailable, [], [])
    absent = set(unavailable.get("missing", ()))
    for schema in request.schemas:
        there = have[schema].days if have else set()
        plan.here[schema] = len(there - absent)
        plan.damaged += have[schema].damaged if have else []
        wanted = [day for day in request.days if day not in absent]
        rest = [day for day in wanted if day not in there]
        jobs, rest = _covered(known, request, schema, rest)
        plan.jobs += jobs
        plan.orders += [(schema, *span) for span in spans(rest, wanted)]
    return plan


def _within_range(
    vendor: Vendor, request: DownloadRequest, *, own_schemas: bool
) -> DownloadRequest:
    told = vendor.call("metadata.get_dataset_range", dataset=request.dataset)
    start, end = (_day_of(str(told[key])) for key in ("start", "end"))
    last = end - timedelta(days=1)
    if request.first < start or request.last > last:
        raise RequestError(
            f"{request.dataset} has whole days from {start} to {last}; asked for were "
            f"{request.first} to {request.last}"
        )
    offered = told.get("schema")
    if not isinstance(offered, Mapping):
        return request
    missing = [schema for schema in request.schemas if schema not in offered]
    if missing and (own_schemas or len(missing) == len(request.schemas)):
        raise RequestError.unknown("schema", missing[0], offered, where=request.dataset)
    kept = tuple(schema for schema in request.schemas if schema in offered)
    return DownloadRequest(
        request.dataset, request.symbols, request.stype, kept, request.first, request.last
    )


def _day_of(text: str) -> date:
    """UTC day of an instant of the vendor's."""
    return datetime.fromtimestamp(parse_instant(text) // NS_PER_S, UTC).date()


def _covered(
    known: Sequence[Mapping[str, Any]],
    request: DownloadRequest,
    schema: str,
    days: Sequence[date],
) -> tuple[list[Job], list[date]]:
    """Jobs that hold some of the days, done ones first; and the days none of them holds."""
    fitting = [job for job in known if same_query(job, request, schema)]
    fitting.sort(key=lambda job: job.get("state") != "done")
    jobs, rest = [], list(days)
    for job in fitting:
        if found := covered_days(job, rest):
            jobs.append(Job(str(job["id"]), schema, str(job.get("state")), found))
            rest = [day for day in rest if day not in set(found)]
    return jobs, rest
