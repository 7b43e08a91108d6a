"""What there is, for people: features, labels, strategies, tables, models, runs and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import Settings
from pipeline.errors import RequestError
from pipeline.instants import format_count

if TYPE_CHECKING:
    from features.registry import Family, Registry
    from pipeline.tables import Table
    from strategies.interface import Strategy

Listing = tuple[list[str], list[list[Any]]]


@dataclass
class Description:
    """A thing described: a title, a text, and named facts in order."""

    title: str
    body: str
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"title": self.title, "text": self.body, **self.facts}

    def text(self) -> str:
        lines = [self.title, "", self.body.strip(), ""]
        width = max((len(name) for name in self.facts), default=0)
        for name, value in self.facts.items():
            if isinstance(value, list):
                lines.append(f"{name}:")
                lines += [f"  {item}" for item in value]
            elif value not in (None, ""):
                lines.append(f"{name.ljust(width)}  {value}")
        return "\n".join(lines).rstrip()


def _registry(kind: str, settings: Settings) -> Registry:
    from features.registry import FEATURES, LABELS
    from features.sets import load_user_features

    for file in settings.features.files:
        load_user_features(Path(file))
    return FEATURES if kind == "features" else LABELS


def listing(
    kind: str, settings: Settings, root: Path, words: Sequence[str] = (), cost: str = ""
) -> Listing:
    """Header and rows of `mbo list KIND`; of features and labels those the words mean.

    Raises
    ------
    RequestError
        For a word that means nothing, an unknown cost class, or either with another kind.
    """
    if kind not in ("features", "labels") and (words or cost):
        raise RequestError(
            f"{kind} are listed whole; only features and labels can be narrowed down"
        )
    if cost and cost not in COSTS:
        raise RequestError.unknown("cost class", cost, COSTS)
    makers: dict[str, Callable[[], Listing]] = {
        "features": lambda: _families(_registry("features", settings), words, cost),
        "labels": lambda: _families(_registry("labels", settings), words, cost),
        "strategies": _strategies,
        "tables": _tables,
        "models": lambda: _models(root),
        "runs": lambda: _runs(root),
        "sweeps": lambda: _sweeps(root),
        "queries": _queries,
    }
    return makers[kind]()


COSTS: Final = ("row", "window", "state", "grid")
"""Cost classes of features: of the row alone, sums over windows, running states, grid samples."""


def cost_class(family: Family) -> str:
    """How much work a value is, by what stands behind it; `mbo bench features` has the figures."""
    from features.nodes import reachable

    states = {node.state for node in reachable([family.grid()[0].expr])}
    if "grid" in states:
        return "grid"
    if states - {"prefix", "value", "opening", "fitted"}:
        return "state"
    return "window" if states else "row"


def _families(registry: Registry, words: Sequence[str] = (), cost: str = "") -> Listing:
    """Families, those that one of the words means: a family, tag, tier, id, name or pattern."""
    families = registry.families()
    if words:
        chosen = {id(column.family) for column in registry.resolve(words)}
        families = [family for family in families if id(family) in chosen]
    rows: list[list[Any]] = []
    for f in families:
        known = cost_class(f)
        if cost in ("", known):
            rows.append(
                [f.template, len(f.grid()), f.family, f.catalogue, f.tier, known, f.unit,
                 _first_line(f.doc)]
            )  # fmt: skip
    header = ["name", "columns", "family", "id", "tier", "cost", "unit", "meaning"]
    return header, rows


def _strategies() -> Listing:
    from strategies.registry import BUILT_IN, load

    rows: list[list[Any]] = []
    for name in sorted(BUILT_IN):
        kind = load(name).strategy
        rows.append([name, _kind_of(kind), kind.regime, _first_line(kind.__doc__ or "")])
    return ["name", "kind", "hopes for", "rule"], rows


def _kind_of(strategy: type[Strategy]) -> str:
    from strategies.event import EventStrategy

    return "event" if issubclass(strategy, EventStrategy) else "signal"


def _tables() -> Listing:
    from pipeline.documentation import all_tables
    from pipeline.lake import WHICH_COMMAND

    rows: list[list[Any]] = [
        [table.name, table.key, len(table.columns), WHICH_COMMAND.get(table.name, ""), table.row]
        for table in all_tables()
    ]
    rows += [
        [name, "session", None, WHICH_COMMAND[name], "decision point"]
        for name in ("features", "labels")
    ]
    return ["table", "key", "columns", "made by", "one row per"], rows


def _runs(root: Path) -> Listing:
    from pipeline.lake import open_lake

    lake = open_lake(root)
    header = ["run_id", "strategy", "reading", "sessions", "currency", "net", "fees", "fills"]
    if not lake.run_ids():
        return header, []
    frame = lake.scan("runs").collect()
    columns = [name for name in header if name in frame.columns]
    return columns, [list(row) for row in frame.select(columns).rows()]


def _models(root: Path) -> Listing:
    from pipeline.lake import open_lake
    from pipeline.models.listing import HEADER, row_of_model

    lake = open_lake(root)
    return list(HEADER), [row_of_model(lake.model(one)) for one in lake.model_ids()]


def _sweeps(root: Path) -> Listing:
    from pipeline.lake import open_lake

    lake = open_lake(root)
    rows: list[list[Any]] = []
    for sweep in map(lake.sweep, sorted(lake.sweep_ids())):
        legs = sweep.rows
        rows.append(
            [sweep.sweep_id, legs["strategy"][0], ", ".join(sweep.axes), sweep.walk_forward or None,
             legs["trial"].n_unique(), legs["run_id"].n_unique(), legs["done"].not_().sum(),
             str(legs["first_session"].min()), str(legs["last_session"].max()), sweep.metric,
             sweep.reading]
        )  # fmt: skip
    header = ["sweep_id", "strategy", "varied", "walk-forward", "trials", "runs", "failed", "first",
              "last", "metric", "reading"]  # fmt: skip
    return header, rows


def _queries() -> Listing:
    from pipeline.sql import named_queries

    return ["query", "question"], [[q.name, q.description] for q in named_queries().values()]


def describe(name: str, settings: Settings, root: Path) -> Description:
    """The feature, label, strategy, table, query or run of that name.

    Raises
    ------
    RequestError
        If nothing is called so, with the nearest names of every kind.
    """
    from pipeline.documentation import all_tables
    from pipeline.sql import named_queries
    from strategies.registry import BUILT_IN

    for kind in ("features", "labels"):
        registry = _registry(kind, settings)
        for family in registry.families():
            if name in (family.name, family.template) or family.match(name):
                return _describe_family(family, name)
        if column := registry.find(name):
            return _describe_family(column.family, name)
    tables = {table.name: table for table in all_tables()}
    if name in tables:
        return _describe_table(tables[name])
    if name in BUILT_IN or ".py:" in name:
        return _describe_strategy(name)
    queries = named_queries()
    if name in queries:
        return Description(
            f"query {name}", queries[name].description, {"run it": f"mbo sql {name}"}
        )
    runs: list[str] = []
    models: list[str] = []
    if root.is_dir():
        from pipeline.lake import open_lake

        models = open_lake(root).model_ids()
        if any(model.startswith(name) for model in models):
            return _describe_model(name, root)
        runs = open_lake(root).run_ids()
        if any(run.startswith(name) for run in runs):
            summary = open_lake(root).run(name).summary
            return Description(f"run {summary['run_id']}", "", summary)
    known = [*tables, *BUILT_IN, *queries, *models, *runs]
    for kind in ("features", "labels"):
        registry = _registry(kind, settings)
        known += [family.name for family in registry.families()] + registry.names()
    raise RequestError.unknown("name", name, known)


def _describe_model(name: str, root: Path) -> Description:
    from pipeline.lake import open_lake
    from pipeline.models.listing import facts_of_model

    model = open_lake(root).model(name)
    return Description(f"model {model.model_id}", "", facts_of_model(model))


def _describe_family(family: Family, name: str) -> Description:
    found = family.match(name)
    column = found or family.grid()[0]
    names = [c.name for c in family.grid()]
    fitted = ", ".join(one.name for one in column.components)
    kind = f"{family.kind}s"
    example = [
        "[features.sets.mine]",
        *([] if family.kind == "feature" else ['features = ["mid"]']),
        f'{kind} = ["{column.name}"]',
    ]
    facts = {
        "catalogue": family.catalogue,
        "family": family.family,
        "file": family.origin,
        "tier": family.tier,
        "unit": family.unit,
        "type": str(family.dtype),
        "range": bounds(family),
        "sides swapped": MIRRORS[family.mirror],
        "source": family.source,
        "warm-up": column.warm_up,
        "needs": ", ".join([f"book of {format_count(column.depth, 'level')}", *column.tables]),
        "fitted": f"on past sessions: {fitted}" if fitted else "",
        "cost": cost_class(family),
        "parameters": _parameters(family) or None,
        "columns": names if len(names) > 1 and not found else None,
    }
    if family.kind == "feature" and family.normalised is None:
        facts["normalised"] = f"{column.name}__z_60s, ... (docs/features.md#normalisers)"
    facts["example, in research.toml"] = example
    title = f"{family.kind} {column.name if found else family.template}"
    return Description(title, family.doc, facts)


MIRRORS: Final = {
    "odd": "changes sign",
    "even": "stays",
    "swap": "becomes the other side's",
    "swap_odd": "becomes the other side's, with the sign changed",
    "complement": "becomes 1 less it",
    "other": "",
}


def bounds(family: Family) -> str:
    """The declared range in words; empty without one."""
    if family.low is None and family.high is None:
        return ""
    if family.high is None:
        return f"from {family.low:g}"
    return f"up to {family.high:g}" if family.low is None else f"{family.low:g} to {family.high:g}"


def _parameters(family: Family) -> list[str]:
    lines = []
    for name, parameter in family.params.items():
        values = ", ".join(str(value) for value in parameter.values)
        more = parameter.others
        lines.append(f"{name}: {values}" + (f" ({more})" if more else ""))
    return lines


def _describe_table(table: Table) -> Description:
    columns = [
        f"{c.name:<24} {c.type!s:<22} {c.unit:<10} {'null ' if c.nullable else '     '}"
        f"{c.description}"
        for c in table.columns
    ]
    return Description(f"table {table.name}", f"One row per {table.row}.", {"columns": columns})


def _describe_strategy(name: str) -> Description:
    from strategies.interface import parameters
    from strategies.registry import load

    kind = load(name).strategy
    lines = [
        f"{p.name} = {p.show(p.default)}  {p.unit}  {p.doc}" for p in parameters(kind).values()
    ]
    return Description(
        f"strategy {name}",
        kind.__doc__ or "",
        {
            "kind": _kind_of(kind),
            "wakes": getattr(kind, "wake", "at each row of the feature table"),
            "hopes for": kind.regime,
            "parameters": lines,
            "reads": ", ".join(kind().features()),
            "run it": f"mbo backtest {name} -p key=value",
        },
    )


def _first_line(doc: str) -> str:
    return doc.strip().splitlines()[0] if doc.strip() else ""
