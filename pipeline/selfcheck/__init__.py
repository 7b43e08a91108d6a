"""The pipeline on a small market, with all checked that can be: `mbo verify --sample`."""
