"""Texts as numbers, against the peers' tokenizers."""

import json
from pathlib import Path

import open_clip
import pytest
import tokenizers
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer, canonicalize_text
from tokenizers import models, normalizers, pre_tokenizers

from vitrail.checkpoint.texts import load_tokenizer
from vitrail.data.tokenize import CLIP, SIGLIP, SIGLIP2, read_tokenizer, without_punctuation
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config

TEXTS = [
    "a photo of a cat",
    "  A   Diagram, of: THINGS!  ",
    "it's 1984 & we'll eat crêpes",
    "Tom &amp; Jerry &lt;3",
    "猫の写真 🐈",
    "",
    "word " * 100,
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published pieces of CLIP, which open_clip brings along, as transformers writes them."""
    theirs = SimpleTokenizer()
    special = {"<start_of_text>": CLIP.begin, "<end_of_text>": CLIP.end}
    vocabulary = {special.get(piece, piece): number for piece, number in theirs.encoder.items()}
    folder = tmp_path_factory.mktemp("clip")
    transformers.CLIPTokenizer(vocab=vocabulary, merges=list(theirs.bpe_ranks)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("length", [77, 8, 3])
def test_clip_reads_as_openai_does(clip: Path, length: int) -> None:
    ours = read_tokenizer(clip, length)
    assert ours.vocab_size == 49408
    assert torch.equal(ours(TEXTS), open_clip.tokenize(TEXTS, context_length=length))


def test_clip_reads_as_transformers_does_up_to_the_end(clip: Path) -> None:
    texts = [text for text in TEXTS if "&" not in text]  # transformers leaves entities as they are
    theirs = transformers.CLIPTokenizer.from_pretrained(clip)
    there = theirs(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    ours = read_tokenizer(clip, 77)(texts)
    assert torch.equal(ours.argmax(dim=1), there.input_ids.argmax(dim=1))
    kept = there.attention_mask.bool()
    assert torch.equal(ours[kept], there.input_ids[kept])
    assert (ours[~kept] == 0).all()


def letters(*more: str) -> dict[str, int]:
    return {piece: number for number, piece in enumerate([*more, *"abcdefghijklmnopqrstuvwxyz▁,!.'&"])}


def test_siglip_2_reads_as_transformers_does(tmp_path: Path) -> None:
    theirs = transformers.Siglip2Tokenizer(
        vocab=letters("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "</s>", "ca", "cat"),
        merges=[("c", "a"), ("ca", "t")],
    )
    theirs.padding_side = "right"
    theirs.save_pretrained(tmp_path)
    there = theirs(TEXTS, padding="max_length", truncation=True, max_length=63, return_tensors="pt").input_ids
    ours = read_tokenizer(tmp_path, 64)(TEXTS)
    # theirs has no end of its own: that is written in the published file.
    ended = torch.cat([there, torch.zeros(len(TEXTS), 1, dtype=torch.long)], dim=1)
    ended[torch.arange(len(TEXTS)), (there != 0).sum(dim=1)] = 1
    assert torch.equal(ours, ended)


def test_siglip_ends_with_its_end_and_fills_up_with_it(tmp_path: Path) -> None:
    pieces = tokenizers.Tokenizer(models.Unigram([(p, -1.0) for p in letters("<unk>", "</s>", "▁cat")], unk_id=0))
    pieces.normalizer = normalizers.NFKC()
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.save(str(tmp_path / "tokenizer.json"))
    rows = read_tokenizer(tmp_path / "tokenizer.json", 6)(["Cat!", "a cat, a_cat", ""])
    assert [[pieces.id_to_token(number) for number in row] for row in rows.tolist()] == [
        ["▁cat", *["</s>"] * 5],
        ["▁", "a", "▁cat", "▁", "a", "</s>"],
        ["</s>"] * 6,
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_punctuation_goes_as_in_big_vision(text: str) -> None:
    assert without_punctuation(text) == canonicalize_text(text)


def test_what_cannot_be_read_says_the_way_out(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(VitrailError, match=r"there is no .*tokenizer\.json: get the tokenizer\.json"):
        read_tokenizer(tmp_path, 77)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(VitrailError, match="cannot be read as a tokenizer"):
        read_tokenizer(broken, 77)
    tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(broken))
    with pytest.raises(VitrailError, match="has the special pieces of no known family"):
        read_tokenizer(broken, 77)
    with pytest.raises(VitrailError, match="'a cat' is one text"):
        read_tokenizer(clip, 77)("a cat")
    with pytest.raises(VitrailError, match="a context of 2 tokens leaves no room"):
        read_tokenizer(clip, 2)


def test_the_tokenizer_belongs_to_the_model(clip: Path) -> None:
    config = model_config("clip_vit_base_patch32")
    assert load_tokenizer(clip, config)(["a cat"]).shape == (1, config.context_length)
    with pytest.raises(VitrailError, match="has 49408 tokens, the model has 32000"):
        load_tokenizer(clip, model_config("siglip_base_patch16_224"))
    with pytest.raises(VitrailError, match="a model for classification does not take texts"):
        load_tokenizer(clip, model_config("vit_tiny_patch16_224"))


def test_no_family_is_taken_for_another(clip: Path) -> None:
    vocabulary = json.loads((clip / "tokenizer.json").read_text())["model"]["vocab"]
    assert vocabulary[CLIP.pad] == 0
    assert {SIGLIP.end, SIGLIP2.end}.isdisjoint(vocabulary)
