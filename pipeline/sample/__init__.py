"""The sample market: a simulated CME-like futures market as a genuine batch folder."""

from pipeline.sample.generate import SampleOptions, SampleSummary, write_sample

__all__ = ["SampleOptions", "SampleSummary", "write_sample"]
