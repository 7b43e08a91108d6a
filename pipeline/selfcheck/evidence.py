"""What a self-check found: a line a check, with what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import DIFFERENCES, OK, MboError


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    passed: bool | None
    """None where there is nothing to hold against what was seen."""
    evidence: str

    @property
    def verdict(self) -> str:
        """As the table shows it."""
        return "-" if self.passed is None else "PASS" if self.passed else "FAIL"


@dataclass
class Evidence:
    """All of them, in order."""

    about: str
    """The market they were made on."""
    simulated: bool
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    def look(self, name: str, check: Callable[[], tuple[bool | None, str]]) -> Check:
        """Make a check; one that cannot be made has failed."""
        try:
            found = Check(name, *check())
        except MboError as error:
            found = Check(name, passed=False, evidence=str(error))
        self.checks.append(found)
        return found

    @property
    def failed(self) -> int:
        """Checks that did not pass."""
        return sum(check.passed is False for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 where all passed, 3 otherwise."""
        return DIFFERENCES if self.failed else OK

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows for a terminal."""
        rows = [[check.name, check.verdict, check.evidence] for check in self.checks]
        return ["check", "", "evidence"], list(rows)

    def summary(self) -> str:
        """The last line."""
        count = sum(check.passed is not None for check in self.checks)
        verdict = f"{self.failed} of {count} FAILED" if self.failed else f"all {count} passed"
        return f"{verdict} in {self.seconds:.0f} s"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "market": self.about,
            "simulated": self.simulated,
            "passed": not self.failed,
            "checks": [asdict(check) for check in self.checks],
            "seconds": round(self.seconds, 1),
        }
