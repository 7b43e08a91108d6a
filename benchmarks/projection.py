"""From a rehearsed day to a month and to five years, with what that assumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Table

SPANS: Final = {
    "26 days, 264 M records": (264_000_000, 26),
    "5 years, 15 billion records": (15_000_000_000, 1290),
}
"""Records and sessions."""
MANY_CORES: Final = 16
EFFICIENCY: Final = 0.85
"""Of what as many times one worker would do."""


@dataclass(frozen=True)
class Stage:
    """Seconds that a stage takes with one worker."""

    name: str
    once: float
    a_day: float
    """A session of all instruments, however short."""
    a_record: float
    peak_mib: float

    def seconds(self, records: int, days: int, workers: int) -> float:
        """For so many records in so many days."""
        share = 1.0 if workers == 1 else 1 / (workers * EFFICIENCY)
        return self.once + (days * self.a_day + records * self.a_record) * share


def span_text(seconds: float) -> str:
    """Seconds as people say them: ``40 s``, ``4 min``, ``3.2 h``, ``2.1 d``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def projection(stages: Sequence[Stage], cores: int, bytes_a_record: float) -> Table:
    """Time of each span by stage and in all, with disk and memory."""
    columns = [(span, n) for span in SPANS for n in (cores, MANY_CORES)]
    table = Table(
        "projection of the rehearsed day",
        ["work", *(f"{span}, {n} workers" for span, n in columns)],
    )
    totals = [0.0] * len(columns)
    for stage in stages:
        cells = [stage.seconds(*SPANS[span], n) for span, n in columns]
        table.rows.append([stage.name, *map(span_text, cells)])
        totals = [a + b for a, b in zip(totals, cells, strict=True)]
    table.rows.append(["in all", *map(span_text, totals)])
    disk = [f"{SPANS[span][0] * bytes_a_record / 1e9:,.0f} GB" for span, _ in columns]
    table.rows.append(["disk of the lake", *disk])
    peak = max(stage.peak_mib for stage in stages)
    table.rows.append(["memory, at most", *(f"{n * peak / 1024:.1f} GiB" for _, n in columns)])
    table.remarks = (
        "Assumes days like the rehearsed one; that time grows with records and days, and memory "
        "with the busiest session alone (`mbo bench scale`); that workers do "
        f"{EFFICIENCY:.0%} of as many times one (`python -m benchmarks.scaling` has two), with "
        "disks and memory that keep up.  Days and instruments go to workers whole: less than the "
        "busiest instrument's day cannot be waited for.  More columns than the default set's take "
        "more time and disk."
    )
    return table
