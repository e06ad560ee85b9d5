# SPDX-License-Identifier: BSD-3-Clause
"""Where features are kept changes memory, not numbers."""

import pytest
import torch
from tensordict import TensorDict

from gr00t_rl.models import Gr00tActor
from gr00t_rl.storage import HostFeatureCache


def observations(n: int = 6) -> TensorDict:
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(0, 255, (n, 64, 64, 3), dtype=torch.uint8, generator=generator)
    return TensorDict({"policy": torch.randn(n, 5, generator=generator), "front": image}, batch_size=[n])


def scored(cache: str, dtype: str) -> torch.Tensor:
    obs = observations()
    actor = Gr00tActor(
        obs, {"actor": ["policy", "front"]}, "actor", 2, n_action_steps=4, feature_cache=cache, dtype=dtype
    )
    torch.manual_seed(0)
    records = []
    for half in obs.split(3):  # two calls, so that rows of several appends are gathered
        _, record = actor.decide(actor.observe(half))
        records.append(actor.store(record))
        assert ("front" in records[-1]) == (cache == "pixels")
        assert ("features" in records[-1]) == (cache == "device")
    batch: TensorDict = torch.cat(records)[torch.tensor([4, 0, 5, 1])]  # type: ignore
    log_prob = actor.evaluate(actor.restore(batch)).log_prob
    torch.testing.assert_close(log_prob, batch["log_prob"], atol=1e-5 if dtype == "float32" else 0.5, rtol=0)
    return log_prob.detach()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_host_and_pixels_give_the_device_cache_s_log_probs(dtype: str):
    device = scored("device", dtype)
    torch.testing.assert_close(scored("host", dtype), device, atol=0, rtol=0)
    # re-encoding runs in another batch shape: equal within the dtype
    torch.testing.assert_close(scored("pixels", dtype), device, atol=1e-5 if dtype == "float32" else 0.5, rtol=0)


def test_rows_survive_several_appends_and_clear():
    cache = HostFeatureCache()
    first, second = torch.arange(6.0).view(2, 3, 1), torch.arange(6.0, 12.0).view(2, 3, 1)
    rows = torch.cat((cache.append(first), cache.append(second)))
    assert rows.tolist() == [0, 1, 2, 3]
    assert torch.equal(cache.gather(torch.tensor([3, 0])), torch.stack((second[1], first[0])))
    cache.clear()
    assert cache.append(second).tolist() == [0, 1]
    assert torch.equal(cache.gather(torch.tensor([1])), second[1:])
