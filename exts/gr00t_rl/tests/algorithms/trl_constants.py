# SPDX-License-Identifier: BSD-3-Clause
"""What TRL's GRPOTrainer makes of a Gaussian bandit: prints the constants of ``test_grpo_trl.py``.

    uv pip install --target build/trl --no-deps trl accelerate datasets dill multiprocess xxhash pandas
    PYTHONPATH=build/trl python exts/gr00t_rl/tests/algorithms/trl_constants.py

A state-less bandit: one action a ~ N(mean, std^2), one "token" per completion. TRL's trainer generates text with a
network of a few hundred weights, and is then told the bandit's rewards and log-probabilities in place of the text's.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch.distributions import Normal

REWARDS = [[1.0, 0.0, 0.0, 1.0], [0.5, -0.25, 2.0, 0.25], [1.0, 1.0, 1.0, 1.0]]
ACTIONS = [[0.3, -1.2, 0.1, 0.9], [1.4, 0.2, -0.7, 0.6], [0.0, 0.5, -0.5, 2.0]]
OLD, NEW, REFERENCE = (0.1, 1.0), (0.4, 0.8), (0.0, 1.1)
"""(mean, std) of the policy that acted, of the one that is scored, and of the reference."""


def log_probs(policy: tuple[float, float]) -> torch.Tensor:
    return Normal(*policy).log_prob(torch.tensor(ACTIONS).flatten())


def trainer_with(**options: Any):
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

    words = ["<pad>", "<eos>", "a", "b", "c"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    folder = tempfile.mkdtemp()  # TRL loads its reference model from where the model came from
    LlamaForCausalLM(LlamaConfig(vocab_size=5, **sizes)).save_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)

    class Bandit(GRPOTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any):
            return log_probs(NEW).unsqueeze(1), torch.zeros(12, 1), None

    groups, size = len(REWARDS), len(REWARDS[0])
    args = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=False,
        report_to=[],
        per_device_train_batch_size=groups * size,
        num_generations=size,
        max_completion_length=1,
        **options,
    )
    return Bandit(
        model=model,
        processing_class=tokenizer,
        reward_funcs=lambda completions, **_: torch.tensor(REWARDS).flatten().tolist(),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["a"] * groups}),
    )


def main() -> None:
    import trl  # pyright: ignore[reportMissingImports]

    print("trl", trl.__version__)
    size = len(REWARDS[0])
    for scale in ("group", "none"):
        trainer = trainer_with(scale_rewards=scale)
        trainer.model.train()
        scored = trainer._generate_and_score_completions([{"prompt": "a"} for _ in REWARDS for _ in range(size)])
        print(f"advantages, scale_rewards={scale}:", scored["advantages"].view(-1, size).tolist())
        metrics = trainer._metrics["train"]
        for name in ("reward", "reward_std", "frac_reward_zero_std"):
            print(" ", name, metrics[name])
        if scale == "group":
            advantages = scored["advantages"]
    ones = torch.ones(12, 1, dtype=torch.long)
    inputs = {
        "prompt_ids": ones,
        "prompt_mask": ones,
        "completion_ids": ones,
        "completion_mask": ones,
        "advantages": advantages,
        "old_per_token_logps": log_probs(OLD).unsqueeze(1),
        "ref_per_token_logps": log_probs(REFERENCE).unsqueeze(1),
    }
    for options in ({"beta": 0.0}, {"beta": 0.0, "epsilon_high": 0.4}, {"beta": 0.1}):
        trainer = trainer_with(loss_type="grpo", **options)
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        loss = trainer._compute_loss(trainer.model, inputs)
        names = ("kl", "clip_ratio/low_mean", "clip_ratio/high_mean")
        print(f"loss, {options}:", loss.item(), {n: trainer._metrics["train"].get(n) for n in names})


if __name__ == "__main__":
    main()
