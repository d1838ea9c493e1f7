"""Pictures in, PNGs and one page out, through the public functions."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from vitrail.data.decode import BadImage
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.explain import explain_images, file_stem, named_images
from vitrail.lens.explanation import explain_image, last_layer_map
from vitrail.lens.observe import observe
from vitrail.models.registry import create_model


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return create_model("vit_tiny_patch16_224", image_size=32, depth=2, num_classes=4, embed_dim=24).eval()


PREPROCESS = Preprocess(image_size=(32, 32), crop=0.8)
NAMES = ('<b>"cat" & dog</b>', "猫", "$x$", "</script><script>alert(1)")


class Reader(HTMLParser):
    """Tags, text and balance of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input", "rect", "path", "line", "circle", "polyline", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_maps_lie_over_the_cropped_picture(vit: nn.Module) -> None:
    image = torch.randint(0, 256, (3, 50, 90), dtype=torch.uint8)
    explanation = explain_image(vit, PREPROCESS, NAMES, "a.png", image, top_k=9)
    assert torch.equal(explanation.picture, PREPROCESS.fit(image))
    pixels = PREPROCESS(image)[None]
    with observe(vit) as seen, torch.no_grad():
        probabilities = vit(pixels).softmax(-1)[0]
    torch.testing.assert_close(explanation.maps[1], seen[1][0, :, 0, 1:].reshape(3, 2, 2))
    assert [name for name, _ in explanation.predictions] == [NAMES[i] for i in probabilities.argsort(descending=True)]
    assert sum(value for _, value in explanation.predictions) == pytest.approx(1, abs=1e-5)
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
    explanation = explain_image(model, preprocess, NAMES, "x", torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8))
    assert explanation.maps[-1].shape == last
    if not explanation.prefix:
        # Windows of 7 do not fill a grid of 16: what goes to the filling is on no map.
        assert all((heads.sum((1, 2)) <= 1 + 1e-5).all() for heads in explanation.maps)


def test_patches_of_several_sizes_lie_on_their_cells() -> None:
    model = create_model("adaptive_vit_tiny_patch16_224", image_size=64, patch_size=4, depth=2, num_classes=4).eval()
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :20, :20] = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    preprocess = Preprocess(image_size=(64, 64), crop=1.0)
    explanation = explain_image(model, preprocess, NAMES, "x", image)
    with observe(model) as seen, torch.no_grad():
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
    explanation = explain_image(vit, PREPROCESS, (), "a", image, task="multi")
    with torch.no_grad():
        expected = vit(PREPROCESS(image)[None])[0].sigmoid().max().item()
    assert explanation.predictions[0][1] == pytest.approx(expected, abs=1e-5)
    assert explanation.predictions[0][0].startswith("class ")


def test_a_png_for_each_and_one_page_for_all(vit: nn.Module, tmp_path: Path) -> None:
    images = [(name, torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)) for name in ("x/a.png", "y/A.jpg")]
    broken = ("dir/<i>broken</i>.png", BadImage("broken.png", "truncated & empty"))
    said: list[str] = []
    paths = explain_images(vit, PREPROCESS, NAMES, [*images, broken], tmp_path / "new" / "out", say=said.append)
    assert [path.name for path in paths] == ["a.png", "A-2.png", "explain.html"]
    assert said == ["left out dir/<i>broken</i>.png: truncated & empty"]
    for path in paths[:2]:
        with Image.open(path) as picture:
            assert min(picture.size) > 500
    page = read(paths[-1])
    tags = [tag for tag, _ in page.tags]
    assert tags.count("section") == 3
    assert "b" not in tags
    assert '<b>"cat" & dog</b>' in page.text
    assert "dir/<i>broken</i>.png: truncated & empty" in page.text
    assert all(attrs.get("alt") is not None for tag, attrs in page.tags if tag == "img")
    for _, attrs in page.tags:
        for key in ("src", "href"):
            assert (attrs.get(key) or "data:").startswith("data:")
    assert not re.search(r"https?://", paths[-1].read_text(encoding="utf-8"))


def test_the_page_states_the_brightest_pane(vit: nn.Module, tmp_path: Path) -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    page = explain_images(vit, PREPROCESS, NAMES, [("a", image)], tmp_path)[-1].read_text(encoding="utf-8")
    peaks = json.loads(re.search(r'type="application/json">(.*?)</script>', page).group(1))
    maps = explain_image(vit, PREPROCESS, NAMES, "a", image).maps
    assert [len(layer) for layer in peaks] == [4, 4]
    top, row, column = peaks[1][3]
    assert top == pytest.approx(maps[1][2].max().item(), abs=1e-5)
    assert maps[1][2][row - 1, column - 1] == maps[1][2].max()


def test_grey_and_many_channels_and_no_prefix(tmp_path: Path) -> None:
    for channels in (1, 5):
        model = create_model(
            "simple_vit_tiny_patch16_224", in_channels=channels, image_size=(32, 48), depth=2, num_classes=2
        ).eval()
        preprocess = Preprocess(image_size=(32, 48), mean=(0.5,) * channels, std=(0.5,) * channels, channels=channels)
        paths = explain_images(model, preprocess, (), [("a", torch.rand(channels, 40, 40))], tmp_path, top_k=1)
        assert "Attention each patch receives" in read(paths[-1]).text


def test_nothing_readable_is_an_error(vit: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match=r"a\.png: empty"):
        explain_images(vit, PREPROCESS, NAMES, [("a.png", BadImage("a.png", "empty"))], tmp_path)
    with pytest.raises(VitrailError, match="none was given"):
        explain_images(vit, PREPROCESS, NAMES, [], tmp_path)


def test_named_images_reads_files_and_names_the_bad(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_bytes(b"not a picture")
    images, total = named_images([str(tmp_path), str(tmp_path / "1.png")], 3)
    found = list(images)
    assert total == len(found) == 5
    assert sum(isinstance(image, BadImage) for _, image in found) == 1
    assert [image.shape for _, image in found if isinstance(image, torch.Tensor)] == [(3, 10, 20)] * 4
    assert named_images([str(tmp_path)], 1, limit=2)[1] == 2


def test_file_stems_are_safe_and_distinct() -> None:
    taken: set[str] = set()
    names = ["a/b.jpg", "c/B.png", "shard.tar/b", "x/ü ß.png", 'w/a:b*c?"<>|.png', "...", "", "b-2"]
    assert [file_stem(name, taken) for name in names] == [
        "b", "B-2", "b-3", "ü ß", "a_b_c", "picture", "picture-2", "b-2-2"
    ]  # fmt: skip
    assert len(file_stem("𠀋" * 300, taken).encode()) <= 255
