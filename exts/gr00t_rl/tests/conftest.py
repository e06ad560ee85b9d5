"""Environment and order of the test run: fast tests first, those that start the simulator last."""

import os
from pathlib import Path

import pytest

# Before torch and Warp load, and for every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("WARP_CACHE_PATH", str(_CACHE / "gr00t_rl" / "warp"))


_LONGEST = ("test_example", "test_best", "test_evaluate", "test_end_to_end")
"""Files of the longest tests that simulate, which begin first among these, the last one before all."""


def _cost(item: pytest.Item) -> tuple[int, int]:
    """Unmarked, `slow`, `sim`; among the last the longest come first, so that no process waits for them at the end."""
    if not item.get_closest_marker("sim"):
        return int(bool(item.get_closest_marker("slow"))), 0
    return 2, -(_LONGEST.index(item.path.stem) + 1 if item.path.stem in _LONGEST else 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by cost; the order inside each stays. `full` runs only where it is asked for."""
    if "full" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=_cost)
