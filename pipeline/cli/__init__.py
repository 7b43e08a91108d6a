"""The ``mbo`` command.  Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import sys

from pipeline.cli.interrupts import interrupts_stop


def main() -> None:
    """Entry point of the console script."""
    interrupts_stop()
    from pipeline.startup import loading

    # Not at the top: a spawned worker imports this module, and needs no command line.
    with loading():
        from pipeline.cli.app import app
        from pipeline.cli.common import hoist_options

    app(args=hoist_options(sys.argv[1:]), prog_name="mbo")


if __name__ == "__main__":
    main()
