"""The preprocessing of other libraries' configurations, against what these libraries do to an image."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.transforms.v2.functional import pil_to_tensor

from vitrail.checkpoint.card import Card
from vitrail.checkpoint.foreign_config import read_card
from vitrail.checkpoint.preprocessor import preprocess_fields
from vitrail.checkpoint.timm_card import timm_card
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError


def photo(height: int = 60, width: int = 90) -> Image.Image:
    """A smooth image, on which different resizes differ by their geometry and not by rounding."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    waves = [(6 * x + k).sin() * (5 * y - k).cos() for k in range(3)]
    image = ((torch.stack(waves, dim=-1) + 1) * 127).round().to(torch.uint8)
    return Image.fromarray(image.numpy())


def pixels(card: Card) -> torch.Tensor:
    return Preprocess(**{"image_size": (32, 32), **card.preprocess})(photo())


SMALL = {"height": 32, "width": 32}
CROPPED = {"size": {"height": 40, "width": 40}, "crop_size": SMALL}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("ViT", {"size": SMALL}),
    ("ViT", {"size": SMALL, "do_normalize": False}),
    ("ViT", {"size": SMALL, "rescale_factor": 1 / 127.5}),
    ("ViT", {"size": SMALL, "do_rescale": False, "image_mean": [128.0, 127.0, 126.0], "image_std": [60.0, 61.0, 62.0]}),
    ("ViT", {"size": SMALL, "do_rescale": False, "do_normalize": False}),
    ("ViT", {"size": {"height": 24, "width": 48}, "resample": 3}),
    ("DeiT", CROPPED),
    ("DeiT", {"size": SMALL, "do_center_crop": False}),
    ("Beit", {**CROPPED, "do_center_crop": True}),
    ("CLIP", {"size": {"shortest_edge": 40}, "crop_size": SMALL}),
    ("Siglip", {"size": SMALL}),
    ("ConvNext", {"size": {"shortest_edge": 32}}),
    ("Levit", {"size": {"shortest_edge": 32}, "crop_size": SMALL}),
    ("Segformer", {"size": SMALL}),
    ("DPT", {"size": SMALL}),
    ("Pvt", {"size": SMALL}),
]


@pytest.mark.parametrize(("kind", "values"), CHANGES, ids=str)
def test_pixels_are_those_of_transformers(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    processor = getattr(transformers, f"{kind}ImageProcessor")(**values)
    processor.save_pretrained(tmp_path)
    fields, notes = preprocess_fields(json.loads((tmp_path / "preprocessor_config.json").read_text()))
    expected = processor(photo(), return_tensors="pt")["pixel_values"][0]
    got = Preprocess(**fields)(photo())
    assert got.shape == expected.shape
    # Both round the resized image to whole numbers: a few of them fall to the other side.
    step = 255 if not processor.do_rescale else 1.0
    scale = max(processor.image_std) if processor.do_normalize else 1.0
    assert (got - expected).abs().mean() < 0.004 * step / scale * 2
    assert not notes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"do_color_quantize": True}, "do_color_quantize"),
        ({"resample": 1}, "resample=1 .Lanczos."),
        ({"size": {"height": 40, "width": 60}, "crop_size": SMALL, "do_center_crop": True}, "same share"),
    ],
)
def test_steps_that_cannot_be_followed_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(VitrailError, match=message):
        preprocess_fields({"size": SMALL, **values})


def test_a_processor_that_does_not_resize_is_noted() -> None:
    fields, notes = preprocess_fields({"do_resize": False, "image_mean": [0.1] * 3, "image_std": [0.2] * 3})
    assert "leaves to the user" in notes[0]
    assert fields["mean"] == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("crop", [0.8, 1.0])
def test_pixels_are_those_of_timm(mode: str, crop: float) -> None:
    pretrained = {
        "input_size": (3, 32, 32),
        "crop_pct": crop,
        "crop_mode": mode,
        "interpolation": "bicubic",
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
    }
    expected = create_transform(**resolve_data_config(pretrained_cfg=pretrained, model=None))(photo())
    got = pixels(timm_card({"architecture": "vit_tiny_patch16_224", "pretrained_cfg": pretrained}))
    assert (got - expected).abs().mean() < 0.02
    assert Preprocess.from_dict(Preprocess(stretch=True).to_dict()).stretch


@pytest.mark.parametrize("values", [{"crop_mode": "border"}, {"interpolation": "lanczos"}], ids=str)
def test_preprocessing_of_timm_that_cannot_be_followed_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(VitrailError, match=next(iter(values.values()))):
        timm_card({"architecture": "vit_tiny_patch16_224", "pretrained_cfg": values})


def test_every_squashed_model_of_timm_that_we_have_is_squashed() -> None:
    for name in timm.list_pretrained("convnext*384"):
        values = timm.get_pretrained_cfg(name).to_dict()
        if values["architecture"] == "convnext_large_mlp":
            continue
        card = timm_card({"architecture": values["architecture"], "pretrained_cfg": values})
        assert card.preprocess.get("stretch", False) == (values["crop_mode"] == "squash")


@pytest.mark.parametrize(
    ("problem", "labels"), [("multi_label_classification", "many"), ("single_label_classification", None), (None, None)]
)
@pytest.mark.parametrize("kind", ["ViT", "Swin", "ConvNext"])
def test_a_multi_label_problem_is_a_multi_label_task(
    problem: str | None, labels: str | None, kind: str, tmp_path: Path
) -> None:
    getattr(transformers, f"{kind}Config")(problem_type=problem).save_pretrained(tmp_path)
    task = read_card(tmp_path).facts.get("task")
    assert (dict(task.options)["labels"] if task else None) == labels


def test_an_image_stays_as_it_is_if_it_fits() -> None:
    image = pil_to_tensor(photo(32, 32))
    assert torch.equal(Preprocess(image_size=(32, 32), crop=1.0, stretch=True).fit(image), image)
