"""Every feature and label once more, slow and obvious, by the name of its family."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.reference.features import activity, costs, trade_signs
from tests.reference.features.catalogue_vols import SLOW_VOLS
from tests.reference.features.clock import (
    is_rth,
    mean_gap,
    mid_moved,
    phase,
    session_part,
    touch_moved,
    traded,
)
from tests.reference.features.flow import (
    contribution,
    flow_rate,
    net_provision,
    net_provision_diff,
    ofi,
    ofi_cause,
    ofi_level,
    ofi_normalised,
    ofi_ratio,
)
from tests.reference.features.hazards import HAZARDS
from tests.reference.features.impact import IMPACT
from tests.reference.features.labels import label_rows, label_time
from tests.reference.features.levels import (
    log_depth,
    mid,
    ok_imbalance,
    order_size,
    order_size_ratio,
    queue_imbalance_level,
    side_depth,
    spread,
    spread_bps,
    spread_is_1tick,
    vamp,
    vwap_mid,
    weighted,
    wmid,
)
from tests.reference.features.orders import ORDERS
from tests.reference.features.outcomes import SLOW_OUTCOMES
from tests.reference.features.pairs import PAIRS
from tests.reference.features.past import FITTED
from tests.reference.features.peers import SLOW_PEERS
from tests.reference.features.prices import (
    ema,
    ema_gap,
    ema_gap_z,
    momentum,
    past_return,
    root,
    rv,
    signature_ratio,
    vol_annual,
    vol_ew,
    zscore,
)
from tests.reference.features.session import DAY, NS, Value
from tests.reference.features.shape import SHAPE
from tests.reference.features.trades import (
    aggressor_size,
    col,
    last_trade_dev,
    signed,
    signed_volume,
    trade_imbalance,
    vwap_dev,
    vwap_parts,
    vwap_z,
)
from tests.reference.features.windows import divide, imbalance, rate, seconds_since, total

SLOW_FEATURES: dict[str, Callable[..., Value]] = {
    **costs.SLOW,
    **trade_signs.SLOW,
    **activity.SLOW,
    **SHAPE,
    **FITTED,
    **IMPACT,
    **ORDERS,
    **HAZARDS,
    "mid": mid,
    "spread": spread,
    "spread_bps": spread_bps,
    "spread_is_1tick": spread_is_1tick,
    "wmid": wmid,
    "vamp": vamp,
    "vwap_mid": vwap_mid,
    "queue_imbalance": lambda s, i, t: ok_imbalance(s, i, 1),
    "queue_imbalance_level": queue_imbalance_level,
    "depth_imbalance": lambda s, i, t, levels: ok_imbalance(s, i, levels),
    "decayed_imbalance": lambda s, i, t, percent: weighted(
        s, i, lambda d: math.exp(-percent / 100 * d)
    ),
    "inverse_imbalance": lambda s, i, t: weighted(s, i, lambda d: 1 / (1 + d)),
    "count_imbalance": lambda s, i, t, levels: ok_imbalance(s, i, levels, 2),
    "order_size": order_size,
    "order_size_ratio": order_size_ratio,
    "side_depth": side_depth,
    "log_depth": log_depth,
    "ofi_event": lambda s, i, t: contribution(s, i),
    "ofi": ofi,
    "ofi_level": ofi_level,
    "ofi_normalised": ofi_normalised,
    "ofi_cause": ofi_cause,
    "ofi_ratio": ofi_ratio,
    "signed_volume": signed_volume,
    "trade_imbalance": trade_imbalance,
    "trade_count": lambda s, i, t, window: total(s, i, t, col(s, "trade_ct"), window),
    "trade_count_imbalance": lambda s, i, t, window: imbalance(
        total(s, i, t, col(s, "buy_ct"), window), total(s, i, t, col(s, "sell_ct"), window)
    ),
    "cvd": lambda s, i, t: sum(signed(s)(j) for j in range(i + 1)),  # type: ignore[misc]
    "trade_intensity": lambda s, i, t, half_life: rate(s, i, t, col(s, "trade_ct"), half_life),
    "trade_intensity_ratio": lambda s, i, t, short, long: divide(
        rate(s, i, t, col(s, "trade_ct"), short), rate(s, i, t, col(s, "trade_ct"), long)
    ),
    "vwap_session": lambda s, i, t: vwap_parts(s, i, t, "session")[0],
    "vwap": lambda s, i, t, window: vwap_parts(s, i, t, window)[0],
    "vwap_dev_session": lambda s, i, t: vwap_dev(s, i, t, "session"),
    "vwap_dev": vwap_dev,
    "vwap_z_session": lambda s, i, t: vwap_z(s, i, t, "session"),
    "vwap_z": vwap_z,
    "aggressor_size": aggressor_size,
    "last_trade_dev": last_trade_dev,
    "trade_rate": lambda s, i, t, aggressor, half_life: rate(
        s, i, t, col(s, f"{aggressor}_orders"), half_life
    ),
    "add_rate": flow_rate("add", "ct"),
    "add_volume_rate": flow_rate("add", "sz"),
    "cancel_rate": flow_rate("cancel", "ct"),
    "cancel_volume_rate": flow_rate("cancel", "sz"),
    "net_provision": net_provision,
    "net_provision_diff": net_provision_diff,
    "rv": rv,
    "vol": lambda s, i, t, grid, window: root(rv(s, i, t, grid, window)),
    "vol_annual": vol_annual,
    "vol_ew": vol_ew,
    "signature_ratio": signature_ratio,
    "past_return": past_return,
    "momentum": momentum,
    "zscore": zscore,
    "ema": ema,
    "ema_gap": ema_gap,
    "ema_gap_z": ema_gap_z,
    "session_date": lambda s, i, t: int(s.context.session.strftime("%Y%m%d")),
    "seconds_since_open": lambda s, i, t: (t - s.context.segments[0][0]) / NS,
    "seconds_to_close": lambda s, i, t: (s.context.announced_close - t) / NS,
    "is_rth": is_rth,
    "session_part": session_part,
    "time_sin": lambda s, i, t, cycle: math.sin(phase(s, t, cycle)),
    "time_cos": lambda s, i, t, cycle: math.cos(phase(s, t, cycle)),
    "since_trade": lambda s, i, t: seconds_since(s, i, t, traded(s)),
    "since_trade_side": lambda s, i, t, aggressor: seconds_since(
        s, i, t, lambda j: s.rows[j][f"{aggressor}_ct"] > 0
    ),
    "since_mid_move": lambda s, i, t: seconds_since(s, i, t, lambda j: mid_moved(s, j)),
    "since_touch_update": lambda s, i, t: seconds_since(s, i, t, lambda j: touch_moved(s, j)),
    "trade_duration": lambda s, i, t, half_life: mean_gap(s, i, t, traded(s), half_life),
    "mid_duration": lambda s, i, t, half_life: mean_gap(
        s, i, t, lambda j: mid_moved(s, j), half_life
    ),
    "trade_duration_ratio": lambda s, i, t, half_life: divide(
        seconds_since(s, i, t, traded(s)), mean_gap(s, i, t, traded(s), half_life)
    ),
    "days_to_expiry": lambda s, i, t: (s.context.expiration - t) / DAY,
    "business_days_to_expiry": lambda s, i, t: s.context.business_days_left,
    **SLOW_VOLS,
    **SLOW_PEERS,
    **PAIRS,
    "is_expiry_week": lambda s, i, t: s.context.expiry_week,
    "roll_activity": lambda s, i, t: divide(
        s.context.next_volume_before, s.context.next_volume_before + s.context.volume_before
    ),
    "roll_flag": lambda s, i, t: int(s.context.next_volume_before > s.context.volume_before),
}

SLOW_LABELS: dict[str, Callable[..., tuple[Value, int | None]]] = {
    "forward_return_rows": lambda s, i, t, horizon: label_rows(s, i, horizon),
    "forward_return": label_time,
    **SLOW_OUTCOMES,
}
