"""Learns a tokenizer from captions: whole words, or pieces of words (byte-level BPE)."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import VitrailError
from .tokenize import LEARNED, Tokenizer, tokenizers_library

_MOST_WORDS, _LEAST_COVERED = 1_000, 0.95
"""Words are the pieces if captions have no more different ones, and if this fraction of all words is of some that occur
twice or more, so that few are unknown."""

_MOST_PIECES, _WORDS_FOR_A_PIECE = 8_192, 4
"""Largest vocabulary of pieces of words, and number of words of the captions for each piece beyond the bytes."""

_BYTES = 256

_SHORTEST, _LONGEST = 8, 77
"""Limits of the context length. A context of 77 is CLIP's."""


def learn_tokenizer(captions: Sequence[str]) -> Tokenizer:
    """Learn the vocabulary of captions. A function of the captions alone.

    Few different words become a vocabulary of words and marks, in which those that occur once are unknown, so that the
    model learns a vector for unknown words. Otherwise the pieces are those of byte-level BPE (Sennrich et al., 2016;
    Radford et al., 2019), of which every text has some. The context length is that of the longest caption, from 8 to
    77; longer texts are truncated.

    Raises:
        VitrailError: no caption has a word, or the library is not installed.
    """
    texts = [LEARNED.clean(caption) for caption in captions]
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    if not counts:
        raise VitrailError("the captions have no words: there is nothing to learn from")
    library = tokenizers_library()
    pieces = _words(library, counts) if _few(counts) else _pieces(library, texts, counts.total())
    longest = max(Tokenizer(pieces, _LONGEST, LEARNED).lengths(captions))
    return Tokenizer(pieces, min(_LONGEST, max(_SHORTEST, longest)), LEARNED)


_WORD = re.compile(r"\w+|[^\w\s]+")
"""Words and marks, as the library's pre-tokenizer `Whitespace` finds them."""


def _few(counts: Counter[str]) -> bool:
    covered = sum(count for count in counts.values() if count > 1)
    return len(counts) <= _MOST_WORDS and covered >= _LEAST_COVERED * counts.total()


def _special() -> list[str]:
    assert LEARNED.unknown is not None
    return [LEARNED.pad, LEARNED.end, LEARNED.unknown]


def _words(library: Any, counts: Counter[str]) -> Any:
    # The most common first, then by the alphabet, so that the order of the captions does not matter.
    known = sorted((word for word, count in counts.items() if count > 1), key=lambda word: (-counts[word], word))
    vocabulary = {piece: number for number, piece in enumerate([*_special(), *known])}
    found = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token=LEARNED.unknown))
    found.pre_tokenizer = library.pre_tokenizers.Whitespace()
    return found


def _pieces(library: Any, texts: Sequence[str], words: int) -> Any:
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    trained = library.Tokenizer(library.models.BPE())
    trained.pre_tokenizer = byte_level
    trainer = library.trainers.BpeTrainer(
        vocab_size=min(_MOST_PIECES, len(_special()) + _BYTES + words // _WORDS_FOR_A_PIECE),
        min_frequency=2,
        special_tokens=_special(),
        initial_alphabet=sorted(byte_level.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    # A new one without the special pieces as added tokens, which would be found in the texts of users too.
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    found = library.Tokenizer(library.models.BPE(model["vocab"], merges))
    found.pre_tokenizer = byte_level
    found.decoder = library.decoders.ByteLevel()
    return found
