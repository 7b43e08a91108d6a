"""Features and labels: functions that return polars expressions over an instrument's events.

Knows nothing of files or commands.  ``features.registry`` says what there is, ``features.windows``
how history is asked for, ``features.engine`` computes; one module a family holds the formulas.
"""
