"""Tokenizers of checkpoints, and of other places."""

from pathlib import Path

from ..data.tokenize import Tokenizer, read_tokenizer
from ..models.fields import ModelConfig
from ..models.texts import require_fits, text_fields, tokenizer_for
from ..progress import Say, to_stderr
from .contract import Checkpoint
from .origin import is_hub_id


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer that was loaded with a checkpoint.

    Raises:
        VitrailError: a model without texts, no tokenizer, or one with a larger vocabulary than the model's.
    """
    return tokenizer_for(checkpoint.config, checkpoint.tokenizer)


def load_tokenizer(source: str | Path, config: ModelConfig, *, say: Say = to_stderr) -> Tokenizer:
    """Load the tokenizer of a folder, a `tokenizer.json` or a hub id, for a model of this config.

    Raises:
        VitrailError: a model without texts, no tokenizer, or one with a larger vocabulary than the model's.
    """
    fields = text_fields(config)
    path = Path(source)
    if not path.exists() and is_hub_id(str(source)):
        from .hub import fetch  # it has the layouts of all families

        path, _ = fetch(str(source), say)
    return require_fits(read_tokenizer(path, fields.context_length), fields, str(source))
