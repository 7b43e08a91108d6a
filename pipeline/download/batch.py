"""Batch jobs: ordered once, waited for, and fetched file by file into their folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pipeline.download.fetch import RemoteFile, fetch, is_whole
from pipeline.download.folders import covered_days, day_and_schema, same_query, write_manifest
from pipeline.download.plan import Job
from pipeline.download.quote import query
from pipeline.download.request import DownloadRequest, days_between
from pipeline.download.vendor import PassingError, Vendor, VendorError
from pipeline.errors import InputError, StorageError
from pipeline.progress import human_bytes

Say = Callable[[str], None]


@dataclass
class Fetched:
    """What a run brought."""

    files: list[Path] = field(default_factory=list)
    bytes: int = 0
    present: int = 0
    """Files that were there whole."""
    failed: list[str] = field(default_factory=list)


def order(
    vendor: Vendor, request: DownloadRequest, schema: str, first: date, last: date, known: set[str]
) -> Job:
    """Submit a job: this is what costs money.

    When it is not known whether the order arrived, the vendor's list of jobs is asked before it
    is sent again; ``known`` are the jobs that were on it before.
    """
    days = days_between(first, last)
    in_doubt = False

    def attempt() -> Job:
        nonlocal in_doubt
        if in_doubt:
            for job in vendor.once("batch.list_jobs"):
                new = str(job["id"]) not in known and same_query(job, request, schema)
                if new and covered_days(job, days) == days:
                    return Job(str(job["id"]), schema, str(job["state"]), days)
        try:
            told = vendor.once(
                "batch.submit_job",
                **query(request, schema, first, last),
                encoding="dbn",
                compression="zstd",
                split_duration="day",
            )
        except PassingError:
            in_doubt = True
            raise
        return Job(str(told["id"]), schema, str(told.get("state", "queued")), days)

    job: Job = vendor.again(attempt)
    known.add(job.id)
    return job


def wait(vendor: Vendor, jobs: Sequence[Job], poll: float, say: Say) -> list[Job]:
    """The next jobs that are done, waiting until there is one; ``jobs`` get their states."""
    while True:
        told = {str(job["id"]): job for job in vendor.call("batch.list_jobs")}
        for job in jobs:
            if job.id not in told:
                raise VendorError(
                    f"job {job.id} ({job.schema}) is no longer on the vendor's list: expired or "
                    "withdrawn; run the same command again to order it anew"
                )
            state = str(told[job.id].get("state"))
            percent = told[job.id].get("progress")
            if state == "processing" and percent is not None:
                state = f"processing, {percent} %"
            if state != job.state:
                say(f"job {job.id} ({job.schema}): {state}")
                job.state = state
        done = [job for job in jobs if job.state == "done"]
        if done:
            return done
        time.sleep(poll)


def fetch_job(vendor: Vendor, job: Job, out: Path, result: Fetched, say: Say) -> Path:
    """Fetch what the job holds of its days, and the vendor's files about them.

    One file with a wrong hash does not stop the others; it is in ``result.failed``.
    """
    listed = vendor.call("batch.list_files", job_id=job.id)
    remotes = [RemoteFile.of(item, job.id) for item in listed]
    if not RemoteFile.is_name(job.id):
        raise InputError(f"{job.id!r} is no name of a folder")
    wanted = set(job.days)
    chosen = [
        remote for remote in remotes
        if (found := day_and_schema(remote.name)) is None or found[0] in wanted
    ]  # fmt: skip
    # What tells of the data comes first: a folder that is cut short says what it lacks.
    chosen.sort(key=lambda remote: (day_and_schema(remote.name) is not None, remote.name))
    folder = out / job.id
    missing = [remote for remote in chosen if not is_whole(folder / remote.name, remote)]
    result.present += len(chosen) - len(missing)
    _check_space(out, sum(remote.size for remote in missing))
    if not any(remote.name == "manifest.json" for remote in remotes):
        write_manifest(folder, job.id, listed)
    for number, remote in enumerate(missing, 1):
        place = f"{job.id}: {number}/{len(missing)} {remote.name}"
        say(f"{place}, {human_bytes(remote.size)}")
        try:
            path = fetch(vendor, remote, folder)
        except InputError as error:
            result.failed.append(str(error))
            continue
        result.files.append(path)
        result.bytes += remote.size
    return folder


def _check_space(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(
            f"{out}: {human_bytes(needed)} are to come and {human_bytes(free)} are free: free "
            "some space, or say --out; the job stays at the vendor's and is not paid again"
        )
