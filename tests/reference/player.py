"""A script of commands played at the slow simulator, and what it hears: see
:mod:`tests.backtest.scripted` for the same as an event strategy.
"""

from __future__ import annotations

LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED, CANCEL, REPLACE, CANCEL_ALL = range(8)
KINDS = ("limit", "market", "stop", "stop_limit", "pegged")
TIMES_IN_FORCE = ("gtc", "ioc", "day", "fok")


class Player:
    """Rows: time, kind, side, price, size, stop or offset, time in force, post-only."""

    def __init__(self, rows):
        self.rows = rows
        self.orders: dict[int, int] = {}
        self.heard: list[tuple] = []
        self.seen: list[tuple] = []

    def on_session_start(self, desk, now):
        return [("timer", row[0], k) for k, row in enumerate(self.rows) if row[0] >= now]

    def on_market_event(self, desk, now):
        return self.look(desk, now, "event", desk.news.event)

    def on_timer(self, desk, now, k):
        self.look(desk, now, "timer", k)
        _, kind, side, price, size, extra, tif, post = self.rows[k]
        if kind == CANCEL:
            return [("cancel", self.orders.get(size, 0))]
        if kind == REPLACE:
            return [("replace", self.orders.get(extra, 0), price, size)]
        if kind == CANCEL_ALL:
            return [("cancel_all",)]
        self.orders[k] = len(desk.orders)
        offset, trigger = (extra, 0) if kind == PEGGED else (0, extra)
        words = "ioc" if kind == MARKET else TIMES_IN_FORCE[tif]
        post_only = kind == PEGGED or (kind == LIMIT and bool(post))
        return [("place", side > 0, KINDS[kind], words, price, size, trigger, offset, post_only)]

    def on_fill(self, desk, now, order, signed, price, role):
        return self.hear(desk, now, "fill", order, signed, price, role)

    def on_order(self, desk, now, order, state, reason):
        return self.hear(desk, now, "order", order, state, reason)

    def on_reject(self, desk, now, order, state, reason):
        return self.hear(desk, now, "reject", order, state, reason)

    def hear(self, desk, now, kind, order, a, b, role=None):
        self.heard.append(
            (now, kind, order, a, b, desk.known, desk.working, desk.queue_ahead(order), desk.cash,
             desk.bid, desk.ask, desk.remaining(order), role)
        )  # fmt: skip
        return []

    def look(self, desk, now, kind, tag):
        news = desk.news
        best = news.best if news else {"B": (None, 0, 0), "A": (None, 0, 0)}
        self.seen.append(
            (now, kind, tag, best["B"][0], best["A"][0], best["B"][1], best["A"][1],
             bool(news and news.valid), bool(news and news.crossed), news.traded if news else 0,
             desk.last_price, len(self.heard))
        )  # fmt: skip
        return []
