"""Texts and words as outputs of an image encoder, against cosines worked out by hand and finite differences."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitrail.checkpoint.contract import Checkpoint
from vitrail.checkpoint.texts import tokenizer_of
from vitrail.data.learned_tokenizer import learn_tokenizer
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.explain import explain
from vitrail.lens.explanation import explain_image
from vitrail.lens.explorer.gallery import Gallery
from vitrail.lens.explorer.open import watch_all
from vitrail.lens.texts import phrases, similarity_model, text_notes
from vitrail.lens.watched import Watched, watch
from vitrail.models.registry import create_model

from .explorer.small import picture

pytest.importorskip("tokenizers")

TEXTS = ("a red square left of a blue circle", "a blue square")
CAPTIONS = [*TEXTS, *TEXTS, "a red circle"]
KINDS = {
    "class token, causal text": ("clip_vit_base_patch16", {"patch_size": 8}),
    "mean of patches": ("compact_clip_small_64", {"stem": ((8,), (8, 16))}),
    "pool": ("siglip_base_patch16_224", {"patch_size": 8}),
}


def checkpoint(kind: str = "mean of patches") -> Checkpoint:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(CAPTIONS)
    sizes = {"image_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2, "text_dim": 16, "text_depth": 1}
    texts = {"text_heads": 2, "vocab_size": tokenizer.vocab_size, "context_length": tokenizer.context_length}
    variant, fields = KINDS[kind]
    joint = {} if variant.startswith("siglip") else {"joint_dim": 8}
    model = create_model(variant, **{**sizes, **texts, **joint, **fields}).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    preprocess = Preprocess(image_size=(32, 32), crop=1.0)
    return Checkpoint(model, (), preprocess, {}, None, tokenizer.to_json())


def cosine(given: Checkpoint, pixels: Tensor, text: str) -> Tensor:
    """Cosine of each image with a text, from the two encoders."""
    vector = given.model.text(tokenizer_of(given)([text]))
    return F.cosine_similarity(given.model.image(pixels), vector)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_cosines_and_what_is_lost_without_each_word(kind: str) -> None:
    given = checkpoint(kind)
    given.model.double()
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model, found = similarity_model(given, TEXTS)
    with torch.no_grad():
        output = model(pixels)
        expected = []
        for text in TEXTS:
            words = text.split()
            expected.append(cosine(given, pixels, text))
            for place in range(len(words)):
                rest = " ".join(word for number, word in enumerate(words) if number != place)
                expected.append(expected[0 if text == TEXTS[0] else 9] - cosine(given, pixels, rest))
    assert [one.name for one in found] == [TEXTS[0], *TEXTS[0].split(), TEXTS[1], *TEXTS[1].split()]
    torch.testing.assert_close(output, torch.stack(expected, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_the_slopes_of_the_cosine_at_each_patch(kind: str) -> None:
    """Input × gradient of a patch is how the output changes as the patch grows: a finite difference of the cosines."""
    given = checkpoint(kind)
    given.model.double()
    pixels = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    model, found = similarity_model(given, TEXTS[1:])
    maps = METHODS["input_gradient"](model, pixels.expand(len(found), -1, -1, -1), torch.arange(len(found)))
    rows, columns = maps.shape[1:]
    high, wide = 32 // rows, 32 // columns

    def values(changed: Tensor) -> Tensor:
        whole = cosine(given, changed, TEXTS[1])
        return torch.stack([whole, whole - cosine(given, changed, "a square")])

    for row, column in ((0, 0), (rows - 1, 1), (1, columns - 1)):
        patch = (
            slice(None),
            slice(None),
            slice(row * high, (row + 1) * high),
            slice(column * wide, (column + 1) * wide),
        )
        more, less = pixels.clone(), pixels.clone()
        more[patch] *= 1 + 1e-5
        less[patch] *= 1 - 1e-5
        with torch.no_grad():
            slope = (values(more) - values(less)) / 2e-5
        torch.testing.assert_close(maps[[0, 2], row, column], slope[:, 0], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["lrp", "generic", "occlusion"])
def test_every_kind_of_encoder_has_maps(kind: str, method: str) -> None:
    watched = watch(checkpoint(kind), device="cpu", texts=TEXTS)
    explanation = explain_image(watched, "a", picture(), method=METHODS[method])
    assert [one.phrase.kind for one in explanation.texts] == ["text", *["word"] * 8, "text", *["word"] * 3]
    assert all(one.map.abs().max() > 0 for one in explanation.texts if one.phrase.probability)
    assert explanation.predictions == ()


def test_the_model_that_was_loaded_is_as_it_was() -> None:
    given = checkpoint()
    head = given.model.image.head
    similarity_model(given, TEXTS)
    assert given.model.image.head is head
    assert watch(given, device="cpu").phrases == ()


def test_the_explorer_shows_texts_and_words_and_what_ablation_changes() -> None:
    (watched,) = watch_all(checkpoint(), None, device="cpu", texts=TEXTS)
    shown = Gallery([watched], [("a", [picture()])], methods={"lrp": METHODS["lrp"], "rollout": METHODS["rollout"]})
    document = shown.view(0).document
    assert document["output"] == "texts"
    assert [one["kind"] for one in document["predictions"]].count("word") == 11
    maps = shown.relevance(0, "lrp")["maps"]
    assert [one["class"] for one in maps] == list(range(13))
    assert [one["class"] for one in shown.relevance(0, "lrp", 3)["maps"]] == [3]
    changed = shown.ablate(0, [(0, 0)], [])["predictions"]
    assert [one["index"] for one in changed] == list(range(13)), "texts keep their order"
    assert [one["before"] for one in changed] == pytest.approx(values(watched))
    assert changed[0]["after"] != changed[0]["before"]


def values(watched: Watched) -> list[float]:
    with torch.no_grad():
        found: list[float] = watched.model(watched.pixels(picture()))[0].tolist()
    return found


def test_a_png_and_a_page_with_texts(tmp_path: Path) -> None:
    said: list[str] = []
    texts = ["a red square", "a green square"]
    paths = explain(checkpoint(), picture(), tmp_path, texts=texts, methods=["generic"], device="cpu", say=said.append)
    assert [path.name for path in paths] == ["image 1.png", "explain.html"]
    assert '"output":"texts"' in paths[1].read_text(encoding="utf-8")
    assert said[0] == "not in the vocabulary of the model: green"


def test_notes_name_what_is_not_read() -> None:
    words = tokenizer_of(checkpoint())
    long = " ".join(["red"] * 20)
    (note,) = text_notes(words, [long])
    assert "has 21 tokens, of which the model reads 9" in note
    assert text_notes(words, TEXTS) == []


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [(["a", " "], "one of the texts is empty"), (["a", "a"], "given twice"), ("a cat", "are one string")],
)
def test_texts_that_are_none(texts: Any, sentence: str) -> None:
    with pytest.raises(VitrailError, match=sentence):
        watch(checkpoint(), device="cpu", texts=texts)


def test_a_model_without_texts_says_so() -> None:
    model = create_model("vit_tiny_patch16_224", image_size=32, patch_size=8, depth=1, embed_dim=24, num_classes=2)
    plain = Checkpoint(model.eval(), ("a", "b"), Preprocess(image_size=(32, 32), crop=1.0), {})
    with pytest.raises(VitrailError, match="this checkpoint is for classification: leave texts out"):
        explain(plain, picture(), texts=["a cat"], device="cpu")


def test_words_follow_their_text() -> None:
    assert [(one.kind, one.name, one.without) for one in phrases(["a  dog", "cat"])] == [
        ("text", "a  dog", ""), ("word", "a", "dog"), ("word", "dog", "a"), ("text", "cat", ""), ("word", "cat", "")
    ]  # fmt: skip
