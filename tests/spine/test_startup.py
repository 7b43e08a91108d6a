"""Starting: garbage is looked for as before, once all is loaded."""

from __future__ import annotations

import contextlib
import gc

from pipeline.startup import loading


def test_garbage_is_looked_for_as_before_after_loading() -> None:
    before = gc.get_threshold()
    with contextlib.suppress(ImportError), loading():
        assert gc.get_threshold()[0] > 10 * before[0]
        raise ImportError
    assert gc.get_threshold() == before
