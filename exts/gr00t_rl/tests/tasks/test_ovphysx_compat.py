# SPDX-License-Identifier: BSD-3-Clause
"""The Warp patch is confined to machines that need it."""

import pytest
import torch
import warp as wp

from gr00t_rl.tasks.tabletop import ovphysx_compat


@pytest.mark.parametrize(
    ("installed", "cuda", "patched"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_patch_only_where_needed(monkeypatch, installed: bool, cuda: bool, patched: bool) -> None:
    seen = {}

    def zeros(*args, **kwargs):
        seen.update(kwargs)

    monkeypatch.setattr(wp, "zeros", zeros)
    monkeypatch.setattr(wp, "empty", lambda: None)
    monkeypatch.setattr(ovphysx_compat.importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    ovphysx_compat.allow_ovphysx_without_cuda()
    first = wp.zeros
    ovphysx_compat.allow_ovphysx_without_cuda()
    assert wp.zeros is first, "patched once"
    wp.zeros(3, pinned=True)
    assert seen["pinned"] is (not patched)
