# SPDX-License-Identifier: BSD-3-Clause
"""Print a digest of what an env returns for fixed actions: two runs must print the same."""

import hashlib
import sys

import torch
from simulated import simulated

with simulated("Gr00t-Push-Cube-Franka-Camera", 8, *sys.argv[1:], seed=3) as env:
    digest = hashlib.sha256()
    actions = torch.rand(60, 8, 5, generator=torch.Generator().manual_seed(5)) * 2 - 1
    env.reset()
    env.episode_length_buf[:4] = env.max_episode_length - 20  # so that some episodes end on the way
    for action in actions:
        obs, reward, *_ = env.step(action)
        for value in (*obs.values(), reward):
            digest.update(value.numpy().tobytes())
    print("DIGEST", digest.hexdigest())
