"""The ``mbo`` command.  Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import sys

from pipeline.cli.common import hoist_options


def main() -> None:
    """Entry point of the console script."""
    from pipeline.cli.app import app

    app(args=hoist_options(sys.argv[1:]), prog_name="mbo")


if __name__ == "__main__":
    main()
