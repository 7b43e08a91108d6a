"""Options all commands share, and how errors become one line and an exit code."""

from __future__ import annotations

import _thread
import contextlib
import functools
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.interrupts import interrupts_raise
from pipeline.config import Settings, load_settings
from pipeline.errors import FAILED, INTERRUPTED, MboError, RequestError
from pipeline.roots import check_roots
from pipeline.stage import Selection

_FLAGS = {"--force", "--dry-run", "--json", "--quiet", "--debug"}
_VALUES = {"--config", "--lake", "--workers"}


def hoist_options(arguments: Sequence[str]) -> list[str]:
    """Shared options before the command are moved behind it: both places are accepted."""
    moved: list[str] = []
    rest = list(arguments)
    while rest:
        name, equals, _ = rest[0].partition("=")
        if (name in _FLAGS and not equals) or (name in _VALUES and equals):
            moved.append(rest.pop(0))
        elif name in _VALUES and len(rest) > 1:
            moved += [rest.pop(0), rest.pop(0)]
        else:
            break
    return rest[:1] + moved + rest[1:] if rest else moved


_PANEL_COMMON = {
    "config": (
        Path | None,
        typer.Option("--config", help="Settings file (default: research.toml here)."),
    ),
    "lake": (Path | None, typer.Option("--lake", help="Folder of the lake.")),
    "workers": (int | None, typer.Option("--workers", min=1, help="Processes.")),
    "force": (bool, typer.Option("--force", help="Recompute what is up to date, too.")),
    "dry_run": (bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")),
    "json_out": (bool, typer.Option("--json", help="Print the result as JSON.")),
    "quiet": (bool, typer.Option("--quiet", help="No progress, no summary.")),
    "debug": (bool, typer.Option("--debug", help="Show tracebacks.")),
}
_PANEL_SELECTION = {
    "dataset": (str | None, typer.Option("--dataset", help="Dataset code, e.g. GLBX.MDP3.")),
    "symbols": (
        str | None,
        typer.Option("--symbols", help="Pattern such as 'MES*'; several with commas."),
    ),
    "start": (str | None, typer.Option("--start", help="First date or session, 2025-05-01.")),
    "end": (str | None, typer.Option("--end", help="Last date or session, inclusive.")),
}


@dataclass
class Notice:
    """What is said once, where it matters; nothing is said of an empty one."""

    text: str = ""

    def tell(self) -> None:
        """Say it, if it was not yet."""
        if self.text:
            print(self.text, file=sys.stderr)
        self.text = ""


@dataclass(frozen=True)
class Invocation:
    """A command's shared options, resolved."""

    settings: Settings
    selection: Selection
    lake: Path
    workers: int
    force: bool
    dry_run: bool
    json: bool
    quiet: bool
    debug: bool
    notice: Notice

    @property
    def root(self) -> Path:
        """Folder of the lake; who asks for it uses it, and is told where it is the sample's."""
        self.notice.tell()
        return self.lake

    @property
    def lake_option(self) -> str:
        """The option that names this lake again; empty where it is the one meant anyway."""
        meant = {Settings().lake.path, self.settings.sample.lake}
        return "" if str(self.lake) in meant else f" --lake {self.lake}"

    def print_json(self, value: Any) -> None:
        print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Ctrl-C that falls into a callback from C (LLVM's while compiling) is raised after it.

    Python prints exceptions of such callbacks and of destructors, and forgets them: the run
    would go on.
    """
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            # Not at once: that would raise in here, and be lost again.
            again = threading.Timer(0.02, _thread.interrupt_main)
            again.daemon = True
            again.start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command the shared options, and turn errors into a line and an exit code.

    The function takes an :class:`Invocation` first and its own options after; it returns the
    exit code, None meaning 0.
    """
    own = inspect.signature(function, eval_str=True).parameters
    names = list(own)[1:]
    shared = _PANEL_COMMON | _PANEL_SELECTION

    @functools.wraps(function)
    def wrapper(**values: Any) -> None:
        debug = values["debug"]
        try:
            interrupts_raise()
            check_roots()
            call = _invocation(values)
            with interrupts_kept():
                code = function(call, **{name: values[name] for name in names})
        except MboError as error:
            if debug:
                raise
            print(f"mbo: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("mbo: interrupted; what was finished is kept", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does: no error of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:
            if debug:
                raise
            where = f"{error.filename}: " if error.filename else ""
            print(f"mbo: {where}{error.strerror or error}", file=sys.stderr)
            raise typer.Exit(FAILED) from None
        except Exception as error:
            if debug:
                raise
            print(
                f"mbo: internal error: {type(error).__name__}: {error}; --debug shows where",
                file=sys.stderr,
            )
            raise typer.Exit(FAILED) from None
        raise typer.Exit(code or 0)

    parameters = [own[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in names]
    for name, (kind, option) in shared.items():
        default = False if kind is bool else None
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, option],
            )
        )
    vars(wrapper)["__signature__"] = inspect.Signature(parameters)
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del vars(wrapper)["__wrapped__"]
    return wrapper


def _invocation(values: dict[str, Any]) -> Invocation:
    from pipeline.lake import as_date
    from pipeline.runner import default_workers

    settings = load_settings(values["config"])
    lake = values["lake"]
    settings = settings.with_values(
        lake={"path": str(lake) if lake else None}, run={"workers": values["workers"]}
    )
    notice = Notice()
    settings = _sample_where_nothing_else(settings, notice)
    if values["quiet"] or values["json_out"]:
        notice.text = ""
    start, end = as_date(values["start"]), as_date(values["end"])
    if start and end and start > end:
        raise RequestError(f"--start {start} is after --end {end}")
    return Invocation(
        settings=settings,
        selection=Selection(values["dataset"], values["symbols"], start, end),
        lake=Path(settings.lake.path),
        workers=default_workers(settings),
        force=values["force"],
        dry_run=values["dry_run"],
        json=values["json_out"],
        quiet=values["quiet"],
        debug=values["debug"],
        notice=notice,
    )


def _sample_where_nothing_else(settings: Settings, notice: Notice) -> Settings:
    """Where nobody named a lake and there is none but the sample's, the sample is meant."""
    here, sample = Settings(), settings.sample
    untouched = settings.lake.path == here.lake.path and settings.raw.path == here.raw.path
    if not untouched or os.path.isdir(settings.lake.path) or not os.path.isdir(sample.lake):
        return settings
    if any(name.endswith((".dbn", ".dbn.zst")) for _, _, names in os.walk(settings.raw.path)
           for name in names):  # fmt: skip
        return settings
    notice.text = f"SIMULATED: using the sample market in {sample.lake}"
    return settings.with_values(lake={"path": sample.lake}, raw={"path": sample.raw})


def program() -> str:
    """How to call this program again from the same place."""
    import shutil

    called = os.path.abspath(sys.argv[0])
    found = shutil.which("mbo")
    if os.path.basename(called) != "mbo" or (found and os.path.samefile(found, called)):
        return "mbo"
    return os.path.relpath(called)
