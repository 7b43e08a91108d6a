"""One file of a job: fetched, continued after a cut, compared with its hash, committed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from pipeline.download.folders import PART
from pipeline.download.vendor import PassingError, Vendor, VendorError
from pipeline.errors import InputError
from pipeline.storage import commit_file, readable_os_errors

_BLOCK = 1 << 20
_NETWORK_BLOCK = 1 << 16
"""What is lost, at most, when a connection breaks or stalls."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteFile:
    """A file as the job lists it."""

    name: str
    size: int
    sha256: str
    url: str

    @classmethod
    def of(cls, item: Mapping[str, Any], job: str) -> Self:
        """Raises InputError for a line that is not of the vendor's form, or a name with a path."""
        try:
            name, size = str(item["filename"]), int(item["size"])
            algorithm, _, digest = str(item["hash"]).partition(":")
            url = str(item["urls"]["https"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"job {job}: its list of files is not understood ({error!r})"
            ) from None
        if not cls.is_name(name):
            raise InputError(f"job {job}: {name!r} is no name of a file")
        if algorithm != "sha256" or not digest:
            raise InputError(f"job {job}: {name} has no sha256 to be checked against")
        return cls(name, size, digest.lower(), url)

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether it is a name alone: what a server says must not lead out of the folder."""
        return _PLAIN_NAME.fullmatch(text) is not None


def is_whole(path: Path, remote: RemoteFile) -> bool:
    """Whether a file of that size and hash is there."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256


def fetch(vendor: Vendor, remote: RemoteFile, folder: Path) -> Path:
    """Fetch a file into ``folder``; a partial one of an earlier run is continued.

    A wrong hash has the file fetched once more from its
    start: the partial one may have been of a file that was replaced since.

    Raises
    ------
    InputError
        If the content differs from the hash twice.
    VendorError, RequestError, StorageError
        If the vendor, the network or the disk fail.
    """
    target = folder / remote.name
    part = target.with_name(target.name + PART)
    with readable_os_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            digest = _fill(vendor, remote, part)
            if digest == remote.sha256:
                commit_file(part, target)
                return target
            part.unlink()
    raise InputError.at(
        target,
        f"arrived twice with the sha256 {digest[:12]}..., its job says {remote.sha256[:12]}...",
        todo="nothing is kept of it; try again later, or write to the vendor",
    )


class _Part:
    """The partial file and the hash of what it holds."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self.sha = hashlib.sha256()
        file.seek(0)
        while block := file.read(_BLOCK):
            self.sha.update(block)
        self.size = file.tell()
        if self.size > most:
            self.restart()

    def restart(self) -> None:
        self._file.truncate(0)
        self.sha, self.size = hashlib.sha256(), 0

    def append(self, block: bytes) -> None:
        """Opened for appending: it always goes to the end."""
        self._file.write(block)
        self.sha.update(block)
        self.size += len(block)


def _fill(vendor: Vendor, remote: RemoteFile, path: Path) -> str:
    """Fill the partial file up to the size that was told; the sha256 of what it holds."""
    with open(path, "a+b") as file:
        part = _Part(file, remote.size)
        failures = 0
        while part.size < remote.size:
            before = part.size
            try:
                _append(vendor, remote, part)
            except PassingError as error:
                failures = 0 if part.size > before else failures + 1
                if failures > vendor.retries:
                    raise VendorError(
                        f"{remote.name}: {error}; gave up: what has arrived is kept, run the "
                        "same command again"
                    ) from None
                vendor.wait(failures, error)
        file.flush()
        os.fsync(file.fileno())
    return part.sha.hexdigest()


def _append(vendor: Vendor, remote: RemoteFile, part: _Part) -> None:
    """Take what one response gives."""
    start = part.size
    with vendor.open(remote.url, start) as response:
        if response.status_code == 416 or (
            start and response.status_code == 206 and not _starts_at(response, start)
        ):
            part.restart()
            raise PassingError(f"{remote.name} cannot be continued at {start:,}; it begins again")
        if response.status_code >= 400:
            raise vendor.refusal(response.status_code, "", response.headers)
        if start and response.status_code != 206:  # the whole file, whatever was asked for
            part.restart()
        try:
            # A short body is seen by its size, below; the library would drop what did arrive.
            response.raw.enforce_content_length = False
            for block in response.iter_content(_NETWORK_BLOCK):
                part.append(block)
                if part.size > remote.size:
                    break
        except requests_error() as error:
            raise vendor.passing(error) from None
    if part.size < remote.size:
        raise PassingError(f"{remote.name} ended after {part.size:,} of {remote.size:,} bytes")


def _starts_at(response: Any, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def requests_error() -> type[Exception]:
    """What the library raises while a body is read; imported late, as it takes time."""
    from requests import RequestException

    return RequestException
