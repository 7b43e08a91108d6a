"""The vendor's client: the key, retries, and errors as one line that never shows the key.

Everything that talks to the vendor goes through :class:`Vendor`.  The client is imported when
one is made: it takes seconds.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pipeline.config import DownloadSettings
from pipeline.errors import FAILED, MboError, RequestError
from pipeline.units import parse_duration

KEY_VARIABLE = "DATABENTO_API_KEY"
_LONGEST_WAIT = 120.0
_TIMEOUT = (30, 60)
"""Seconds to connect, and without a byte."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_AGAIN = (408, 425, 429)
"""Statuses below 500 that pass by themselves."""


class VendorError(MboError):
    """The vendor could not be reached, or failed, although it was asked again."""

    exit_code = FAILED


class RefusedError(RequestError):
    """The vendor refused the request: ``status`` is HTTP's."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def key_of(environ: Mapping[str, str] = os.environ) -> str:
    """The user's key.

    Raises
    ------
    RequestError
        If there is none, or it cannot be one; the text does not show it.
    """
    key = environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise RequestError(
            f"no key: put your Databento API key into the environment variable {KEY_VARIABLE}"
        )
    if not (key.isascii() and key.isprintable()) or " " in key or key == "YOUR_API_KEY":
        raise RequestError(f"{KEY_VARIABLE} holds no key: letters, digits and dashes only")
    return key


class Vendor:
    """Calls of the vendor's API, each made again while that can help.

    Raises
    ------
    RequestError
        Without a key, for a gateway that would show it to others, or what the vendor refuses.
    VendorError
        When the network or the vendor fails and keeps failing.
    """

    def __init__(self, settings: DownloadSettings, say: Callable[[str], None]) -> None:
        self._key = key_of()
        self._say = say
        self.retries = settings.retries
        self._backoff = parse_duration(settings.backoff) / 1e9
        # The groups of `databento.Historical`, which takes https only: tests speak to a loopback.
        from databento.common.enums import HistoricalGateway
        from databento.historical.api.batch import BatchHttpAPI
        from databento.historical.api.metadata import MetadataHttpAPI

        self.gateway = settings.gateway.rstrip("/") or str(HistoricalGateway.BO1.value)
        address = urlsplit(self.gateway)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise RequestError(
                f"download.gateway = {self.gateway!r}: the key is sent over https only"
            )
        if settings.gateway:
            say(f"gateway: {self.gateway}")
        self._groups: dict[str, Any] = {
            "metadata": MetadataHttpAPI(key=self._key, gateway=self.gateway),
            "batch": BatchHttpAPI(key=self._key, gateway=self.gateway),
        }

    def call(self, path: str, **arguments: Any) -> Any:
        """``call("metadata.get_cost", dataset=...)``: asked again after 429, 5xx and cuts."""
        return self.again(lambda: self.once(path, **arguments))

    def once(self, path: str, **arguments: Any) -> Any:
        """One request; a failure that may pass is a :class:`_Passing`."""
        group, _, name = path.partition(".")
        function = getattr(self._groups[group], name)
        return self._guarded(lambda: function(**arguments))

    def again(self, attempt: Callable[[], Any]) -> Any:
        """The attempt's result; made again with growing waits while it may pass."""
        for number in range(self.retries + 1):
            try:
                return attempt()
            except PassingError as error:
                if number == self.retries:
                    raise VendorError(
                        f"{error}; gave up after {self.retries + 1} attempts: what was finished is "
                        "kept, run the same command again"
                    ) from None
                self.wait(number, error)
        raise AssertionError

    def wait(self, number: int, error: PassingError) -> None:
        """Wait as the vendor says, else twice as long as the time before."""
        seconds = self._backoff * 2**number if error.after is None else error.after
        seconds = min(seconds, _LONGEST_WAIT)
        self._say(f"{error}; again in {seconds:.3g} s")
        time.sleep(seconds)

    def open(self, url: str, start: int) -> AbstractContextManager[Any]:
        """An open response with a file's bytes from ``start`` on; headers are there, no body.

        The client's own function appends a whole file where a server ignores the range, only
        warns when a hash differs, and waits for ever on a dead connection: files are fetched
        here.  The key goes to the gateway and to the vendor's own hosts only.
        """
        import requests

        headers = {"accept-encoding": "identity"}
        if start:
            headers["range"] = f"bytes={start}-"
        auth = (self._key, "") if self._is_vendors(url) else None
        response: AbstractContextManager[Any] = self._guarded(
            lambda: requests.get(url, headers=headers, auth=auth, stream=True, timeout=_TIMEOUT)
        )
        return response

    def _is_vendors(self, url: str) -> bool:
        asked, known = urlsplit(url), urlsplit(self.gateway)
        if (asked.scheme, asked.netloc) == (known.scheme, known.netloc):
            return True
        host = asked.hostname or ""
        return asked.scheme == "https" and (host + "/").endswith(".databento.com/")

    def _guarded(self, act: Callable[[], Any]) -> Any:
        """The result; exceptions of the libraries as ours, without the key in them."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                return act()
            except OSError as error:
                raise self.passing(error) from None
            except MboError:
                raise
            except Exception as error:
                raise self._translated(error) from None
            finally:
                for one in told:
                    if one.category.__name__.startswith("Bento"):
                        self._say(self.clean(f"the vendor says: {one.message}"))

    def clean(self, text: str) -> str:
        """The text on one line, without the key."""
        return " ".join(text.replace(self._key, "***").split())

    def passing(self, error: Exception) -> MboError:
        """A fault of the network; a fault of our own disk stays one."""
        import requests

        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise error
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)):
            return RequestError(self.clean(f"{self.gateway}: no address ({error})"))
        what = "does not answer" if isinstance(error, requests.Timeout) else "cannot be reached"
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            what = "cut the connection"
        return PassingError(self.clean(f"{self.gateway} {what} ({_cause(error)})"))

    def _translated(self, error: Exception) -> MboError:
        from databento.common.error import BentoError, BentoHttpError

        if isinstance(error, BentoHttpError):
            return self.refusal(error.http_status, str(error.message or ""), error.headers)
        if isinstance(error, BentoError):  # a body that was cut
            return PassingError(self.clean(f"{self.gateway}: {error}"))
        if isinstance(error, ValueError):  # the client's own checks, answers that are no JSON
            return RequestError(self.clean(f"download: {error}"))
        return VendorError(self.clean(f"download: {type(error).__name__}: {error}"))

    def refusal(self, status: int, text: str, headers: Mapping[str, Any]) -> MboError:
        """What an HTTP status means, and what to do."""
        told = self.clean(text)
        tail = f": {told}" if told else ""
        if status in _AGAIN or status >= 500:
            what = "asks to slow down" if status == 429 else "failed"
            return PassingError(
                f"the vendor {what} ({status}{tail})", _seconds(headers.get("Retry-After"))
            )
        texts = {
            401: f"the vendor does not accept the key in {KEY_VARIABLE} (401){tail}",
            402: f"the vendor wants the account paid or topped up first (402){tail}",
            403: f"the key's plan does not allow this (403){tail}",
        }
        return RefusedError(
            texts.get(status, f"the vendor refuses the request ({status}){tail}"), status
        )


class PassingError(MboError):
    """A failure that may pass; ``after`` is the vendor's wish, in seconds."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


def _seconds(text: str | None) -> float | None:
    """``Retry-After``: seconds or a date."""
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _cause(error: BaseException) -> str:
    """The innermost reason: `Connection refused` rather than three wrappers of it."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = str(reason or error)
    return text.rsplit(": ", 1)[-1][:200]


def say_nothing(_: str) -> None:
    """For `--quiet` and `--json`."""


def say_line(line: str) -> None:
    print(line, file=sys.stderr)
