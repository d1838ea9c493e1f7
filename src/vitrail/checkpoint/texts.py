"""Loads the tokenizer of a checkpoint."""

from pathlib import Path

from ..data.tokenize import Tokenizer, read_tokenizer
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..models.text import DualFields
from ..progress import Say, to_stderr
from .hub import fetch
from .origin import is_hub_id


def load_tokenizer(source: str | Path, config: ModelConfig, *, say: Say = to_stderr) -> Tokenizer:
    """Load the tokenizer of a folder, a `tokenizer.json` or a hub id, for a model of this config.

    Raises:
        VitrailError: a model without texts, no tokenizer, or one with a larger vocabulary than the model's.
    """
    if not isinstance(config, DualFields):
        raise VitrailError(f"a model for {config.task} does not take texts: choose a model of images and texts")
    path = Path(source)
    if not path.exists() and is_hub_id(str(source)):
        path, _ = fetch(str(source), say)
    tokenizer = read_tokenizer(path, config.context_length)
    if tokenizer.vocab_size > config.vocab_size:
        raise VitrailError(
            f"the tokenizer of {source} has {tokenizer.vocab_size} tokens, the model has {config.vocab_size}: "
            "use the tokenizer of the model that the weights come from"
        )
    return tokenizer
