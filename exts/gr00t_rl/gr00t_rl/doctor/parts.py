# SPDX-License-Identifier: BSD-3-Clause
"""What can be chosen: physics, renderers, attention kernels, loggers, and what writes pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..utils.extras import how_to_get
from .finding import Finding, importing, in_line, is_there, version_of
from .packages import ISAACLAB

ISAAC_SIM = "comes with Isaac Sim only: use NVIDIA's isaac-lab container, or install isaacsim"


def physics() -> list[Finding]:
    """The presets of ``physics=``."""
    newton = is_there("isaaclab_newton", "newton", "mujoco_warp", "warp")
    problem = _warp_problem() if newton else "not installed"
    simulator = version_of("isaacsim") or ("found" if is_there("isaacsim") else None)
    return [
        Finding("newton_mjwarp", problem is None, problem or f"Newton {version_of('newton')}", ISAACLAB, needed=True),
        _distribution("ovphysx", "ovphysx", how_to_get("ovphysx")),
        Finding("isaacsim_physx", simulator is not None, simulator or "not installed", ISAAC_SIM),
    ]


def renderers() -> list[Finding]:
    """The presets of ``renderer=`` of camera tasks and films."""
    newton = is_there("isaaclab_newton", "newton", "warp")
    return [
        Finding("newton_renderer", newton, "ray-traced by Warp, CPU or GPU" if newton else "not installed", ISAACLAB),
        Finding("isaacsim_rtx", is_there("isaacsim"), "found" if is_there("isaacsim") else "not installed", ISAAC_SIM),
        _distribution(
            "ovrtx", "ovrtx", "pip install 'isaaclab[ovrtx]' (not tested here), or stay with newton_renderer"
        ),
    ]


def attention() -> list[Finding]:
    """The values of ``agent.actor.attn_implementation``, each run on random numbers and compared with ``eager``."""
    import torch

    from ..gr00t.attention import ATTN_IMPLEMENTATIONS, attend, check_attn_implementation

    device = "cuda" if torch.cuda.is_available() else "cpu"
    query = torch.randn(1, 2, 4, 64, device=device, dtype=torch.float16 if device == "cuda" else torch.float32)
    expected = attend(query, query, query, "eager")
    findings = []
    for name in ATTN_IMPLEMENTATIONS:
        try:
            check_attn_implementation(name)
            error = (attend(query, query, query, name) - expected).abs().max().item()
            findings.append(Finding(name, error < 1e-2, f"runs on {device}, {error:.0e} from eager", "set sdpa"))
        except Exception as error:
            get = "pip install flash-attn --no-build-isolation, on a machine with a CUDA GPU; sdpa is as good elsewhere"
            found = "not installed" if not is_there("flash_attn") else in_line(error)
            findings.append(Finding(name, False, found, get))
    return findings


def loggers() -> list[Finding]:
    """The values of ``--logger``."""
    wandb = _distribution("wandb", "wandb", how_to_get("wandb"))
    if wandb.works and not _wandb_suits_isaac_lab():
        wandb = Finding("wandb", False, f"{wandb.found} lacks wandb.util.generate_id, which Isaac Lab 3.0 calls",
                        how_to_get("wandb"))  # fmt: skip
    return [
        _distribution("tensorboard", "tensorboard", how_to_get("report"), needed=True),
        wandb,
        _distribution("neptune", "neptune", "pip install neptune (not tested here)"),
    ]


def pictures() -> list[Finding]:
    """What films, reports and datasets need."""
    renders = is_there("isaaclab_newton", "newton", "warp")
    report = [name for name in ("matplotlib", "PIL") if not is_there(name)]
    films = not report and _writes_webp()
    kit, writes = is_there("isaacsim"), is_there("moviepy")
    play = "through Isaac Sim" if kit else "every task, by a camera of the scene" if renders else "lacks a renderer"
    evaluate = "films every task" if films and renders else f"lacks {', '.join(report) or 'WebP, or a renderer'}"
    data = [name for name in ("pyarrow", "av", "PIL") if not is_there(name)]
    codec = None if data else _codec_problem()
    return [
        Finding("evaluate --video", films and renders, evaluate, how_to_get("report")),
        Finding(
            "play --video",
            writes and (kit or renders),
            f"films {play}" if writes and (kit or renders) else play if writes else "lacks moviepy",
            f"{how_to_get('video')}, or use gr00t-rl evaluate --video, which does not need it",
        ),
        Finding(
            "collect, finetune",
            not data and codec is None,
            codec or (f"lacks {', '.join(data)}" if data else "datasets with lossless video"),
            how_to_get("data") + (", or collect --images png" if codec else ""),
        ),
    ]


def _distribution(name: str, module: str, get: str, needed: bool = False) -> Finding:
    found = version_of(name)
    works = is_there(module)
    return Finding(name, works, (found or "found") if works else "not installed", get, needed)


def _warp_problem() -> str | None:
    """What goes wrong when Warp, in which Newton computes, starts and allocates; None if nothing does."""
    if problem := importing("warp"):
        return problem
    import warp

    try:
        warp.config.quiet = True
        warp.init()
        assert warp.zeros(3, dtype=float, device="cpu").numpy().sum() == 0.0
    except Exception as error:
        return in_line(error)
    return None


def _wandb_suits_isaac_lab() -> bool:
    """Read, not imported: that takes two seconds."""
    spec = importlib.util.find_spec("wandb")
    if spec is None or not spec.origin:
        return False
    source = Path(spec.origin).parent / "util.py"
    return source.is_file() and "def generate_id" in source.read_text(encoding="utf-8", errors="replace")


def _writes_webp() -> bool:
    from PIL import features

    return bool(features.check("webp"))


def _codec_problem() -> str | None:
    import av

    try:
        av.Codec("libx264rgb", "w")
    except Exception as error:
        return f"av {version_of('av')} writes no lossless video ({in_line(error)})"
    return None
