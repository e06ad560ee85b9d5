# SPDX-License-Identifier: BSD-3-Clause
"""Measure how long a robot waits for its actions: a policy in a server, asked over the loopback.

    python source/standalone/benchmarks/serving.py --out docs/results/serving.json --name tiny \\
        --checkpoint exts/gr00t_rl/gr00t_rl/assets/checkpoints/push_cube_camera
    gr00t-rl make-checkpoint --out checkpoints/full --full-size --dtype bfloat16
    python source/standalone/benchmarks/serving.py --out docs/results/serving.json --name full --requests 3 \\
        --checkpoint checkpoints/full

Server and client are threads of one process: encoding, sockets and decoding count, a network between two
machines does not. Times are medians over the requests, after one that is not counted. A folder that does not say its
keys (random weights) is given two cameras of 224 x 224, a state of 19 numbers and an action of 5. The record is added
to the study file ``--out``; ``--note`` says what else the machine did.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import add_run

from gr00t_rl.gr00t import ActionKey, Modality, PolicySettings, StateKey
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.serving import PolicyClient, PolicyServer, ServedPolicy
from gr00t_rl.serving.loading import Choices, load_policy
from gr00t_rl.serving.observation import LANGUAGE

UNKNOWN = PolicySettings(
    Modality(
        "new_embodiment",
        {"front": "front", "wrist": "wrist"},
        {"state": StateKey("policy", 0, 19, None)},
        {"action": ActionKey(0, 5, None)},
    ),
    0,
    image_sizes={"front": (224, 224), "wrist": (224, 224)},
)
"""Of a folder that does not say it."""


def load(args: argparse.Namespace) -> ServedPolicy:
    """The policy of ``--checkpoint``."""
    folder = Path(args.checkpoint)
    choices = {"device": args.device, "dtype": args.dtype}
    if (folder / SETTINGS_FILE).is_file():
        return load_policy(None, args.checkpoint, Choices(**choices))
    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / "settings.json"
        settings.write_bytes(UNKNOWN.to_bytes())
        return load_policy(None, args.checkpoint, Choices(settings=settings, **choices))


def request(policy: ServedPolicy, robots: int) -> dict[str, Any]:
    """Random pictures and states of several robots, or of one as a robot sends it."""
    generator, settings = np.random.default_rng(0), policy.settings
    sizes = {key: settings.image_sizes.get(key, (224, 224)) for key in settings.modality.video}
    found: dict[str, Any] = {
        f"video.{key}": generator.integers(0, 256, (robots, 1, *size, 3), np.uint8) for key, size in sizes.items()
    }
    for name, key in settings.modality.state.items():
        found[f"state.{name}"] = generator.random((robots, 1, key.dim), np.float32)
    if robots == 1:
        found = {name: value[0] for name, value in found.items()}
    return found | {LANGUAGE: settings.instructions[:1] or ["pick up the red cube"]}


def median_s(call: Callable[[], Any], count: int) -> float:
    """Median time of a call [s], after one that is not counted."""
    call()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(policy: ServedPolicy, requests: int, robots: list[int]) -> dict[str, Any]:
    """Serve the policy and ask it."""
    server = PolicyServer(policy, port=0)
    port = int(server.address.rpartition(":")[2])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with PolicyClient(port=port, timeout_s=600.0) as client:
            found: dict[str, Any] = {"ping_s": median_s(client.ping, 50), "get_action_s": {}, "in_process_s": {}}
            for count in robots:
                data = request(policy, count)
                found["get_action_s"][str(count)] = median_s(lambda data=data: client.get_action(data), requests)
                found["in_process_s"][str(count)] = median_s(lambda data=data: policy.get_action(data), requests)
    finally:
        server.stop()
        thread.join()
    return found


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="folder of a GR00T checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="study file")
    parser.add_argument("--name", required=True, help="name of the record")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--requests", type=int, default=50, help="requests per number of robots (default 50)")
    parser.add_argument("--robots", type=int, nargs="+", default=[1, 4], help="robots per request (default 1 4)")
    parser.add_argument("--note", default="", help="what else the machine did")
    args = parser.parse_args()
    began = time.perf_counter()
    policy = load(args)
    parameters = sum(p.numel() for p in policy.network.parameters())
    record = {
        "parameters": parameters,
        "dtype": str(policy.network.dtype).removeprefix("torch."),
        "device": args.device,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "steps": policy.num_steps,
        "requests": args.requests,
        "load_s": time.perf_counter() - began,
        **measure(policy, args.requests, args.robots),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "note": args.note,
    }
    add_run(args.out, args.name, record)
    for name, value in record.items():
        print(f"{name:14} {value}")


if __name__ == "__main__":
    main()
