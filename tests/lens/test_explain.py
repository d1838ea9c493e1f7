"""Images in, PNGs and one page out, through the public functions."""

import itertools
import json
import re
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.decode import BadImage, unchanged
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.attention_maps import last_layer_map
from vitrail.lens.explain import explain
from vitrail.lens.explanation import explain_image
from vitrail.lens.explore import explore
from vitrail.lens.explorer.data import look
from vitrail.lens.explorer.gallery import fitted
from vitrail.lens.images import decoded, file_stem, named_images
from vitrail.lens.observe import observe_attention
from vitrail.lens.sheet import _percent, write_sheet
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model
from vitrail.tasks.classification import Classification

from .attribution.test_methods import install


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return create_model("vit_tiny_patch16_224", image_size=32, depth=2, num_classes=4, embed_dim=24).eval()


PREPROCESS = Preprocess(image_size=(32, 32), crop=0.8)
NAMES = ('<b>"cat" & dog</b>', "猫", "$x$", "</script><script>alert(1)")


def test_maps_lie_over_the_cropped_picture(vit: nn.Module) -> None:
    image = torch.randint(0, 256, (3, 50, 90), dtype=torch.uint8)
    explanation = explain_image(Watched("m", vit, PREPROCESS, NAMES), "a.png", image, top_k=9)
    assert torch.equal(explanation.image, PREPROCESS.fit(image))
    pixels = PREPROCESS(image)[None]
    with observe_attention(vit) as seen, torch.no_grad():
        probabilities = vit(pixels).softmax(-1)[0]
    torch.testing.assert_close(explanation.maps[1], seen[1][0, :, 0, 1:].reshape(3, 2, 2))
    assert [found.name for found in explanation.predictions] == [
        NAMES[i] for i in probabilities.argsort(descending=True)
    ]
    assert sum(found.probability for found in explanation.predictions) == pytest.approx(1, abs=1e-5)
    assert explanation.flow is not None
    torch.testing.assert_close(last_layer_map(vit, pixels)[0], explanation.maps[1].mean(0))


@pytest.mark.parametrize(
    ("name", "fields", "last"),
    [
        ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": (2, 1), "num_heads": (1, 2)}, (2, 8, 8)),
        ("pvt_tiny_224", {}, (8, 2, 2)),
        ("cait_xxs24_224", {"depth": 1, "embed_dim": 24, "num_heads": 2}, (2, 4, 4)),
    ],
)
def test_windows_and_pyramids_are_drawn_too(name: str, fields: dict, last: tuple[int, ...]) -> None:
    model = create_model(name, image_size=64, num_classes=4, **fields).eval()
    preprocess = Preprocess(image_size=(64, 64), crop=1.0)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    explanation = explain_image(Watched("m", model, preprocess, NAMES), "x", image)
    assert explanation.maps[-1].shape == last
    if "class token" not in explanation.what:
        # Windows of 7 do not fill a grid of 16: what goes to the filling is on no map.
        assert all((heads.sum((1, 2)) <= 1 + 1e-5).all() for heads in explanation.maps)


def test_patches_of_several_sizes_lie_on_their_cells() -> None:
    model = create_model("adaptive_vit_tiny_patch16_224", image_size=64, patch_size=4, depth=2, num_classes=4).eval()
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :20, :20] = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    preprocess = Preprocess(image_size=(64, 64), crop=1.0)
    explanation = explain_image(Watched("m", model, preprocess, NAMES), "x", image)
    with observe_attention(model) as seen, torch.no_grad():
        (cover,) = model.embed(preprocess(image)[None]).cover
        model(preprocess(image)[None])
    expected = torch.zeros(3, 16, 16)
    for row, column in itertools.product(range(16), range(16)):
        patch = cover[row, column]
        expected[:, row, column] = seen[-1][0, :, 0, 1 + patch] / (cover == patch).sum()
    assert cover.max() + 1 < 256
    torch.testing.assert_close(explanation.maps[-1], expected)
    assert explanation.flow is not None
    assert explanation.flow.shape == (16, 16)


def test_multi_label_probabilities_are_independent(vit: nn.Module) -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    explanation = explain_image(Watched("m", vit, PREPROCESS, task=Classification(labels="many")), "a", image)
    with torch.no_grad():
        expected = vit(PREPROCESS(image)[None])[0].sigmoid().max().item()
    assert explanation.predictions[0].probability == pytest.approx(expected, abs=1e-5)
    assert explanation.predictions[0].name.startswith("class ")


def checkpoint(model: nn.Module, **info: str) -> Checkpoint:
    return Checkpoint(model, NAMES, PREPROCESS, dict(info))


def test_a_png_for_each_and_one_page_for_all(vit: nn.Module, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for name in ("x/a.png", "y/A.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(noise).save(tmp_path / name)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    given = [tmp_path / "x/a.png", str(tmp_path / "y/A.png"), broken, Image.fromarray(noise)]
    said: list[str] = []
    paths = explain(checkpoint(vit), given, tmp_path / "new" / "out", methods=["rollout"], say=said.append)
    assert [path.name for path in paths] == ["a.png", "A-2.png", "image 1.png", "explain.html"]
    assert any(sentence.startswith("left out") and "broken.png" in sentence for sentence in said)
    for path in paths[:3]:
        with Image.open(path) as drawn:
            assert min(drawn.size) > 500
    page = paths[-1].read_text(encoding="utf-8")
    outline = json.loads(re.search(r'<script id="outline" type="application/json">(.*?)</script>', page).group(1))
    assert len(outline["images"]) == 3
    assert outline["images"][2] == "image 1"
    assert outline["methods"] == [["rollout", "Rollout", False]]
    assert [name for name, _ in outline["unreadable"]] == [str(broken)]
    assert "</script><script>alert(1)" not in page
    assert not re.search(r'(src|href)="https?://', page)


def test_a_page_alone_and_the_probabilities_on_it(vit: nn.Module, tmp_path: Path) -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    (page,) = explain(checkpoint(vit), image, tmp_path / "seen.html", methods=["rollout"], against=checkpoint(vit))
    text = page.read_text(encoding="utf-8")
    views = [json.loads(found) for found in re.findall(r'id="view-\d" type="application/json">(.*?)</script>', text)]
    with torch.no_grad():
        expected = vit(PREPROCESS(image)[None]).softmax(-1)[0]
    assert len(views) == 2
    for view in views:
        for prediction in view["predictions"]:
            assert prediction["probability"] == pytest.approx(expected[prediction["index"]].item(), abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["seen.html"]


def test_images_beyond_the_room_of_the_page_have_a_png(
    vit: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrail.lens.explain.MOST_VIEWS", 2)
    images = [torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8) for _ in range(3)]
    said: list[str] = []
    paths = explain(checkpoint(vit), images, tmp_path, methods=["rollout"], say=said.append)
    assert len(paths) == 4
    assert "the page holds the first 2 of 3 images: vitrail explore opens them all" in said
    assert 'id="view-1"' in paths[-1].read_text(encoding="utf-8")
    assert 'id="view-2"' not in paths[-1].read_text(encoding="utf-8")


def test_a_method_of_another_package_is_drawn(vit: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    (page,) = explain(checkpoint(vit), image, tmp_path / "seen.html", methods=["brightness"])
    text = page.read_text(encoding="utf-8")
    (found,) = json.loads(re.search(r'id="relevance-0" type="application/json">(.*?)</script>', text).group(1))
    assert (found["method"], found["problem"], found["maps"][0]["grid"]) == ("brightness", "", [32, 32])


def test_a_model_without_classes_is_drawn_without_probabilities(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", image_size=32, patch_size=8, depth=2, num_classes=0, embed_dim=24)
    paths = explain(Checkpoint(model.eval(), (), PREPROCESS, {}), torch.rand(3, 40, 40), tmp_path, methods=["lrp"])
    text = paths[-1].read_text(encoding="utf-8")
    assert '"predictions":[]' in text
    assert '"output":"embedding"' in text
    assert '"features":"data:image/png' in text
    assert paths[0].stat().st_size > 10_000


def test_grey_and_many_channels_and_no_prefix(tmp_path: Path) -> None:
    for channels in (1, 5):
        model = create_model(
            "simple_vit_tiny_patch16_224", in_channels=channels, image_size=(32, 48), depth=2, num_classes=2
        ).eval()
        preprocess = Preprocess(image_size=(32, 48), mean=(0.5,) * channels, std=(0.5,) * channels, channels=channels)
        explanation = explain_image(Watched("m", model, preprocess), "a", torch.rand(channels, 40, 40), top_k=1)
        assert explanation.what == "Attention that each patch receives"
        assert [heads.sum((1, 2)).mean().item() for heads in explanation.maps] == pytest.approx([1, 1], abs=1e-5)
        write_sheet(explanation, tmp_path / "a.png")


def test_nothing_readable_is_an_error(vit: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(VitrailError, match=r"a\.png: empty"):
        explain(checkpoint(vit), tmp_path / "a.png", tmp_path / "out")
    with pytest.raises(VitrailError, match="no image was named"):
        explain(checkpoint(vit), [], tmp_path / "out")


def test_images_in_memory_are_what_files_are(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    for mode in ("RGB", "RGBA", "L", "P", "CMYK", "F", "1"):
        pil = Image.fromarray(array).convert(mode)
        path = tmp_path / ("a.tif" if mode in ("F", "CMYK") else "a.png")
        pil.save(path)
        assert torch.equal(decoded(pil, 3), decoded(path, 3)), mode
    assert torch.equal(decoded(array, 3), torch.from_numpy(array).permute(2, 0, 1))
    assert torch.equal(decoded(torch.full((1, 4, 4), 0.5), 3), torch.full((3, 4, 4), 0.5))
    with pytest.raises(BadImage, match="2 channels, but 3 are needed"):
        decoded(torch.zeros(2, 4, 4), 3)


def test_named_images_reads_files_and_names_the_bad(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_bytes(b"not a picture")
    images, total = named_images([str(tmp_path), str(tmp_path / "1.png")], 3, then=unchanged)
    found = list(images)
    assert total == len(found) == 5
    assert sum(isinstance(image, BadImage) for _, image in found) == 1
    assert [image.shape for _, image in found if isinstance(image, torch.Tensor)] == [(3, 10, 20)] * 4
    assert named_images([str(tmp_path)], 1, limit=2, then=unchanged)[1] == 2


def test_file_stems_are_safe_and_distinct() -> None:
    taken: set[str] = set()
    names = ["a/b.jpg", "c/B.png", "shard.tar/b", "x/ü ß.png", 'w/a:b*c?"<>|.png', "...", "", "b-2"]
    assert [file_stem(name, taken) for name in names] == [
        "b", "B-2", "b-3", "ü ß", "a_b_c", "image", "image-2", "b-2-2"
    ]  # fmt: skip
    assert len(file_stem("𠀋" * 300, taken).encode()) <= 255


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0.0%"), (0.00043, "0.043%"), (0.0034, "0.34%"), (0.0099, "0.99%"), (0.00997, "1.0%"), (0.25, "25.0%")],
)
def test_weights_below_one_percent_keep_two_digits(value: float, words: str) -> None:
    assert _percent(value) == words


def test_no_more_than_one_image_is_in_memory_at_its_full_size(
    vit: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[weakref.ref[torch.Tensor]] = []
    kept: list[torch.Tensor] = []

    def spied(watched: Sequence[Watched], image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert all(reference() is None for reference in full)
        full.append(weakref.ref(image))
        kept.extend(found := fitted(watched, image))
        return found

    for number in range(4):
        Image.new("L", (64, 48), number).save(tmp_path / f"{number}.png")
    monkeypatch.setattr("vitrail.lens.explorer.open.fitted", spied)
    explain(checkpoint(vit), [tmp_path, torch.zeros(3, 70, 90)], tmp_path / "out", methods=["rollout"], limit=3)
    with explore(checkpoint(vit), tmp_path, limit=3):
        pass
    assert len(full) == 3 + 1 + 3
    side = PREPROCESS.image_size[0]
    assert {image.untyped_storage().nbytes() // image.element_size() for image in kept} == {3 * side * side}


def test_an_image_is_resized_for_each_model_and_drawn_as_from_its_file(vit: nn.Module, tmp_path: Path) -> None:
    """The oracle is `look` at the whole image."""
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 50, 70), dtype=np.uint8))
    cropped = replace(PREPROCESS, crop=1.0)
    models = [Watched("a", vit, PREPROCESS, NAMES), Watched("b", vit, cropped, NAMES), Watched("c", vit, cropped)]
    shown = fitted(models, image)
    assert shown[1] is shown[2]
    assert not torch.equal(shown[0], shown[1])
    for subject, own in zip(models, shown, strict=True):
        assert torch.equal(subject.of_fitted.pixels(own), subject.pixels(image))
        assert look(subject.of_fitted, own).predictions == look(subject, image).predictions
