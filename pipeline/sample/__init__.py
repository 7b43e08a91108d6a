"""The sample market: a simulated CME-like futures market as a genuine batch folder."""

from pipeline.sample.generate import write_sample
from pipeline.sample.options import SampleOptions, SampleSummary

__all__ = ["SampleOptions", "SampleSummary", "write_sample"]
