"""The tokenizer that belongs to a checkpoint."""

from pathlib import Path
from typing import Any

from ..data.tokenize import Tokenizer, read_tokenizer
from ..errors import VitrailError
from ..models.fields import task_of
from .hub import Say, fetch, is_hub_id, to_stderr


def load_tokenizer(source: str | Path, config: Any, *, say: Say = to_stderr) -> Tokenizer:
    """The tokenizer of a folder, a `tokenizer.json` or a hub id, for the texts of a model of this config.

    Raises:
        VitrailError: a model without texts, no tokenizer there, or one with more pieces than the model knows.
    """
    if task_of(config) != "image-text":
        raise VitrailError(f"a model for {task_of(config)} reads no texts: choose a model of pictures and texts")
    path = Path(source)
    if not path.exists() and is_hub_id(str(source)):
        path, _ = fetch(str(source), say)
    tokenizer = read_tokenizer(path, config.context_length)
    if tokenizer.vocab_size > config.vocab_size:
        raise VitrailError(
            f"the tokenizer of {source} has {tokenizer.vocab_size} pieces, the model knows {config.vocab_size}: "
            "take the tokenizer of the model that the weights come from"
        )
    return tokenizer
