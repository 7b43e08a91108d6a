"""A page as a browser would take it apart: strict about nesting, and about what it loads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "img", "input", "hr", "link"}
URL = {"src", "href", "action", "data", "poster", "srcset", "xlink:href"}


@dataclass
class Cell:
    figure: str
    text: str = ""


@dataclass
class Page(HTMLParser):
    """What a page holds.  Wrong nesting, repeated ids and loads from anywhere raise."""

    text: str
    tags: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    policy: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._ids: set[str] = set()
        self._cell: Cell | None = None
        self._json = False
        self.feed(self.text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attributes)
        if tag not in VOID:
            self._open.append(tag)
        if "id" in values:
            assert values["id"] not in self._ids, f"id {values['id']} twice"
            self._ids.add(str(values["id"]))
        self.links += [str(value) for name, value in attributes if name in URL]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(values["content"])
        if "data-figure" in values:
            self._cell = Cell(str(values["data-figure"]))
            self.cells.append(self._cell)
        if tag == "script":
            self._json = values.get("type") == "application/json"
            if not self._json:
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> of nothing"
        assert self._open[-1] == tag, f"</{tag}> within <{self._open[-1]}>"
        self._open.pop()
        if tag in ("td", "span"):
            self._cell = None

    def handle_data(self, data: str) -> None:
        where = self._open[-1] if self._open else ""
        if where == "script" and self._json:
            self.data = json.loads(data)
        elif where == "script":
            self.scripts[-1] += data
        elif where != "style":
            self.words.append(data)
            if self._cell is not None:
                self._cell.text += data

    @property
    def content(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def figure(self, name: str) -> list[str]:
        """Texts of a figure, in the order of the page."""
        return [cell.text for cell in self.cells if cell.figure == name]
