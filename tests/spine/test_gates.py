"""Quality gates: from rows of `quality` and limits to reasons."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import QualityLimits, QualitySettings, load_settings
from pipeline.gates import judge, limits_of, refused_conditions

GOOD: dict[str, Any] = {
    "adds": 500, "cancels": 400, "modifies": 100, "ignored": 0, "orphan_cancels": 0,
    "orphan_modifies": 0, "sequence_regressions": 0, "roll_mismatch_orders": None,
    "crossed_ns": 0, "start": "snapshot", "condition": "available",
}  # fmt: skip


def reasons(limits: dict[str, Any], **row: Any) -> list[str]:
    return judge(GOOD | row, QualityLimits(**limits))


def test_nothing_is_refused_by_default() -> None:
    worst = {name: 10**18 for name, value in GOOD.items() if isinstance(value, int)}
    assert reasons({}, **worst, start="unknown", condition="missing") == []


@pytest.mark.parametrize(
    ("limits", "allowed", "refused", "said"),
    [
        (
            {"max_orphan_cancel_share": 0.01},
            {"orphan_cancels": 4},
            {"orphan_cancels": 5},
            "orphan_cancels 5 of 400 cancels = 1.25 %, max_orphan_cancel_share = 0.01",
        ),
        (
            {"max_orphan_modify_share": 0.0},
            {"orphan_modifies": 0},
            {"orphan_modifies": 1},
            "orphan_modifies 1 of 100 modifies = 1 %, max_orphan_modify_share = 0",
        ),
        (
            {"max_ignored_share": 0.1},
            {"ignored": 100},
            {"ignored": 101},
            "ignored 101 of 1,000 adds, cancels and modifies = 10.1 %, max_ignored_share = 0.1",
        ),
        (
            {"max_sequence_regressions": 3},
            {"sequence_regressions": 3},
            {"sequence_regressions": 4},
            "sequence_regressions 4, max_sequence_regressions = 3",
        ),
        (
            {"max_roll_mismatch_orders": 0},
            {"roll_mismatch_orders": None},
            {"roll_mismatch_orders": 2},
            "roll_mismatch_orders 2, max_roll_mismatch_orders = 0",
        ),
        (
            {"max_crossed": "20m"},
            {"crossed_ns": 1200 * 10**9},
            {"crossed_ns": 1200 * 10**9 + 1},
            "crossed for 1,200.0 s, max_crossed = 20m",
        ),
        (
            {"refuse_conditions": ("degraded", "missing")},
            {"condition": None},
            {"condition": "degraded"},
            "condition degraded, one of refuse_conditions",
        ),
        (
            {"allow_unknown_start": False},
            {"start": "carried"},
            {"start": "unknown"},
            "its book starts unknown, and allow_unknown_start = false",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_limit_is_the_largest_value_allowed(
    limits: dict[str, Any], allowed: dict[str, Any], refused: dict[str, Any], said: str
) -> None:
    assert reasons(limits, **allowed) == []
    assert reasons(limits, **refused) == [said]


def test_orphans_of_an_unknown_start_are_not_judged() -> None:
    limits = {"max_orphan_cancel_share": 0.01, "max_orphan_modify_share": 0.01}
    orphans = {"orphan_cancels": 300, "orphan_modifies": 100}
    assert reasons(limits, **orphans, start="unknown") == []
    assert len(reasons(limits, **orphans, start="carried")) == 2


def test_a_share_of_nothing_refuses_nothing() -> None:
    assert reasons({"max_orphan_cancel_share": 0.0}, cancels=0) == []


def settings(tree: str, folder: Any) -> QualitySettings:
    path = folder / "research.toml"
    path.write_text(tree)
    return load_settings(path, {}).quality


def test_the_first_pattern_replaces_what_it_names(tmp_path: Any) -> None:
    quality = settings(
        '[quality]\nmax_crossed = "1m"\nmax_sequence_regressions = 5\n'
        '[quality.symbols."ES*"]\ndataset = "GLBX.MDP3"\nmax_crossed = "30m"\n'
        '[quality.symbols."*"]\nrefuse_conditions = ["degraded"]\n',
        tmp_path,
    )
    one = limits_of(quality, "GLBX.MDP3", "ESM5")
    assert (one.max_crossed, one.max_sequence_regressions) == ("30m", 5)
    assert one.refuse_conditions == ()
    other = limits_of(quality, "XNAS.ITCH", "ESM5")
    assert (other.max_crossed, other.refuse_conditions) == ("1m", ("degraded",))
    assert refused_conditions(quality, "GLBX.MDP3", ["ESM5", "NQM5"]) == {"degraded": ["NQM5"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[quality]\nmax_orphan_share = 1", "quality.max_orphan_share.*did you mean"),
        (
            "[quality]\nmax_orphan_cancel_share = 1.5",
            "quality.max_orphan_cancel_share is 1.5; choose 0 to 1",
        ),
        ("[quality]\nmax_orphan_cancel_share = nan", "choose 0 to 1"),
        ("[quality]\nmax_sequence_regressions = -1", "choose 0 or more"),
        ("[quality]\nmax_sequence_regressions = 1.5", "not a whole number"),
        ("[quality]\nmax_crossed = 'long'", "quality.max_crossed: 'long' is not a duration"),
        (
            "[quality]\nrefuse_conditions = ['degradd']",
            "unknown quality.refuse_conditions 'degradd'; did you mean 'degraded'",
        ),
        ("[quality]\nallow_unknown_start = 'no'", "not true or false"),
        ('[quality.symbols."ES*"]\nmax_cross = "1m"', r'quality.symbols."ES\*".max_cross'),
        ("[quality.symbols]\nES = 3", r'quality.symbols."ES" must be a table'),
    ],
)
def test_wrong_gates_are_one_line_naming_file_and_key(tmp_path: Any, text: str, words: str) -> None:
    from pipeline.errors import RequestError

    with pytest.raises(RequestError, match=words) as caught:
        settings(text, tmp_path)
    assert str(tmp_path / "research.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gates_from_the_environment() -> None:
    environ = {
        "MBO_QUALITY__MAX_ORPHAN_CANCEL_SHARE": "0.5",
        "MBO_QUALITY__REFUSE_CONDITIONS": "degraded, missing",
    }
    quality = load_settings(environ=environ).quality
    assert quality.max_orphan_cancel_share == 0.5
    assert quality.refuse_conditions == ("degraded", "missing")
