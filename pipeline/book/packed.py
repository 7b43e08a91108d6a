"""Books of a packed day: one task for all its symbols, one file a table.

Planning by day, and which earlier state each symbol goes on from.  The books themselves are made
by the stage's own function, symbol after symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.stage import Catalog, Inputs, Outputs, Partition, Ref, Stored, TableRef, Task
from pipeline.symbolwise import PackedInputs, each_symbol


def needs_state(item: Stored) -> bool:
    """Whether a day of `mbo` goes on from the day before."""
    return item.notes.get("opens_with") not in {"snapshot", "clear"}


def opens_with_snapshot(item: Stored) -> bool:
    """Whether what was carried can be compared with what the day opens with."""
    return bool(item.notes.get("opens_with") == "snapshot")


def with_earlier(
    wanted: Iterable[Partition],
    days: Mapping[Partition, Stored],
    before: Mapping[Partition, Partition],
) -> set[Partition]:
    """The days wanted, those their states are carried from, and all symbols of packed days."""
    inside: dict[Partition, list[Partition]] = {}
    for partition, item in days.items():
        if item.inside:
            inside.setdefault(item.inside, []).append(partition)
    found = set(wanted)
    stack = list(found)
    while stack:
        partition = stack.pop()
        item = days[partition]
        more = inside.pop(item.inside, []) if item.inside else []
        if needs_state(item) and partition in before:
            more.append(before[partition])
        new = [other for other in more if other not in found]
        found.update(new)
        stack += new
    return found


def by_packed_day(items: Iterable[Stored]) -> dict[Partition, list[Stored]]:
    """Symbols of packed days, by day."""
    days: dict[Partition, list[Stored]] = {}
    for item in items:
        if item.inside:
            days.setdefault(item.inside, []).append(item)
    return days


def earlier_states(
    items: Sequence[Stored],
    days: Mapping[Partition, Stored],
    before: Mapping[Partition, Partition],
    uses: Callable[[Stored], bool],
    *,
    optional: bool,
) -> list[Ref]:
    """The states that symbols of a packed day use: whole days, or symbols where those are not
    packed.
    """
    refs = {
        days[earlier].inside or earlier
        for item in items
        if uses(item) and (earlier := before.get(item.partition))
    }
    return [TableRef("book_state", partition, optional) for partition in sorted(refs)]


def carried_from(catalog: Catalog, item: Stored, states: Sequence[Partition]) -> Partition | None:
    """Which of the states that a task read was the one of a day and symbol."""
    if item.inside is None:
        return states[0] if states else None
    if not needs_state(item):
        return None
    own = [Partition((*s.without("symbol").keys, item.partition.keys[-1])) for s in states]
    there = [s for s in own if s in states or catalog.get("book_state", s)]
    return max(there, key=lambda s: s["date"], default=None)


def book_task(
    day: Partition, items: Sequence[Stored], states: Sequence[Ref], params: Mapping[str, Any]
) -> Task:
    """The task that makes the books of a packed day."""
    outputs = (day, *(item.partition for item in items))
    weight = sum(item.rows for item in items)
    return Task(day, (TableRef("mbo", day), *states), params, weight=weight, outputs=outputs)


def quality_task(day: Partition, items: Sequence[Stored], states: Sequence[Ref]) -> Task:
    """The task that makes `quality` of a packed day."""
    inputs: list[Ref] = [TableRef("book_counts", day), TableRef("mbo", day), *states]
    partition = Partition((("check", "quality"), *day.keys))
    # The vendor's word is on the day, not on the symbol.
    return Task(partition, tuple(inputs), {"condition": items[0].notes.get("condition")})


def is_packed(task: Task) -> bool:
    """Whether a task is of a packed day."""
    return task.partition.get("symbol") is None


def run_books(
    task: Task, inputs: Inputs, outputs: Outputs, run: Callable[[Task, Inputs, Outputs], None]
) -> None:
    """Make the books of a packed day; ``run`` makes those of one symbol."""
    crowded = frozenset(task.params.get("consolidated", ()))

    def run_one(own: Task, some: Inputs, there: Outputs) -> None:
        consolidated = {"consolidated": own.partition["symbol"] in crowded}
        run(replace(own, params={**own.params, **consolidated}), some, there)

    each_symbol(task, inputs, outputs, task.partition, "mbo", _from_states(needs_state), run_one)


def run_quality(
    task: Task, inputs: Inputs, outputs: Outputs, run: Callable[[Task, Inputs, Outputs], None]
) -> None:
    """Make `quality` of a packed day; ``run`` makes that of one symbol."""
    day = task.partition.without("check")
    each_symbol(task, inputs, outputs, day, "mbo", _from_states(opens_with_snapshot), run)


def _from_states(
    uses: Callable[[Stored], bool],
) -> Callable[[PackedInputs, str], Mapping[str, Sequence[Stored]]]:
    def choose(found: PackedInputs, symbol: str) -> Mapping[str, Sequence[Stored]]:
        mbo = found.of("mbo", symbol)
        chosen = {name: found.of(name, symbol) for name in ("mbo", "book", "book_counts")}
        if uses(mbo[0]):
            states = found.of("book_state", symbol)
            chosen["book_state"] = sorted(states, key=lambda s: s.partition["date"])[-1:]
        return chosen

    return choose
