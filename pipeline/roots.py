"""The three packages must come from one checkout: common names such as ``features`` are easily
shadowed by a folder or a package of somebody else's.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import RequestError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout this program runs from."""


def check_roots() -> None:
    """Make sure that ``features`` and ``strategies`` are ours.

    Raises
    ------
    RequestError
        Naming the file or folder that shadows one of them.
    """
    for name in ("features", "strategies"):
        spec = find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is None or origin.resolve().parent.parent != ROOT:
            where = origin or (list(spec.submodule_search_locations or [])[:1] if spec else "none")
            raise RequestError(
                f"the package {name!r} is taken from {where}, not from {ROOT}; "
                "rename that file or folder, or start from another one"
            )
