"""Retrieval against loops and torchmetrics, and the task of images and texts."""

from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.retrieval import RetrievalHitRate

from vitrail.data.learned_tokenizer import learn_tokenizer
from vitrail.data.samples import FileAt, Sample
from vitrail.errors import VitrailError
from vitrail.models.compact_clip import CompactCLIPConfig
from vitrail.tasks.image_text import ImageText
from vitrail.tasks.registry import resolve
from vitrail.tasks.retrieval import candidates, recalls
from vitrail.tasks.retrieval_metrics import RetrievalMetrics
from vitrail.tasks.text_encoder import TextEncoder

CAPTIONS = [("a red circle", "a disc"), ("a blue square",), ("a red circle",), ("a green star", "a star", "a disc")]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_recall_is_the_hit_rate_of_torchmetrics(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    similarity = torch.randn(40, 25, generator=generator)
    right = torch.rand(40, 25, generator=generator) < 0.1
    right[:, 3] |= ~right.any(dim=1)
    theirs = RetrievalHitRate(top_k=k)(
        similarity.flatten(), right.flatten(), indexes=torch.arange(40).repeat_interleave(25)
    )
    assert recalls(similarity, right, (k,)).mean().item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(
    ("similarity", "right"),
    [
        ((1.0, 1.0, 1.0, 1.0), (1, 0, 0, 0)),
        ((1.0, 1.0, 1.0, 1.0), (1, 0, 1, 0)),
        ((2.0, 1.0, 1.0, 1.0), (0, 1, 0, 0)),
        ((2.0, 1.0, 1.0, 0.0), (0, 1, 0, 1)),
        ((3.0, 2.0, 1.0, 1.0), (0, 0, 0, 1)),
        ((0.0, 0.0, 0.0, 0.0), (1, 1, 1, 1)),
    ],
)
def test_ties_are_in_random_order(similarity: tuple[float, ...], right: tuple[int, ...], k: int) -> None:
    hits, count = 0, 0
    for order in permutations(range(4)):
        ranked = sorted(order, key=lambda place: -similarity[place])  # stable: each order of ties occurs equally often
        hits += any(right[place] for place in ranked[:k])
        count += 1
    found = recalls(torch.tensor([similarity]), torch.tensor([right]).bool(), (k,))
    assert found.item() == pytest.approx(hits / count)


def test_candidates_are_one_own_item_and_wrong_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(50, 30, generator=generator) < 0.1
    right = own | (torch.rand(50, 30, generator=generator) < 0.2)
    chosen, enough = candidates(own, right, 8, generator)
    assert torch.equal(enough, own.any(dim=1) & ((~right).sum(dim=1) >= 7))
    assert (chosen[enough].sum(dim=1) == 8).all()
    assert ((chosen & own)[enough].sum(dim=1) == 1).all()
    assert ((chosen & ~right)[enough].sum(dim=1) == 7).all()
    assert not chosen[~enough].any()
    assert not candidates(own, right, 40, generator)[1].any()


def encoder() -> TextEncoder:
    torch.manual_seed(0)
    words = learn_tokenizer([text for own in CAPTIONS for text in own] * 2)
    config = CompactCLIPConfig(
        image_size=16,
        stem=((8,), (16,)),
        embed_dim=16,
        depth=1,
        num_heads=2,
        text_dim=16,
        text_depth=1,
        text_heads=2,
        vocab_size=words.vocab_size,
        context_length=words.context_length,
    )
    return TextEncoder(config.build().eval(), words)


def test_the_metrics_are_those_of_a_loop_over_images_and_different_captions() -> None:
    texts = encoder()
    images = torch.randn(4, 128)
    metrics = RetrievalMetrics(texts)
    for start in (0, 3):
        metrics.update(images[start : start + 3], CAPTIONS[start : start + 3])
    found = metrics.compute()
    names = ["a red circle", "a disc", "a blue square", "a green star", "a star"]
    with torch.no_grad():
        words = F.normalize(texts.model.text(texts.tokenizer(names)), dim=-1)
        logits = texts.model.compare(F.normalize(images, dim=-1), words).double()
    by_image = [names[row.argmax()] in own for row, own in zip(logits, CAPTIONS, strict=True)]
    by_text = [name in CAPTIONS[column.argmax()] for name, column in zip(names, logits.t(), strict=True)]
    assert (found.by_image[1], found.by_text[1]) == (sum(by_image) / 4, sum(by_text) / 5)
    assert (found.count, found.texts, found.by_image[5]) == (4, 5, 1.0)
    assert found.quality == pytest.approx((sum(by_image) / 4 + sum(by_text) / 5) / 2)
    assert found.chance == pytest.approx((2 + 1 + 1 + 3) / 4 / 5)
    own = [[name in each for name in names] for each in CAPTIONS]
    image_loss = sum(-logits[i].softmax(0)[torch.tensor(own[i])].sum().log() for i in range(4)) / 4
    rows = torch.tensor(own).t()
    text_loss = sum(-logits[:, j].softmax(0)[rows[j]].sum().log() for j in range(5)) / 5
    assert found.loss == pytest.approx(float(image_loss + text_loss) / 2, rel=1e-5)


def test_unknown_words_and_chance_are_said() -> None:
    texts = encoder()
    metrics = RetrievalMetrics(texts)
    metrics.update(torch.ones(2, 128), [("a wolf",), ("a red wolf",)])
    sentences = " ".join(metrics.compute().cautions())
    assert "Words that the model does not know: wolf." in sentences
    assert "than captions in random order (R@1 50 %)" in sentences
    with pytest.raises(VitrailError, match="no images"):
        RetrievalMetrics(texts).compute()


def test_mistakes_are_images_that_find_the_caption_of_others() -> None:
    texts = encoder()
    task = ImageText().bound(texts.model.config, texts.tokenizer.to_json(), texts.model)
    words = texts.vectors(["a blue square", "a red circle", "a disc"])
    found = task.mistakes(torch.stack([words[1], words[1]]), [("a red circle",), ("a blue square",)], (), 5)
    assert [(one.index, one.predicted, one.truth) for one in found] == [(1, "a red circle", "a blue square")]


def test_captions_that_a_model_cannot_read_are_said_before_training() -> None:
    def warnings(*captions: str) -> list[str]:
        samples = [Sample(str(number), (text,), None, FileAt("x")) for number, text in enumerate(captions)]
        return ImageText().fitted(samples, ()).warnings(samples)

    assert warnings(*["a red circle"] * 30) == []
    (found,) = warnings(*["a red circle"] * 30, "a red wolf")
    assert found.endswith("at least twice when it was learned: wolf")
    assert warnings("word " * 80, "word " * 70) == ["1 caption is longer than 77 tokens: the end is not read"]
    texts = encoder()
    task = ImageText().bound(texts.model.config, texts.tokenizer.to_json())
    assert task.warnings([Sample("0", ("a blue wolf",), None, FileAt("x"))])[0].endswith("learned: wolf")


def test_a_task_without_a_tokenizer_or_texts_is_refused() -> None:
    texts = encoder()
    with pytest.raises(VitrailError, match=r"no tokenizer, .* put the tokenizer\.json"):
        ImageText().bound(texts.model.config, None)
    small: Any = CompactCLIPConfig(vocab_size=5)
    with pytest.raises(VitrailError, match="tokens, the model has 5"):
        ImageText().bound(small, texts.tokenizer.to_json())
    with pytest.raises(VitrailError, match="no option"):
        resolve(ImageText().spec.of("image-text", tokenizer="x"))
