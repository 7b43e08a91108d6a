"""Rebuilt books against the vendor's own rows: what `mbo verify` does."""
