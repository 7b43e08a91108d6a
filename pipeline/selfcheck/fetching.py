"""The vendor's sample: a small session, fetched with the user's key, cost first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from pipeline.config import Settings
from pipeline.download.request import DownloadRequest, make_request
from pipeline.errors import MboError, RequestError

DATASET: Final = "GLBX.MDP3"
SYMBOLS: Final = ("SILN5",)
"""Micro silver: a real contract, and few records."""
FIRST: Final = date(2025, 6, 1)
LAST: Final = date(2025, 6, 2)
"""UTC days that hold Monday's session."""
SCHEMAS: Final = ("mbo", "definition", "status", "mbp-10", "trades")
"""The last two to hold books and prints against; those that the dataset has."""
MOST_USD: Final = 1.0
"""What is spent without being asked for (``--yes``)."""


def sample_request() -> DownloadRequest:
    """What is fetched."""
    return make_request(DATASET, SYMBOLS, "", SCHEMAS, FIRST, LAST)


def fetch_sample(
    folder: Path, settings: Settings, tell: Callable[[str], None], *, yes: bool
) -> Path:
    """Fetch it into a folder: the raw folder there.

    Raises
    ------
    RequestError
        If it costs more than :data:`MOST_USD` and not ``yes``, or than ``[download] max_cost``;
        then nothing was ordered.
    MboError
        If the vendor refuses or fails.
    """
    from pipeline.download.run import run

    request, raw = sample_request(), folder / "raw"
    allowed = settings.download.max_cost
    if not yes and (allowed is None or allowed > MOST_USD):
        settings = settings.with_values(download={"max_cost": MOST_USD})
    # Hashes are remembered beside the files, not in the user's lake.
    settings = settings.with_values(lake={"path": str(folder / "hashes")})
    tell(f"fetching {described(request)} with your key, for at most {_limit(settings)}")
    found = run(request, raw, settings, yes=True, own_schemas=False, say=tell)
    if found.too_dear and settings.download.max_cost == MOST_USD and not yes:
        raise RequestError(
            f"{described(request)} costs {found.quote.usd:.2f} USD, more than {MOST_USD:.2f}: "
            "nothing was ordered; say --yes to pay it"
        )
    found.check_cost()
    if found.failed:
        raise MboError(f"the vendor's sample: {found.failed[0]}")
    tell(f"fetched for {found.quote.usd:.2f} USD")
    return raw


def described(request: DownloadRequest) -> str:
    """In words."""
    days = f"{request.first} to {request.last}"
    return f"the vendor's {request.dataset} {','.join(request.symbols)}, {days}"


def _limit(settings: Settings) -> str:
    most = settings.download.max_cost
    return "what it costs" if most is None else f"{most:.2f} USD"
