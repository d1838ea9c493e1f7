"""Tokenizers that fit a model of images and texts."""

from ..data.tokenize import Tokenizer, parse_tokenizer
from ..errors import VitrailError
from .fields import ModelConfig
from .text import TextFields


def text_fields(config: ModelConfig) -> TextFields:
    """The config of a model that takes texts.

    Raises:
        VitrailError: the model takes none.
    """
    if not isinstance(config, TextFields):
        raise VitrailError(f"a model for {config.task} does not take texts: choose a model of images and texts")
    return config


def require_fits(tokenizer: Tokenizer, config: TextFields, name: str) -> Tokenizer:
    """Return a tokenizer, called `name` in messages, whose vocabulary is not larger than the model's.

    Raises:
        VitrailError: it is larger.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise VitrailError(
            f"the tokenizer of {name} has {tokenizer.vocab_size} tokens, the model has {config.vocab_size}: "
            "use the tokenizer of the model that the weights come from"
        )
    return tokenizer


def tokenizer_for(config: ModelConfig, text: str | None) -> Tokenizer:
    """The tokenizer of a checkpoint's model.

    Args:
        config: the model's.
        text: content of its `tokenizer.json`; None if the checkpoint has none.

    Raises:
        VitrailError: a model without texts, no tokenizer, or one with a larger vocabulary than the model's.
    """
    fields = text_fields(config)
    if text is None:
        raise VitrailError(
            "the checkpoint has no tokenizer, without which texts cannot be read: put the tokenizer.json of the model "
            "that the weights come from beside them, and load that folder"
        )
    return require_fits(parse_tokenizer(text, fields.context_length, "the checkpoint"), fields, "the checkpoint")
