"""Several slow simulators in the order of time: of all that is next anywhere, the first happens.

At one time the instrument named first has its turn until it has nothing left at that time.  What a
callback says to another instrument is said once the callback's own instrument is done with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.plain_book import SNAPSHOT, Record
from tests.reference.simulator import Simulator

ALWAYS, NEVER = -(2**62), 2**62


@dataclass
class One:
    """An instrument: its records are to come, or it is to end, or it has ended."""

    simulator: Simulator
    records: list[Record]
    until: int | None
    """End of its sessions; None where the records stop in the midst of one."""
    changes: tuple[int, ...] = ()
    """Numbers of the records from which on the symbol is another instrument's."""
    at: int = 0
    ends: int | None = None
    over: bool = False

    def due(self):
        first = self.simulator.due()
        return NEVER if first is None else first[0]

    @property
    def record(self):
        return self.records[self.at]

    def time_of_record(self):
        clock = self.simulator.venue.clock
        r = self.record
        return r.ts_recv if r.flags & SNAPSHOT else clock if r.ts_event is None else r.ts_event

    def at_once(self):
        """The next record comes before anything else."""
        return self.simulator.open_event or bool(self.simulator.rules.lone_prints)

    def next(self):
        """When it goes on."""
        if self.over:
            return self.due()
        if self.ends is not None:
            return self.due() if self.due() < self.ends else self.ends - 1
        if self.at_once():
            return ALWAYS
        return min(self.due(), self.time_of_record())

    def step(self):
        """One thing happens."""
        simulator = self.simulator
        if self.over or (self.ends is not None and self.due() < self.ends):
            simulator.happen(simulator.due())
        elif self.ends is not None:
            self.leave()
        else:
            r = self.record
            changes = self.at in self.changes
            if self.at_once():
                simulator.settle(r)
                if not self.at_once():
                    return  # what is next is to be asked anew
            if not simulator.open_event and self.due() < self.time_of_record():
                simulator.happen(simulator.due())
                return
            if changes:
                simulator.change_instrument(self.time_of_record())
            simulator.feed(r)
            self.at += 1
        self.look_ahead()

    def look_ahead(self):
        if self.ends is None and self.at == len(self.records):
            clock = self.simulator.venue.clock
            self.ends = clock + 1 if self.until is None else max(self.until, clock + 1)
            if self.simulator.before_snapshot is not None:
                self.simulator.end_snapshot()

    def leave(self):
        """Its records are over while others go on."""
        simulator = self.simulator
        if self.until is None:
            if simulator.trader.active:
                simulator.venue.end_all("expired", "end_of_data")
                simulator.end_session(simulator.venue.clock)
            simulator.timetable = []
        simulator.forget()
        self.over = True


def play_together(instruments: list[One]) -> None:
    """All of them to their ends."""
    desks = [one.simulator.trader for one in instruments]
    for number, desk in enumerate(desks):
        desk.number, desk.peers = number, desks
    for one in instruments:
        one.look_ahead()
    while not all(one.over for one in instruments):
        who = min(range(len(instruments)), key=lambda k: (instruments[k].next(), k))
        instruments[who].step()
        mail, desks[who].mail = desks[who].mail, []
        for time, number, command in sorted(mail, key=lambda letter: letter[1]):
            desks[number].obey(time, [command])
    for one in instruments:
        one.simulator.finish(one.until)
