# SPDX-License-Identifier: BSD-3-Clause
"""The tokenizer.

Real assets ship with NVIDIA's model code, not with the weights: a user names their folder or hub id. A tiny
checkpoint carries a byte-level tokenizer of its own, so both go through the same code.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .checkpoint import TOKENIZER_FILES, read_json, resolve_folder
from .errors import CheckpointError

DEFAULT_INSTRUCTION = "Perform the default behavior."

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
    folder = resolve_folder(path_or_hub_id, weights=False)
    help_text = "give the folder or hub id of the tokenizer assets"
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


def render_turn(tokenizer: PreTrainedTokenizerBase, instruction: str, pictures: int, answer: bool) -> str:
    """One user turn of ``pictures`` and then the instruction, as the tokenizer's chat template writes it.

    Args:
        tokenizer: With a chat template.
        instruction: What the robot is told to do.
        pictures: Placeholders of pictures.
        answer: Whether the assistant's turn is opened after it.
    """
    content: list[dict[str, Any]] = [{"type": "image"} for _ in range(pictures)]
    content.append({"type": "text", "text": instruction})
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],  # pyright: ignore[reportArgumentType]
        tokenize=False,
        add_generation_prompt=answer,
    )
    if not isinstance(text, str):
        raise TypeError(f"the chat template gave a {type(text).__name__}, not a text")
    return text


def check_image_token(tokenizer: PreTrainedTokenizerBase, token: str, index: int, remedy: str) -> None:
    """Make sure the tokenizer and the network mean the same token by an image.

    Args:
        tokenizer: The tokenizer.
        token: What stands where an image token goes.
        index: Its id in the network.
        remedy: What to do if the tokenizer has another.

    Raises:
        CheckpointError: It has another.
    """
    found = tokenizer.convert_tokens_to_ids(token)
    if found != index:
        raise CheckpointError(f"the tokenizer's id of {token} is {found}, the model's is {index}: {remedy}")


def byte_tokenizer(
    size: int, special_tokens: Sequence[str], image_token: str, image_id: int, template: str
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer for a tiny network.

    Ids 0-255 are bytes, so any text can be written; merges that make words of :data:`_TINY_CORPUS` fill the ids that
    are left (a prompt of bytes would be four times as long, and so would its encoding take). Ids without a use are
    filled with ``<unused i>``, as a saved vocabulary must have no holes.

    Args:
        size: ids that there are.
        special_tokens: tokens that are never split, ``image_token`` and ``<|im_end|>``, which pads, among them.
        image_token: stands where an image token goes.
        image_id: its id.
        template: chat template.

    Raises:
        ValueError: a vocabulary too small for 256 bytes and the special tokens.
    """
    if size < 256 + len(special_tokens) or image_id < 256:
        raise ValueError(
            f"vocab_size is {size} with image_token_index {image_id}: a byte tokenizer needs at least "
            f"{256 + len(special_tokens)} ids and the image token above 255"
        )
    words, merges = _learn_merges(min(image_id, size - 1) - len(special_tokens) + 1)
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab[image_token] = image_id
    free = (index for index in range(256, size) if index != image_id)
    vocab |= {token: next(free) for token in special_tokens if token != image_token}
    vocab |= {word: next(free) for word in words}
    vocab |= {f"<unused {index}>": index for index in free if index <= max(image_id, 300)}
    backend = Tokenizer(models.BPE(vocab=dict(sorted(vocab.items(), key=lambda item: item[1])), merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", pad_token="<|im_end|>")
    tokenizer.chat_template = template
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
    """File name -> content of the tokenizer, for ``Gr00tNetwork.assets``; the chat template as chat_template.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        template = json.dumps({"chat_template": tokenizer.chat_template}, indent=2) + "\n"
        (folder / "chat_template.json").write_text(template, encoding="utf-8")
        return {file: (folder / file).read_bytes() for file in TOKENIZER_FILES if (folder / file).is_file()}


def tokenizer_of(assets: Mapping[str, bytes]) -> PreTrainedTokenizerBase:
    """Undo :func:`tokenizer_assets`.

    Raises:
        CheckpointError: No usable tokenizer is among the files.
    """
    with tempfile.TemporaryDirectory() as name:
        for file in TOKENIZER_FILES:
            if file in assets:
                (Path(name) / file).write_bytes(assets[file])
        return load_tokenizer(name)
