"""What is under way between us and the venue, and how long it takes."""

from __future__ import annotations

import math

MARKET, RECEIPT, ARRIVAL, ACK, FILL, END, TIMER = range(7)
"""What happens first of what happens at the same time."""
TO_US, TO_VENUE, FROM_VENUE = range(3)


class Dice:
    """L'Ecuyer's combined generator (Communications of the ACM 31, 1988)."""

    def __init__(self, seed):
        self.a, self.b = 1 + seed % 2147483562, 1 + seed // 2147483562 % 2147483398

    def uniform(self):
        self.a = self.a * 40014 % 2147483563
        self.b = self.b * 40692 % 2147483399
        z = self.a - self.b
        return (z if z >= 1 else z + 2147483562) / 2147483563.0

    def normal(self):
        radius = math.sqrt(-2.0 * math.log(self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())


class Wire:
    """Three directions; messages of one direction do not overtake one another."""

    def __init__(self, typical, jitter, table, seed):
        self.typical, self.jitter, self.table = typical, jitter, table
        self.dice = Dice(seed)
        self.under_way: list[tuple] = []
        self.sequence = 0
        self.last = [-(2**62)] * 3

    def takes(self, direction, time):
        if self.table is not None:
            rows = [row for row in self.table if row[0] <= time] or [self.table[0]]
            return int(rows[-1][1 + direction])
        if self.jitter[direction]:
            sigma = self.jitter[direction] * 1e-9
            return int(self.typical[direction] * math.exp(sigma * self.dice.normal()))
        return self.typical[direction]

    def there(self, direction, time, not_before=-(2**62)):
        """When a message gets there that leaves at a time."""
        due = max(time + self.takes(direction, time), not_before, self.last[direction])
        self.last[direction] = due
        return due

    def put(self, time, cls, what):
        self.under_way.append((time, cls, self.sequence, what))
        self.sequence += 1
