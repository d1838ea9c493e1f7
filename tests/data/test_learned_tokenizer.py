"""Tokenizers that are learned from captions."""

import pickle
import random

import pytest
import torch

from vitrail.data.learned_tokenizer import learn_tokenizer
from vitrail.data.tokenize import LEARNED, parse_tokenizer
from vitrail.errors import VitrailError

SCENES = ["A red circle left of a blue square.", "a blue star above a red square"] * 3


def many_words(count: int) -> list[str]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(count)]
    return [" ".join(draw.choices(words, k=8)) for _ in range(count)]


def test_few_words_are_the_vocabulary() -> None:
    found = learn_tokenizer(SCENES)
    words = {"a", "red", "circle", "left", "of", "blue", "square", ".", "star", "above"}
    assert found.vocab_size == len(words) + 3
    assert found.context_length == 10  # nine words and marks, and the end
    assert found.learned
    assert found.decode(found(["A  RED circle\n"])[0]) == "a red circle"
    assert found.lengths(["a red circle", ""]) == [4, 1]


def test_the_vocabulary_does_not_depend_on_the_order_of_the_captions() -> None:
    assert learn_tokenizer(SCENES).to_json() == learn_tokenizer(SCENES[::-1]).to_json()


def test_unknown_words_share_a_piece_and_are_named() -> None:
    found = learn_tokenizer([*SCENES * 5, "a purple circle"])
    assert found.unknown(["a purple circle", "A Wolf, a purple wolf"]) == ["purple", "wolf", ","]
    red, purple, wolf = found(["a red circle", "a purple circle", "a wolf circle"])
    assert torch.equal(purple, wolf)
    assert not torch.equal(red, purple)


def test_many_words_become_pieces_of_which_every_text_has_some() -> None:
    captions = many_words(1200)
    found = learn_tokenizer(captions)
    assert 259 < found.vocab_size <= 8192
    texts = [captions[0], "猫 xq 🐈", "völlig neu"]
    assert found.unknown(texts) == []
    assert [found.decode(row) for row in found(texts)] == [captions[0], "猫 xq 🐈", "völlig neu"]


@pytest.mark.parametrize("captions", [SCENES, many_words(1200)], ids=["words", "pieces"])
def test_it_is_stored_pickled_and_safe_from_its_own_special_pieces(captions: list[str]) -> None:
    found = learn_tokenizer(captions)
    again = parse_tokenizer(found.to_json(), found.context_length, "the test")
    texts = [*captions[:3], "a new one", ""]
    assert again.learned
    for other in (again, pickle.loads(pickle.dumps(found))):
        assert torch.equal(other(texts), found(texts))
    end = found([""])[0, 0]
    row = found([f"{LEARNED.end} {LEARNED.pad}"])[0]
    assert (row == end).sum() == 1  # a user who writes the piece's name writes a text


def test_long_captions_are_truncated_at_the_context_of_clip() -> None:
    found = learn_tokenizer(["word " * 500, "word " * 3])
    assert found.context_length == 77
    assert found(["word " * 500]).shape == (1, 77)


def test_captions_without_a_word_are_refused() -> None:
    with pytest.raises(VitrailError, match="the captions have no words"):
        learn_tokenizer(["", "  "])
