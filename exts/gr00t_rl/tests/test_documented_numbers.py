# SPDX-License-Identifier: BSD-3-Clause
"""The documents state the defaults, names and constants that the code has."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def table_rows(text: str, columns: int) -> list[list[str]]:
    """Return the cells of all tables with this number of columns."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if len(row) == columns]


def shown(value: Any) -> str:
    """Return a setting as the documents write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    return "∞" if value == math.inf else f"{value:g}".replace("e-0", "e-")


PRESETS: dict[int, Callable[[Any], list[Any]]] = {
    1: lambda r: [r.num_steps_per_env],
    3: lambda r: [r.algorithm.adam_eps],
    4: lambda r: [r.algorithm.schedule],
    5: lambda r: [r.algorithm.lam, r.algorithm.gamma],
    6: lambda r: [r.algorithm.num_mini_batches, r.algorithm.num_learning_epochs],
    8: lambda r: [r.algorithm.clip_param],
    9: lambda r: [r.algorithm.use_clipped_value_loss],
    10: lambda r: [r.algorithm.entropy_coef, r.algorithm.value_loss_coef],
    11: lambda r: [r.algorithm.max_grad_norm],
    28: lambda r: [r.actor.obs_normalization],
    30: lambda r: [r.algorithm.reward_scaling],
}
"""Detail -> the settings that the table of PPO's details names."""


@pytest.mark.parametrize("detail", PRESETS)
def test_the_table_of_details_has_the_settings_of_the_presets(detail):
    """Columns `ppo` and `ppo_v2`; what GR00T has otherwise stands behind the latter."""
    from gr00t_rl.cfg import Gr00tFinetuneRunnerCfg, Gr00tRunnerCfg, MlpPpoRunnerCfg, MlpRunnerCfg

    row = next(row for row in table_rows(page("ppo_details.md"), 7) if row[0] == str(detail))
    read = PRESETS[detail]
    for cell, runner in ((row[3], MlpPpoRunnerCfg()), (row[4], MlpRunnerCfg())):
        assert re.split("[;:]", cell)[0] == ", ".join(map(shown, read(runner)))
    named = re.search(r"GR00T: (?:γ )?(\w+(?:\.\d+)?)", row[4])
    for runner in (Gr00tRunnerCfg(), Gr00tFinetuneRunnerCfg()):
        assert shown(read(runner)[-1]) == (named[1] if named else shown(read(MlpRunnerCfg())[-1]))


def test_the_table_of_grpo_has_the_defaults_first():
    """docs/grpo.md, "Options": the first value of a row is the default, and no choice is missing."""
    from gr00t_rl.options import GrpoOptions, declared

    options, seen = declared(GrpoOptions), []
    for names, values, _ in table_rows(page("grpo.md").split("## Options")[1].split("\n## ")[0], 3):
        named = values.replace("`", "").split(", ")
        for name, value in zip(re.findall(r"`(\w+)`", names), named, strict=False):
            if value:
                assert value == shown(options[name].default), name
                assert set(named) == set(options[name].option.choices or named), name
                seen.append(name)
    assert {"group_size", "credit", "advantage", "zero_std_groups", "clip_param_high", "kl_coef"} < set(seen)


def test_the_arithmetic_of_the_network_is_what_is_counted():
    """docs/throughput.md: operations of N1.5 at full size, two 224² cameras, 560 tokens."""
    from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
    from gr00t_rl.gr00t.n1d5.flops import count_flops

    config = Gr00tN1d5Config.full_size()
    flops = count_flops(config, tokens=560, grids=(config.grid,) * 2)
    section = page("throughput.md").split("### Arithmetic")[1].split("### Full size")[0]
    parts = [flops.vision, flops.language, flops.vl_self_attention, flops.encode, flops.cross_kv, flops.velocity]
    calls = [flops.denoise(), flops.encode + flops.denoise(), flops.update(), flops.update(4)]
    counted = [*parts, *calls, flops.encode + flops.update()]
    assert [row[1].strip("*") for row in table_rows(section, 2)[2:]] == [f"{n / 1e12:.3f}" for n in counted]
    lora = flops.state + flops.cross_kv + 2 * flops.velocity  # as policy_throughput.py counts it
    assert f"an update from cached features takes {lora / 1e12:.3f} TFLOP" in section


def stated() -> list[tuple[str, str]]:
    """Return documents, and what each says of defaults and constants, with line breaks as spaces."""
    from gr00t_rl.algorithms import gate, health
    from gr00t_rl.algorithms.dumps import EnvDumps
    from gr00t_rl.algorithms.guard import NonFiniteGuard
    from gr00t_rl.algorithms.schedules import RateController
    from gr00t_rl.cfg import Gr00tFinetuneRunnerCfg, Gr00tGrpoFinetuneRunnerCfg
    from gr00t_rl.cli.evaluate import build_parser
    from gr00t_rl.evaluation import film, regions
    from gr00t_rl.launch import entrypoints, processes
    from gr00t_rl.memory import devices, estimate, micro_batches
    from gr00t_rl.options import Gr00tActorOptions, PpoOptions
    from gr00t_rl.utils import finite, stop

    words, ten = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}, {-4: "10⁻⁴", 15: "10¹⁵"}
    grpo, tune = Gr00tGrpoFinetuneRunnerCfg().algorithm, Gr00tFinetuneRunnerCfg().algorithm
    (low, high), head, ppo = RateController.BOUNDS, Gr00tActorOptions(), PpoOptions()
    kl_ends = words[round((tune.target_kl or 0.0) / tune.desired_kl)]
    evaluation, clips = build_parser().get_default, words[film.CLIPS]
    return [
        ("design.md", f"It stays within {low:g} to {high:g} times its start."),
        ("design.md", f"(`stochastic_steps={head.stochastic_steps}`, default)"),
        ("design.md", f"| `{head.first_step_noise}` (default) |"),
        ("grpo.md", f"`{grpo.credit}` with `gamma={grpo.gamma:g}`, a horizon of two seconds"),
        ("grpo.md", f"A = (R − mean) / (std + {ten[round(math.log10(grpo.advantage_eps))]})"),
        ("grpo.md", f"{words[health.HealthWatch().patience]} iterations without an informative group"),
        ("grpo.md", f"noise below {100 * health.STD_SHARE:g} % of its first value"),
        ("grpo.md", f"a KL above {health.KL_LIMIT:g} per decision"),
        ("ppo_or_grpo.md", f"(`credit={grpo.credit}`, `gamma={grpo.gamma:g}`)"),
        ("ppo_or_grpo.md", f"a multiple of `agent.algorithm.group_size` ({grpo.group_size})"),
        ("ppo_or_grpo.md", f"{words[tune.num_critic_warmup_iterations]} iteration to warm it up"),
        ("ppo_details.md", f"off; GR00T: {kl_ends} times `desired_kl` ("),
        ("optimisation.md", f"again ({gate.ROWS}, or a micro-batch if that is larger)"),
        ("optimisation.md", f"Above a mean of {gate.LIMIT * 1e3:g}e-3 the run mends it"),
        ("resume.md", f"with exit code {stop.RESTART_CODE}"),
        ("resume.md", f"a number beyond {ten[round(math.log10(finite.LIMIT))]}"),
        ("resume.md", f"`agent.algorithm.max_nonfinite_envs` ({ppo.max_nonfinite_envs:g})"),
        ("resume.md", f"`agent.algorithm.max_nonfinite_iterations` ({ppo.max_nonfinite_iterations})"),
        ("resume.md", f"`agent.algorithm.max_nonfinite_steps` ({ppo.max_nonfinite_steps})"),
        ("resume.md", f"Each of the first {words[EnvDumps.MAX_DUMPS]} cases"),
        ("resume.md", f"up to {words[NonFiniteGuard.MAX_DUMPS]} files"),
        ("evaluation.md", f"defaults: {evaluation('num_episodes')} episodes"),
        ("evaluation.md", f"(at most one per episode), seed {evaluation('seed')} |"),
        ("evaluation.md", f"default `{evaluation('checkpoint')}`"),
        ("evaluation.md", f"more than {health.FALL:g} below the best"),
        ("evaluation.md", f"over at least {health.WINDOW} episodes"),
        ("evaluation.md", f"env 0, {entrypoints.VIDEO_SIZE} px"),
        ("evaluation.md", f"films 200 of every {entrypoints.VIDEO_INTERVAL:,} env steps"),
        ("evaluation.md", f"run of {film.NUM_ENVS} envs with a {film.SIZE} px camera"),
        ("evaluation.md", f"the first {clips} successes and the first {clips} failures"),
        ("evaluation.md", f"There are {words[film.ROUNDS]} rounds at most."),
        ("evaluation.md", f"one {regions.CELLS} × {regions.CELLS} grid per movable object"),
        ("memory.md", f"fits into {100 * micro_batches.MARGIN:g} % of the free memory"),
        ("memory.md", f"Above {100 * micro_batches.MARGIN:g} % of the free memory there is a warning"),
        ("memory.md", f"networks of up to {micro_batches.SMALL / 1e6:g} million parameters"),
        ("memory.md", f"Estimates may be {100 * estimate.TOLERANCE:g} % too high."),
        ("memory.md", f"{devices.BESIDE['cpu'].pixel} bytes per pixel"),
        ("multi_process.md", f"they have {processes.FAILURE_S} s to end by themselves"),
    ]


def test_documents_state_the_constants_of_the_code():
    missing = [(name, text) for name, text in stated() if text not in " ".join(page(name).split())]
    assert missing == []
