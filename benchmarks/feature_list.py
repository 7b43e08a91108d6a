"""The fixed list of tier-1 features that ``mbo bench features`` computes: 656 columns.

Spelled out, so that features added later do not change the workload.
"""

from __future__ import annotations

from itertools import product

ROWS = ("n10", "n50", "n200", "n1000")
TIMES = ("100ms", "1s", "5s", "10s", "60s", "300s")
DECAYS = ("h100ms", "h1s", "h10s", "h60s")
SIDES = ("bid", "ask")
ZONES = ("l1", "l2_10", "deep")
LEVELS = tuple(map(str, range(10)))
STEPS = ("1s", "10s", "5m")
LENGTHS = ("60s", "300s", "30m", "1h")

_ALL = (*ROWS, *TIMES, *DECAYS)
_FLOWS = ("add_rate", "add_volume_rate", "cancel_rate", "cancel_volume_rate")

_FAMILIES: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    *((name, ()) for name in ("mid", "spread", "spread_bps", "spread_is_1tick", "wmid")),
    ("vamp_{}", (("3", "5", "10"),)),
    ("vwap_mid_{}", (("3", "5", "10"),)),
    ("queue_imbalance", ()),
    ("depth_imbalance_{}", (("3", "5", "10"),)),
    ("decayed_imbalance_{}", (("30", "50", "100"),)),
    ("inverse_imbalance", ()),
    ("count_imbalance_{}", (("1", "5"),)),
    ("order_size_{}_{}", (SIDES, ("1", "5"))),
    ("order_size_ratio_{}", (("1", "5"),)),
    ("depth_{}_{}", (SIDES, ("1", "5", "10"))),
    ("log_depth_{}", (("1", "5", "10"),)),
    ("ofi_event", ()),
    ("ofi_{}", (_ALL,)),
    ("ofi_level_{}_{}", (LEVELS, _ALL)),
    ("ofi_normalised_{}", (TIMES,)),
    ("ofi_cause_{}", ((*TIMES, *DECAYS),)),
    ("ofi_ratio_{}", (TIMES,)),
    ("signed_volume_{}", (_ALL,)),
    ("trade_imbalance_{}", (_ALL,)),
    ("trade_count_{}", (TIMES,)),
    ("trade_count_imbalance_{}", ((*TIMES, *DECAYS),)),
    ("cvd", ()),
    ("trade_intensity_{}", (DECAYS,)),
    ("trade_intensity_ratio_h1s_h60s", ()),
    ("vwap_{}", (("session", *TIMES),)),
    ("vwap_dev_{}", (("session", *TIMES),)),
    ("vwap_z_{}", (("session", *TIMES),)),
    ("aggressor_size_{}", ((*TIMES, *DECAYS),)),
    ("trade_rate_{}_{}", (("buy", "sell"), DECAYS)),
    ("{}_{}_{}_{}", (_FLOWS, SIDES, ZONES, (*TIMES, *DECAYS))),
    ("net_provision_{}_{}", ((*SIDES, "diff"), TIMES)),
    ("rv_{}_{}", (STEPS, LENGTHS)),
    ("vol_{}_{}", (STEPS, LENGTHS)),
    ("vol_annual_{}_{}", (STEPS, LENGTHS)),
    ("vol_{}", (("h10s", "h60s", "h300s", "h600s"),)),
    ("signature_ratio_{}", (("300s", "30m", "1h"),)),
    ("return_{}", ((*ROWS, *TIMES),)),
    ("momentum_{}", (("1s", "5s", "10s", "60s", "300s"),)),
    ("zscore_{}", ((*ROWS, *TIMES),)),
    ("ema_{}", (DECAYS,)),
    ("ema_gap_{}", (DECAYS,)),
    ("ema_gap_z_{}", (DECAYS,)),
    *((name, ()) for name in ("session_date", "seconds_since_open", "seconds_to_close")),
    *((name, ()) for name in ("is_rth", "session_part")),
    ("time_{}_{}", (("sin", "cos"), ("day", "session"))),
    *((name, ()) for name in ("since_trade", "since_trade_buy", "since_trade_sell")),
    *((name, ()) for name in ("since_mid_move", "since_touch_update")),
    *((name, ()) for name in ("days_to_expiry", "business_days_to_expiry")),
)

TIER1 = tuple(
    template.format(*values) for template, choices in _FAMILIES for values in product(*choices)
)
