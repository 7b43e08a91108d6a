"""``python -m pipeline.cli`` is the same as ``mbo``."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
