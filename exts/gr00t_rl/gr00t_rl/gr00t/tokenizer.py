# SPDX-License-Identifier: BSD-3-Clause
"""The tokenizer and the prompt.

Real assets ship with NVIDIA's model code, not with the weights: a user names their folder or hub id. A tiny
checkpoint carries a byte-level tokenizer of its own, so both go through the same code.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .checkpoint import ASSET_FILES, read_json, resolve_folder
from .config import Gr00tN1d5Config
from .errors import CheckpointError

IMAGE_TOKEN = "<IMG_CONTEXT>"
DEFAULT_INSTRUCTION = "Perform the default behavior."

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

# What tiny networks are told: the prompt's fixed words and those of tabletop instructions.
_TINY_CORPUS = (
    "You are a helpful assistant.",
    "system\n user\n assistant\n <image 1> <image 2> <image 3>",
    "Perform the default behavior.",
    "push the red cube to the green target, slide the red block onto the green disc",
    "pick up the red cube and place it on the green target, put the red block on the green mark",
    "stack the red cube on the blue cube, place the red block on top of the blue block",
    "reach the green ball, move the gripper to the green sphere, touch the goal",
)


def load_tokenizer(path_or_hub_id: str | os.PathLike[str]) -> PreTrainedTokenizerBase:
    """Tokenizer with its chat template, from a folder (no network) or a hub id.

    Raises:
        CheckpointError: no such folder, or no usable tokenizer in it.
    """
    folder = resolve_folder(path_or_hub_id)
    help_text = "give the folder or hub id of the Eagle tokenizer assets"
    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(f"{folder} has no tokenizer_config.json, so no tokenizer: {help_text}")
    try:
        # An empty config keeps transformers from reading the network's own config.json, which it does not know.
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, config=PreTrainedConfig())
    except Exception as error:
        raise CheckpointError(f"the tokenizer in {folder} does not load ({error}): {help_text}") from error
    if tokenizer.chat_template is None:
        # transformers reads this file for processors only
        template = read_json(folder / "chat_template.json").get("chat_template")
        if not isinstance(template, str):
            raise CheckpointError(f"{folder}/chat_template.json has no 'chat_template' text: {help_text}")
        tokenizer.chat_template = template
    return tokenizer


def formalise(instruction: str) -> str:
    """Lower case without punctuation: the data configs' option ``formalize_language``."""
    return re.sub(r"[^\w\s]", "", instruction.lower())


def render_prompt(tokenizer: PreTrainedTokenizerBase, instruction: str, num_views: int, tokens_per_image: int) -> str:
    """The text of one user turn: the images in order, then the instruction, then the assistant's opening.

    Each view becomes ``<image k><img>`` + ``<IMG_CONTEXT>`` x tokens_per_image + ``</img>``; no view, no placeholder.
    """
    content: list[dict[str, Any]] = [{"type": "image"} for _ in range(num_views)]
    content.append({"type": "text", "text": instruction})
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],  # pyright: ignore[reportArgumentType]
        tokenize=False,
        add_generation_prompt=True,
    )
    if not isinstance(text, str):
        raise TypeError(f"the chat template gave a {type(text).__name__}, not a text")
    for view in range(1, num_views + 1):
        if f"<image-{view}>" not in text:
            raise CheckpointError(f"the chat template writes no <image-{view}>: use the template of the Eagle assets")
        # The first occurrence: images come before the instruction, which might name one too.
        text = text.replace(f"<image-{view}>", f"<image {view}><img>{IMAGE_TOKEN * tokens_per_image}</img>", 1)
    return text


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: Gr00tN1d5Config) -> None:
    """Make sure the tokenizer and the network mean the same token by an image.

    Raises:
        CheckpointError: another id for ``<IMG_CONTEXT>`` than ``config.image_token_index``.
    """
    found = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    if found != config.image_token_index:
        raise CheckpointError(
            f"the tokenizer's id of {IMAGE_TOKEN} is {found}, the model's is {config.image_token_index}: "
            "use the tokenizer assets that belong to this checkpoint"
        )


def tiny_tokenizer(config: Gr00tN1d5Config) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer whose ``<IMG_CONTEXT>`` has the id ``config.image_token_index``.

    Ids 0-255 are bytes, so any text can be written; merges that make words of :data:`_TINY_CORPUS` fill the ids that
    are left (a prompt of bytes would be four times as long, and so would its encoding take). Ids without a use are
    filled with ``<unused i>``, as a saved vocabulary must have no holes.

    Raises:
        ValueError: a vocabulary too small for 256 bytes and five special tokens.
    """
    size, image_id = config.text.vocab_size, config.image_token_index
    if size < 256 + len(_SPECIAL_TOKENS) or image_id < 256:
        raise ValueError(
            f"vocab_size is {size} with image_token_index {image_id}: a byte tokenizer needs at least "
            f"{256 + len(_SPECIAL_TOKENS)} ids and the image token above 255"
        )
    words, merges = _learn_merges(min(image_id, size - 1) - len(_SPECIAL_TOKENS) + 1)
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab[IMAGE_TOKEN] = image_id
    free = (index for index in range(256, size) if index != image_id)
    vocab |= {token: next(free) for token in _SPECIAL_TOKENS if token != IMAGE_TOKEN}
    vocab |= {word: next(free) for word in words}
    vocab |= {f"<unused {index}>": index for index in free if index <= max(image_id, 300)}
    backend = Tokenizer(models.BPE(vocab=dict(sorted(vocab.items(), key=lambda item: item[1])), merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL_TOKENS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", pad_token="<|im_end|>")
    tokenizer.chat_template = _TINY_TEMPLATE
    return tokenizer


def _learn_merges(vocab_size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Words (in the byte alphabet) and merges of a byte-pair encoding of :data:`_TINY_CORPUS`, in order."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(_TINY_CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    return list(dict.fromkeys(left + right for left, right in merges)), merges


def tokenizer_assets(tokenizer: PreTrainedTokenizerBase) -> dict[str, bytes]:
    """File name -> content of the tokenizer, for ``Gr00tN1d5.assets``; the chat template as chat_template.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        template = json.dumps({"chat_template": tokenizer.chat_template}, indent=2) + "\n"
        (folder / "chat_template.json").write_text(template, encoding="utf-8")
        return {file: (folder / file).read_bytes() for file in ASSET_FILES if (folder / file).is_file()}
