"""Tokenisers of text for image-text models: texts -> ids.

The pieces are those of a `tokenizer.json`, which the `tokenizers` library reads; the special pieces around them and the
normalisation of the text depend on the family.
"""

import html
import os
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ..errors import VitrailError

FILE = "tokenizer.json"
_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def lowered(text: str) -> str:
    """Entities such as &amp; replaced, lower case, single spaces: CLIP's normalisation."""
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


def without_punctuation(text: str) -> str:
    """Lower case, single spaces, and no punctuation: SigLIP's normalisation."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def composed(text: str) -> str:
    """`lowered`, with composed Unicode: the normalisation of vocabularies that are learned here."""
    return lowered(unicodedata.normalize("NFC", text))


@dataclass(frozen=True, slots=True)
class Frame:
    """A family's normalisation of a text, and the special pieces around it.

    Attributes:
        begin: the first piece, or None.
        end: the last piece, also of a text that is truncated.
        pad: the padding piece.
        clean: normalises a text.
        unknown: the piece for a word that is not in the vocabulary; None if every text has pieces.
    """

    begin: str | None
    end: str
    pad: str
    clean: Callable[[str], str]
    unknown: str | None = None


CLIP = Frame("<|startoftext|>", "<|endoftext|>", pad="!", clean=lowered)  # "!" has index 0, the padding in training
SIGLIP2 = Frame(None, "<eos>", pad="<pad>", clean=str.lower)
SIGLIP = Frame(None, "</s>", pad="</s>", clean=without_punctuation)

LEARNED = Frame(None, "<|end|>", pad="<|pad|>", clean=composed, unknown="<|unknown|>")
"""Frame of vocabularies that are learned here, see `learn_tokenizer`."""


class Tokenizer:
    """`tokenizer(["a photo of a cat", "a dog"])` -> (2, context_length) numbers.

    Longer texts are truncated and still get the end piece.

    Args:
        pieces: a `tokenizers.Tokenizer`.
        context_length: number of indices of a text.
        frame: normalisation and special pieces.

    Attributes:
        learned: whether the vocabulary was learned here, from captions.
    """

    def __init__(self, pieces: Any, context_length: int, frame: Frame) -> None:
        if context_length < 3:
            raise VitrailError(f"a context of {context_length} tokens leaves no room for a text: 3 is the least")
        self.context_length = context_length
        self.learned = frame is LEARNED
        self._pieces = pieces
        self._clean = frame.clean
        self._unknown = None if frame.unknown is None else pieces.token_to_id(frame.unknown)
        self._begin = [] if frame.begin is None else [pieces.token_to_id(frame.begin)]
        self._end, self._pad = pieces.token_to_id(frame.end), pieces.token_to_id(frame.pad)

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return self._pieces.get_vocab_size()

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "B L"]:
        """One row of indices for each text.

        Raises:
            VitrailError: a string, which would be read letter by letter.
        """
        rows = [self._framed(text.ids) for text in self._encoded(texts)]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, self.context_length)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text with its special pieces, before it is truncated."""
        return [len(self._begin) + len(text.ids) + 1 for text in self._encoded(texts)]

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """The different words of texts that are not in the vocabulary, in the order in which they occur."""
        if self._unknown is None:
            return []
        found: dict[str, None] = {}
        for given, text in zip(texts, self._encoded(texts), strict=True):
            clean = self._clean(given)
            places = (place for number, place in zip(text.ids, text.offsets, strict=True) if number == self._unknown)
            found.update((clean[start:end], None) for start, end in places)
        return list(found)

    def decode(self, row: Int[Tensor, " L"]) -> str:
        """The text of a row, as far as its pieces keep it."""
        special = {*self._begin, self._end, self._pad}
        numbers = row.tolist()
        stop = numbers.index(self._end) if self._end in numbers else len(numbers)
        return str(self._pieces.decode([number for number in numbers[:stop] if number not in special])).strip()

    def to_json(self) -> str:
        """The content of a `tokenizer.json`, which `parse_tokenizer` reads."""
        return str(self._pieces.to_str())

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        if isinstance(texts, str):
            raise VitrailError(f"{texts!r} is one text, but a list of texts is needed: put it in brackets")
        encoded: list[Any] = self._pieces.encode_batch([self._clean(text) for text in texts], add_special_tokens=False)
        return encoded

    def _framed(self, pieces: list[int]) -> list[int]:
        room = self.context_length - len(self._begin) - 1
        row = [*self._begin, *pieces[:room], self._end]
        return row + [self._pad] * (self.context_length - len(row))


def read_tokenizer(path: Path, context_length: int) -> Tokenizer:
    """Read a `tokenizer.json`, or the one in a folder; the family follows from its pieces.

    Raises:
        VitrailError: no such file, another format, or an unknown family.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise VitrailError(f"there is no {file}: get the {FILE} of the model that the weights come from")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise VitrailError(f"{file} cannot be read as a tokenizer ({error}): get the file again") from None
    return parse_tokenizer(text, context_length, str(file))


def parse_tokenizer(text: str, context_length: int, name: str) -> Tokenizer:
    """Build a tokenizer from the content of a `tokenizer.json`, see `read_tokenizer`; `name` is for messages."""
    library = tokenizers_library()
    try:
        pieces = library.Tokenizer.from_str(text)
    except Exception as error:  # the library has no specific error
        raise VitrailError(f"{name} cannot be read as a tokenizer ({error}): get the file again") from None
    pieces.no_padding()
    pieces.no_truncation()
    return Tokenizer(pieces, context_length, _frame(pieces.get_vocab(), name))


def tokenizers_library() -> Any:
    """The library `tokenizers`, of the extra `text`.

    Raises:
        VitrailError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise VitrailError('texts need the library tokenizers: pip install "vitrail[text]"') from error
    # Its threads do not survive the fork of worker processes, of which it would warn in each.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return tokenizers


def _frame(vocabulary: dict[str, int], name: str) -> Frame:
    # Gemma's pieces, used by SigLIP 2, have "</s>" too, as a piece of HTML.
    for frame in (LEARNED, CLIP, SIGLIP2, SIGLIP):
        if {frame.begin or frame.end, frame.end, frame.pad} <= vocabulary.keys():
            return frame
    raise VitrailError(
        f"{name} has the special pieces of no known family: CLIP ends a text with {CLIP.end}, "
        f"SigLIP with {SIGLIP.end}, SigLIP 2 with {SIGLIP2.end}"
    )
