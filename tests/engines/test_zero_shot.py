"""Zero-shot classification, against transformers and open_clip."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import tokenizers
import torch
import transformers
from PIL import Image

import vitrail
from tests.parity.pairs import OPEN_TEXT, OURS, TEXT, VISION
from tests.parity.references import loaded, randomise
from vitrail.checkpoint.texts import tokenizer_of
from vitrail.engines.zero_shot import class_vectors, read_templates, zero_shot_predictor
from vitrail.errors import VitrailError
from vitrail.models.clip import CLIPConfig
from vitrail.tasks.text_encoder import TextEncoder

WORDS = ["a", "photo", "of", "cat", "dog", "fox", "the", "."]
CLASSES = ("a cat", "the dog", "fox")
FAST: dict[str, Any] = {"device": "cpu", "precision": "float32"}


def write_words(folder: Path, first: dict[str, int], last: dict[str, int], size: int) -> dict[str, int]:
    """Write a tokenizer of whole words with the special pieces of a family, and return its vocabulary."""
    words = {word: number for number, word in enumerate(WORDS, start=len(first))}
    others = {f"word{number}": number for number in range(len(first) + len(WORDS), size - len(last))}
    vocabulary = {**first, **words, **others, **last}
    found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="word20"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    found.save(str(folder / "tokenizer.json"))
    return vocabulary


def clip_ids(vocabulary: dict[str, int], texts: list[str], length: int = 12) -> torch.Tensor:
    """Token ids of texts for CLIP, by hand."""
    rows = []
    for text in texts:
        row = [48, *(vocabulary[word] for word in text.replace(".", " .").split()), 49]
        rows.append(row + [0] * (length - len(row)))
    return torch.tensor(rows)


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Any, dict[str, int]]:
    config = transformers.CLIPConfig(text_config={**TEXT, "eos_token_id": 49}, vision_config=VISION, projection_dim=20)
    model = randomise(transformers.CLIPModel(config))
    model.save_pretrained(tmp_path)
    return model, write_words(tmp_path, {"!": 0}, {"<|startoftext|>": 48, "<|endoftext|>": 49}, 50)


def pictures() -> list[torch.Tensor]:
    return list(torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))


def test_the_probabilities_of_clip_are_those_of_transformers(clip: Any, tmp_path: Path) -> None:
    theirs, vocabulary = clip
    checkpoint = vitrail.load(tmp_path)
    pixels = torch.stack([checkpoint.preprocess.normalise(checkpoint.preprocess.fit(each)) for each in pictures()])
    for template in ("{}", "a photo of {}."):
        ids = clip_ids(vocabulary, [template.replace("{}", name) for name in CLASSES])
        with torch.no_grad():
            expected = theirs(input_ids=ids, pixel_values=pixels).logits_per_image.softmax(dim=1)
        found = vitrail.predict(checkpoint, pictures(), classes=CLASSES, templates=(template,), **FAST)
        for one, row in zip(found, expected.tolist(), strict=True):
            assert dict(one.classes) == pytest.approx(dict(zip(CLASSES, row, strict=True)), rel=1e-4)
    # Published models have a photo in their texts by default.
    default = next(iter(vitrail.predict(checkpoint, pictures(), classes=CLASSES, **FAST)))
    assert dict(default.classes) == pytest.approx(dict(zip(CLASSES, expected[0].tolist(), strict=True)), rel=1e-4)


def test_the_probabilities_of_siglip_are_those_of_transformers(tmp_path: Path) -> None:
    config = transformers.SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=VISION)
    theirs = randomise(transformers.SiglipModel(config))
    theirs.save_pretrained(tmp_path)
    vocabulary = write_words(tmp_path, {"<pad>": 0, "</s>": 1}, {}, 50)
    checkpoint = vitrail.load(tmp_path)
    pixels = torch.stack([checkpoint.preprocess.normalise(checkpoint.preprocess.fit(each)) for each in pictures()])
    rows = [[*(vocabulary[word] for word in name.split()), *[1] * 12][:12] for name in CLASSES]
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor(rows), pixel_values=pixels).logits_per_image.sigmoid()
    found = vitrail.predict(checkpoint, pictures(), classes=CLASSES, templates=("{}",), **FAST)
    for one, row in zip(found, expected.tolist(), strict=True):
        assert dict(one.classes) == pytest.approx(dict(zip(CLASSES, row, strict=True)), rel=1e-4)


def test_several_templates_are_averaged_as_in_open_clip(tmp_path: Path) -> None:
    vision = open_clip.CLIPVisionCfg(layers=2, width=32, head_width=8, mlp_ratio=3.0, patch_size=16, image_size=48)
    theirs = randomise(open_clip.CLIP(20, vision, OPEN_TEXT))
    vocabulary = write_words(tmp_path, {"!": 0}, {"<|startoftext|>": 48, "<|endoftext|>": 49}, 50)
    model = loaded(CLIPConfig(**OURS, joint_dim=20, activation="gelu"), theirs)
    checkpoint = vitrail.Checkpoint(
        model, (), vitrail.Preprocess(image_size=(48, 48)), tokenizer=(tmp_path / "tokenizer.json").read_text()
    )
    templates = ("{}", "a photo of {}.", "the {}")
    with torch.no_grad():
        expected = open_clip.build_zero_shot_classifier(
            theirs,
            lambda texts: clip_ids(vocabulary, texts),
            CLASSES,
            [lambda name, template=template: template.replace("{}", name) for template in templates],
        ).t()
    found = class_vectors(TextEncoder(model, tokenizer_of(checkpoint)), CLASSES, templates)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("classes", "templates", "message"),
    [
        (("a cat",), (), "are not two or more texts"),
        ("a cat", (), "are not two or more texts"),
        (("a cat", "a cat"), (), "the class 'a cat' is given twice"),
        (("a cat", " "), (), "one of the classes is empty"),
        (CLASSES, ("a photo",), r"the template 'a photo' has no \{\}"),
    ],
)
def test_classes_that_cannot_be_chosen_from(
    clip: Any, tmp_path: Path, classes: Any, templates: tuple[str, ...], message: str
) -> None:
    checkpoint = vitrail.load(tmp_path)
    with pytest.raises(VitrailError, match=message):
        zero_shot_predictor(checkpoint, classes, templates, **FAST)


def test_class_folders_are_evaluated_by_their_names(clip: Any, tmp_path: Path) -> None:
    theirs, vocabulary = clip
    images = pictures()
    for name, image in zip(("a_cat", "fox", "the dog"), images, strict=True):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / name / "0.png")
    checkpoint = vitrail.load(tmp_path)
    found = vitrail.evaluate(checkpoint, tmp_path / "photos", zero_shot=True, templates=("{}",), **FAST)
    ids = clip_ids(vocabulary, ["a cat", "fox", "the dog"])
    pixels = torch.stack([checkpoint.preprocess(image) for image in images])
    with torch.no_grad():
        scores = theirs(input_ids=ids, pixel_values=pixels, attention_mask=ids.ne(0).long()).logits_per_image
    assert found.quality == pytest.approx((scores.argmax(1) == torch.arange(3)).double().mean().item())
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(scores, torch.arange(3)).item(), abs=1e-4)


def test_what_is_missing_is_said(clip: Any, tmp_path: Path) -> None:
    checkpoint = vitrail.load(tmp_path)
    with pytest.raises(VitrailError, match="compares images with texts: name the classes"):
        vitrail.predict(checkpoint, pictures())
    with pytest.raises(VitrailError, match="templates are for classes"):
        vitrail.predict(checkpoint, pictures(), templates=("{}",))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(VitrailError, match="the checkpoint has no tokenizer"):
        vitrail.predict(vitrail.load(tmp_path), pictures(), classes=CLASSES)
    with pytest.raises(VitrailError, match="templates are for zero-shot evaluation"):
        vitrail.evaluate(checkpoint, tmp_path, templates=("{}",))
    classifier = vitrail.create_model("compact_tiny_8")
    other = vitrail.Checkpoint(classifier, (), vitrail.Preprocess(image_size=(8, 8)))
    with pytest.raises(VitrailError, match="this checkpoint is for classification, with "):
        vitrail.predict(other, pictures(), classes=CLASSES)


def test_templates_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a photo of {}.\n\n  the {}  \n", encoding="utf-8")
    assert read_templates(file) == ("a photo of {}.", "the {}")
    for content, message in ((b"", "has no template"), (b"a photo\n", r"has no \{\}"), (b"\xff{}", "not UTF-8")):
        file.write_bytes(content)
        with pytest.raises(VitrailError, match=message):
            read_templates(file)
    with pytest.raises(VitrailError, match=r"none\.txt cannot be read: No such file"):
        read_templates(tmp_path / "none.txt")
