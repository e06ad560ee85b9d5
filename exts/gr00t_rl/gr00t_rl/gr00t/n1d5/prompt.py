# SPDX-License-Identifier: BSD-3-Clause
"""N1.5's prompt: one user turn of images and text, as the Eagle assets render it."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import CheckpointError
from ..tokenizer import byte_tokenizer, render_turn
from .config import Gr00tN1d5Config

IMAGE_TOKEN = "<IMG_CONTEXT>"

_SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<img>", "</img>", IMAGE_TOKEN)
# Renders the same string as the released assets for one user turn of images and text.
_TINY_TEMPLATE = (
    "{% set count = namespace(value=0) %}"
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}"
    "{% set count.value = count.value + 1 %}{{ '<image-' + count.value | string + '>' }}"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def render_prompt(tokenizer: PreTrainedTokenizerBase, instruction: str, num_views: int, tokens_per_image: int) -> str:
    """The text of one user turn: the images in order, then the instruction, then the assistant's opening.

    Each view becomes ``<image k><img>`` + ``<IMG_CONTEXT>`` x tokens_per_image + ``</img>``; no view, no placeholder.
    """
    text = render_turn(tokenizer, instruction, num_views, answer=True)
    for view in range(1, num_views + 1):
        if f"<image-{view}>" not in text:
            raise CheckpointError(f"the chat template writes no <image-{view}>: use the template of the Eagle assets")
        # The first occurrence: images come before the instruction, which might name one too.
        text = text.replace(f"<image-{view}>", f"<image {view}><img>{IMAGE_TOKEN * tokens_per_image}</img>", 1)
    return text


def tiny_tokenizer(config: Gr00tN1d5Config) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose ``<IMG_CONTEXT>`` has the id ``config.image_token_index``.

    Raises:
        ValueError: a vocabulary too small for 256 bytes and five special tokens.
    """
    return byte_tokenizer(
        config.text.vocab_size, _SPECIAL_TOKENS, IMAGE_TOKEN, config.image_token_index, _TINY_TEMPLATE
    )
