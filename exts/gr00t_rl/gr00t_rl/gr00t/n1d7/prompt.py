# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's prompt: one user turn of pictures and text, as Qwen3-VL's chat template renders it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import CheckpointError
from ..tokenizer import byte_tokenizer, render_turn

IMAGE_TOKEN = "<|image_pad|>"

_HELP = "use the tokenizer of Qwen3-VL-2B with its chat template"

_SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", IMAGE_TOKEN)
# Renders the same string as the released template for one user turn of pictures and text.
_TINY_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def render_prompt(tokenizer: PreTrainedTokenizerBase, instruction: str, tokens: Sequence[int]) -> str:
    """The text of one user turn: the pictures in order, then the instruction; nothing before and nothing after.

    Each picture becomes ``<|vision_start|>`` + ``<|image_pad|>`` x its number in ``tokens`` + ``<|vision_end|>``.

    Raises:
        CheckpointError: The tokenizer's chat template is not Qwen3-VL's.
    """
    text = render_turn(tokenizer, instruction, len(tokens), answer=False)
    # Pictures come before the instruction, which might name the token too: the processor counts them.
    head, *rest = text.split(IMAGE_TOKEN, len(tokens))
    if len(rest) != len(tokens):
        raise CheckpointError(f"the chat template writes {len(rest)} {IMAGE_TOKEN} for {len(tokens)} pictures: {_HELP}")
    # Qwen2-VL's and Qwen2.5-VL's have the same ids, and a system turn that the network never saw.
    begin = "<|im_start|>user\n" + ("<|vision_start|>" if tokens else "")
    end = instruction + "<|im_end|>\n"
    if not head.startswith(begin):
        raise CheckpointError(f"the chat template begins with {text[: len(begin)]!r}, not {begin!r}: {_HELP}")
    if not text.endswith(end):
        raise CheckpointError(f"the chat template ends with {text[-len(end) :]!r}, not {end!r}: {_HELP}")
    return head + "".join(IMAGE_TOKEN * count + part for count, part in zip(tokens, rest, strict=True))


def tiny_tokenizer(config: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose ``<|image_pad|>`` has the id ``config.image_token_index``.

    Raises:
        ValueError: a vocabulary too small for 256 bytes and five special tokens.
    """
    return byte_tokenizer(
        config.text.vocab_size, _SPECIAL_TOKENS, IMAGE_TOKEN, config.image_token_index, _TINY_TEMPLATE
    )
