"""Models as text: JSON of a kind and of arrays of numbers, and nothing else.

A text is read with the shapes it must have at hand; whatever is not a finite number in its place
is refused.  Nothing in it is ever run, imported or looked up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def write_numbers(kind: str, values: Mapping[str, Floats]) -> str:
    """JSON of arrays; every number comes back with the same bits."""
    lists = {name: value.tolist() for name, value in values.items()}
    return json.dumps({"kind": kind, **lists}, separators=(",", ":"), allow_nan=False)


def read_numbers(text: str, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """The arrays of a text.

    Parameters
    ----------
    shapes
        By name: the shape an array must have.

    Raises
    ------
    ValueError
        Saying what is wrong with the text.
    """
    value = read_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of the text, not of an argument
    if value.get("kind") != kind:
        raise ValueError(f"its kind is {value.get('kind')!r}, not {kind!r}")
    unknown = set(value) - {"kind", *shapes}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}")
    return {name: _array(value.get(name), name, shape) for name, shape in shapes.items()}


def read_json(text: str) -> Any:
    """A JSON value; ``ValueError`` where it is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _array(value: Any, name: str, shape: tuple[int, ...]) -> Floats:
    flat = _flat(value, name, shape)
    found = np.array(flat, dtype=np.float64).reshape(shape)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} has a value that is not finite")
    return found


def _flat(value: Any, name: str, shape: tuple[int, ...]) -> list[float]:
    if not shape:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} has {value!r} where a number belongs")
        return [float(value)]
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError(f"{name} is not a list of {shape[0]} values")
    return [number for item in value for number in _flat(item, name, shape[1:])]
