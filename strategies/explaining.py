"""What a compiler says of a strategy, in one line: file, line, what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pipeline.errors import RequestError
from strategies.event import EventStrategy
from strategies.source import Place, file_of

_KINDS: Final = (
    (r"Literal\[str\]\([^)]*\)|unicode_type", "a text"),
    (r"Literal\[bool\]\([^)]*\)|\bboolean\b|\bbool\b", "a bool"),
    (r"Literal\[int\]\([^)]*\)|\bu?int(64|32|8)\b", "an int"),
    (r"\bfloat(64|32)\b", "a float"),
    (r"\bnone\b", "None"),
    (r"(reflected )?list\(.*?\)(<iv=.*?>)?", "a list"),
    (r"array\(.*?\)", "an array"),
    (r"(Uni|Hetero\w*)?Tuple\(.*?\)", "a tuple"),
    (r"[\w.]*\bMarket\b", "the market"),
    (r"[\w.]*\w+Memory\b", "the strategy"),
)
"""Names of types as the compiler writes them, and as people do."""

_SIGNS: Final = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!=", "neg": "-",
    "iadd": "+=", "isub": "-=", "imul": "*=", "getitem": "[...]", "setitem": "[...] =",
}  # fmt: skip

_SAID: Final = (
    (r"stores a (float) in an (int)", "a float is put where ints are kept; write int(...)"),
    (r"(\w+ of m\.\w+ is a float; [^\n]*)", "{0}"),
    (r"Cannot cast (.+?) to (.+?)(?::|$)", "{1} is assigned {0}"),
    (r"Cannot unify (.+?) and (.+?) for '([^']+)'", "{0} in one place, {1} in another; keep one"),
    (r"Can't unify return type from the following types: (.+)",
     "returns {0}; return the same type everywhere"),
    (r">>> (\w+)\((.*)\)", "{0} does not take {1}"),
    (r"Unknown attribute '(\w+)' of type (.+)", "{1} has no {0!r}"),
    (r"Cannot resolve setattr: \((.+?)\)\.(\w+)", "{0} has no {1!r}"),
    (r"Cannot infer the type of variable '(\w+)'",
     "the type of {0!r} is not known, as of an empty list; use state_array"),
    (r"(\w+) of (\w+) cannot be assigned", "{0} of the market cannot be assigned"),
    (r"(?:NameError: )?name '(\w+)' is not defined", "unknown name {0!r}"),
    (r"[Vv]ariable '(\w+)' referenced before assignment", "{0!r} may not have a value yet"),
)  # fmt: skip


def explain(strategy: EventStrategy, error: Exception) -> RequestError:
    """The pages of a compiler in one line, in our words."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    file, line = _where(text, file_of(type(strategy)))
    code = _line_of(file, line)
    what = _what(text)
    shown = f"`{code}` cannot be compiled" if code else "it cannot be compiled"
    told = what or "callbacks work with numbers, arrays and the market"
    return Place(file, type(strategy).__name__, line).error(f"{shown}: {told}")


def _where(text: str, own: Path | None) -> tuple[Path | None, int]:
    """The innermost place in the strategy's own file, else in any that is not the compiler's."""
    found = [
        (Path(path), int(line))
        for path, line in re.findall(r'File "([^"]+)", line (\d+)', text)
        + re.findall(r" at (\S+\.py) \((\d+)\)", text)
        + re.findall(r"\((\S+\.py):(\d+)\)", text)
    ]
    lines = [line for path, line in found if own and path.name == own.name]
    return (own, lines[-1]) if lines else (own, 0)


def _line_of(file: Path | None, line: int) -> str:
    if file is None or not line or not file.is_file():
        return ""
    lines = file.read_text().splitlines()
    return lines[line - 1].strip() if line <= len(lines) else ""


def _what(text: str) -> str:
    for pattern, told in _SAID:
        if found := re.search(pattern, text, re.MULTILINE):
            groups = [_people(group) for group in found.groups()]
            return told.format(*groups)
    return ""


def _people(text: str) -> str:
    for pattern, name in _KINDS:
        text = re.sub(pattern, name, text)
    return _SIGNS.get(text, text).strip()
