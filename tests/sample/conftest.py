"""Small samples that the tests of this folder share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.sample import SampleOptions, write_sample
from tests.sample.replay import days_of, read

IDS = {"SIMM5": 4_916, "SIMU5": 14_160, "SIMM5-SIMU5": 42_009_475}


@dataclass(frozen=True)
class Sample:
    """A written sample, its files read into arrays."""

    folder: Path

    @property
    def days(self) -> list[str]:
        return days_of(self.folder)

    def read(self, day: str, schema: str) -> np.ndarray:
        return read(self.folder, day, schema)

    def all(self, schema: str) -> np.ndarray:
        return np.concatenate([self.read(day, schema) for day in self.days])

    def of(self, symbol: str, schema: str = "mbo") -> np.ndarray:
        records = self.all(schema)
        return records[records["instrument_id"] == IDS[symbol]]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """One session of 24,000 records: a Sunday evening and a Monday."""
    out = tmp_path_factory.mktemp("sample")
    return Sample(write_sample(SampleOptions(out=out, days=1, records=24_000)).folder)


@pytest.fixture(scope="session")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Six short sessions: across a weekend."""
    out = tmp_path_factory.mktemp("weeks")
    return Sample(write_sample(SampleOptions(out=out, days=6, records=2_000, seed=7)).folder)


@pytest.fixture(scope="session")
def null_weeks(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The null market over six short sessions."""
    out = tmp_path_factory.mktemp("null-weeks")
    options = SampleOptions(out=out, days=6, records=2_000, seed=3, null=True)
    return Sample(write_sample(options).folder)
