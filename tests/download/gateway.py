"""The vendor's API on the loopback, over a batch folder of the sample market.

It speaks what the client speaks: basic authorization, form bodies, JSON answers, DBN streams,
files with ranges, jobs that advance a state a look.  Faults are planted by path.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipeline.ingest.dbn import DbnReader

KEY = "db-SeCrEt0123456789TOPSECRETKEYxyz"
DATASET = "SIM.MDP3"
USD_A_BYTE = 1e-6
_STATES = ("queued", "processing", "done")

Fault = Callable[["Handler"], bool]
"""Answers a request in place of the API; False lets the API answer."""


def status(code: int, text: str = "", **headers: str) -> Fault:
    """An error as the vendor words it."""

    def answer(handler: Handler) -> bool:
        detail = {"case": f"case_{code}", "message": text, "docs": "", "status_code": code}
        handler.give(json.dumps({"detail": detail}).encode(), code, headers)
        return True

    return answer


def cut(count: int) -> Fault:
    """The connection ends after so many bytes of the file's rest."""

    def answer(handler: Handler) -> bool:
        handler.cut_after = count
        return False

    return answer


def hang_up(handler: Handler) -> bool:
    """The request is taken and carried out; its answer never arrives."""
    handler.mute = True
    return False


@dataclass
class Gateway:
    """Server, its jobs, and what was asked of it."""

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    faults: list[list[Any]] = field(default_factory=list)
    ignore_ranges: bool = False
    address: str = ""

    def plant(self, path: str, fault: Fault, times: int = 1) -> None:
        self.faults.append([re.compile(path), fault, times])

    def count(self, path: str) -> int:
        return sum(path in asked for asked, _ in self.asked)

    def days(self, schema: str, start: str, end: str) -> list[Path]:
        found = []
        for path in sorted(self.folder.glob(f"*.{schema}.dbn.zst")):
            text = path.name.rsplit("-", 1)[1][:8]
            day = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            if start[:10] <= day < end[:10]:
                found.append(path)
        return found

    def submit(self, form: dict[str, str]) -> dict[str, Any]:
        job = f"SIM-2025{len(self.jobs) + 1:04d}-ABCDEFGHIJ"
        instant = "T00:00:00.000000000Z"
        self.jobs[job] = {
            "id": job,
            "state": "queued",
            **{k: form[k] for k in ("dataset", "schema", "symbols", "stype_in", "encoding")},
            "split_duration": form["split_duration"],
            "split_symbols": False,
            "limit": None,
            "start": form["start"] + instant,
            "end": form["end"] + instant,
        }
        query = {
            "dataset": form["dataset"],
            "schema": form["schema"],
            "symbols": form["symbols"].split(","),
            "stype_in": form["stype_in"],
            "stype_out": form["stype_out"],
            "start": _ns(form["start"]),
            "end": _ns(form["end"]),
            "limit": None,
            "encoding": "dbn",
            "compression": "zstd",
        }
        custom = {"split_duration": "day", "split_symbols": False, "delivery": "download"}
        metadata = {"version": 1, "job_id": job, "query": query, "customizations": custom}
        files = {"metadata.json": json.dumps(metadata).encode()}
        for name in ("symbology.json", "condition.json"):
            files[name] = (self.folder / name).read_bytes()
        for path in self.days(form["schema"], form["start"], form["end"]):
            files[path.name] = path.read_bytes()
        self.files[job] = files
        return self.jobs[job]

    def advance(self) -> list[dict[str, Any]]:
        """Every look moves jobs on."""
        told = [dict(job) for job in self.jobs.values()]
        for job in self.jobs.values():
            job["state"] = _STATES[min(_STATES.index(job["state"]) + 1, 2)]
        return told

    def listing(self, job: str) -> list[dict[str, Any]]:
        return [
            {
                "filename": name,
                "size": len(data),
                "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
                "urls": {"https": f"{self.address}/v0/batch/download/{job}/{name}"},
            }
            for name, data in self.files[job].items()
        ]


def _ns(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)) // timedelta(seconds=1) * 10**9


class Handler(BaseHTTPRequestHandler):
    gateway: Gateway
    protocol_version = "HTTP/1.1"
    timeout = 20
    cut_after: int | None = None
    mute = False

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve({k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self._serve({k: v[0] for k, v in parse_qs(body).items()})

    def _serve(self, form: dict[str, str]) -> None:
        gateway, path = self.gateway, urlsplit(self.path).path.removeprefix("/v0/")
        self.cut_after, self.mute = None, False
        gateway.asked.append((path, form))
        expected = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
        if self.headers.get("authorization") != expected:
            status(401, "Authentication failed.")(self)
            return
        for fault in gateway.faults:
            if fault[2] and fault[0].search(path):
                fault[2] -= 1
                if fault[1](self):
                    return
                break
        if path.startswith("batch/download/"):
            job, _, name = path.removeprefix("batch/download/").partition("/")
            self._file(gateway.files[job][name])
        else:
            self._answer(path, form)

    def _answer(self, path: str, form: dict[str, str]) -> None:
        gateway = self.gateway
        if "symbols" in form and form["symbols"] != "SIM.FUT":
            status(422, f"None of the symbols could be resolved: {form['symbols']}")(self)
            return
        if path == "metadata.get_dataset_range":
            schemas = ["mbo", "definition", "status", "trades"]
            bounds = {"start": "2025-05-01T00:00:00.000000000Z",
                      "end": "2025-07-01T00:00:00.000000000Z"}  # fmt: skip
            told: Any = bounds | {"schema": dict.fromkeys(schemas, bounds)}
        elif path == "metadata.get_dataset_condition":
            told = json.loads((gateway.folder / "condition.json").read_text())
        elif path.startswith("metadata.get_"):
            told = self._amount(path.removeprefix("metadata.get_"), form)
        elif path == "batch.submit_job":
            told = gateway.submit(form)
        elif path == "batch.list_jobs":
            told = gateway.advance()
        else:
            told = gateway.listing(form["job_id"])
        self.give(json.dumps(told).encode())

    def _amount(self, what: str, form: dict[str, str]) -> float:
        paths = self.gateway.days(form["schema"], form["start"], form["end"])
        counts = []
        for path in paths:
            with DbnReader(path) as reader:
                counts.append(sum(len(chunk.records) for chunk in reader))
        size = sum(counts) * 56
        return {"record_count": sum(counts), "billable_size": size, "cost": size * USD_A_BYTE}[what]

    def give(self, data: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        if self.mute:
            self.close_connection = True
            return
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.cut_after is not None:
            data = data[: self.cut_after]
            self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def _file(self, data: bytes) -> None:
        asked = self.headers.get("range")
        self.gateway.ranges.append(asked)
        if asked is None or self.gateway.ignore_ranges:
            self.give(data)
            return
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(data):
            self.give(b"", 416)
            return
        place = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.give(data[start:], 206, {"content-range": place})


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Gateway]:
    """The API in a thread of its own, until the block ends."""
    gateway = Gateway(folder)
    handler = type("Bound", (Handler,), {"gateway": gateway})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    gateway.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
