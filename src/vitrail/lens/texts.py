"""Which patches of an image meet which words of a text: the similarity of both as outputs that can be attributed.

A text and each of its words are an output of the image encoder, so that every attribution method, the explorer and
ablation apply to them as to classes. The output of a text is its cosine with the image, that of a word by how much the
cosine falls if the word is left out: "erasure" (Li, Monroe and Jurafsky, 2016, "Understanding neural networks through
representation erasure", section 3). Relevance thus goes both ways: the value of a word is its relevance given the
image, and its map has the patches on which this value depends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..checkpoint.texts import tokenizer_of
from ..data.tokenize import Tokenizer
from ..errors import VitrailError
from ..nn import DualEncoder, Tokens, VisionModel
from ..tasks.text_encoder import TextEncoder

Kind = Literal["class", "text", "word"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text, or a word of one.

    Attributes:
        name: the text or the word.
        kind: which of both.
        without: the text without the word; empty for a text.
    """

    name: str
    kind: Kind
    whole: str
    without: str = ""


class SimilarityHead(nn.Module):
    """Products of an image's unit vector with directions: Tokens -> (B, K).

    Args:
        head: Tokens -> (B, E), the head of an image encoder.
        directions: (K, E); a unit vector gives a cosine, a difference of two the difference of their cosines.
    """

    directions: Tensor

    def __init__(self, head: nn.Module, directions: Float[Tensor, "K E"]) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("directions", directions)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B K"]:
        found = F.normalize(self.head(tokens), dim=-1)
        return found @ self.directions.to(found).t()


def phrases(texts: Sequence[str]) -> list[Phrase]:
    """Each text, followed by its words."""
    found = []
    for text in texts:
        words = text.split()
        found.append(Phrase(text, "text", text))
        for place, word in enumerate(words):
            found.append(Phrase(word, "word", text, " ".join(words[:place] + words[place + 1 :])))
    return found


def similarity_model(checkpoint: Checkpoint, texts: Sequence[str]) -> tuple[VisionModel[Any], list[Phrase]]:
    """The image encoder of a checkpoint with the similarities of texts and their words as outputs, and these.

    Raises:
        VitrailError: a model without texts, no tokenizer, no text, an empty or a repeated one.
    """
    model = checkpoint.model
    if not isinstance(model, DualEncoder):
        raise VitrailError(
            f"texts are compared with images by a model of images and texts, and this checkpoint is for "
            f"{checkpoint.task.name}: leave texts out"
        )
    _check(texts)
    found, encoder = phrases(texts), TextEncoder(model, tokenizer_of(checkpoint))
    # Clones, as tensors made in inference mode cannot be part of a graph.
    whole = encoder.vectors([phrase.whole for phrase in found]).clone()
    without = encoder.vectors([phrase.without for phrase in found]).clone()
    words = torch.tensor([[phrase.kind == "word"] for phrase in found])
    image = model.image
    head = SimilarityHead(image.head, whole - without * words)
    return VisionModel(image.embed, image.encoder, head, image.config), found


def text_notes(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """Sentences about what the text encoder does not read as it is written."""
    notes = []
    if unknown := tokenizer.unknown(texts):
        notes.append(f"not in the vocabulary of the model: {', '.join(unknown)}")
    for text, length in zip(texts, tokenizer.lengths(texts), strict=True):
        if length > tokenizer.context_length:
            notes.append(f"the text {text!r} has {length} tokens, of which the model reads {tokenizer.context_length}")
    return notes


def _check(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise VitrailError(f"texts {texts!r} are one string: give a list of texts")
    if any(not text.strip() for text in texts):
        raise VitrailError("one of the texts is empty: write a text for each")
    if twice := next((text for text in texts if list(texts).count(text) > 1), None):
        raise VitrailError(f"the text {twice!r} is given twice: leave one out")
