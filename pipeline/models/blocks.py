"""Walk-forward: which sessions a model serves, and on which it is trained.

The sessions of a contract are taken in blocks; the model of a block is trained on the past of the
block's first session (:class:`~pipeline.fit_past.PastPlanner`, as fitted features are) and serves
all of the block.  Sessions without enough past come before the first block and have no model.  A
block ends, too, where the contract changes its place: when it becomes the front, what is learned
from is the past of the front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.calendar import Session
from pipeline.config import Settings
from pipeline.fit_past import PastPlanner, PastSession
from pipeline.models.request import ModelRequest
from pipeline.session_inputs import SessionPlanner, SymbolSessions
from pipeline.stage import Partition


@dataclass
class Block:
    """Sessions of a contract that one model serves; without a past, none does."""

    symbol: SymbolSessions
    past: tuple[PastSession, ...]
    series: str
    sessions: list[Session] = field(default_factory=list)

    @property
    def served(self) -> bool:
        """There is a model."""
        return bool(self.past)

    def keys(self, model_id: str, session: Session | None = None) -> Partition:
        """Where tables of models hold a session; of the block itself: its first one."""
        return Partition.of(
            model=model_id,
            dataset=self.symbol.dataset,
            session=(session or self.sessions[0]).date,
            symbol=self.symbol.symbol,
        )

    def cutoff(self, embargo: int) -> int:
        """Time (ns) by which labels must be known to be trained on."""
        return self.sessions[0].open_ns - embargo


def plan_blocks(
    symbol: SymbolSessions, planner: SessionPlanner, request: ModelRequest, settings: Settings
) -> Iterator[Block]:
    """All blocks of a symbol, in order of time."""
    own = request.settings
    past = PastPlanner(planner, settings.features.fits.along, 0, own.train, whole=True)
    block: Block | None = None
    for session, before in past.sessions(symbol):
        enough = len(before.along) >= own.at_least
        if block is not None and enough and block.served:
            goes_on = block.series == before.series and len(block.sessions) < own.every
        else:
            goes_on = block is not None and not enough and not block.served
        if block is None or not goes_on:
            if block is not None:
                yield block
            block = Block(symbol, tuple(before.along) if enough else (), before.series)
        block.sessions.append(session)
    if block is not None:
        yield block
