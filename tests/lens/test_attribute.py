"""`attribute` and `visualize_attention` in one call, against the same by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.attribute import attribute
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.draw import LEAD, visualize_attention_weights
from vitrail.lens.observe import observe_attention
from vitrail.lens.visualize import visualize_attention
from vitrail.models.registry import create_model
from vitrail.pages.image import colours

PREPROCESS = Preprocess(image_size=(32, 32), crop=0.8)
ARRAY = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2}
    model = create_model("vit_tiny_patch16_224", num_classes=3, **sizes).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return Checkpoint(model, ("cat", "dog", "fox"), PREPROCESS, {})


def test_a_checkpoint_takes_files_images_arrays_and_tensors(checkpoint: Checkpoint, tmp_path: Path) -> None:
    image = torch.from_numpy(ARRAY).permute(2, 0, 1)
    pixels = PREPROCESS(image)[None]
    expected = METHODS["generic"](checkpoint.model, pixels)
    Image.fromarray(ARRAY).save(tmp_path / "a.png")
    save(checkpoint, tmp_path / "model")
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(ARRAY), ARRAY, image, image[None]):
        torch.testing.assert_close(attribute(checkpoint, given, device="cpu"), expected)
    torch.testing.assert_close(attribute(tmp_path / "model", ARRAY, device="cpu"), expected)
    torch.testing.assert_close(attribute(checkpoint.model, pixels), expected)


def test_targets_by_number_name_image_and_vector(checkpoint: Checkpoint) -> None:
    pixels = PREPROCESS(torch.from_numpy(ARRAY).permute(2, 0, 1))[None]
    lrp, model = METHODS["lrp"], checkpoint.model
    dog = lrp(model, pixels, torch.tensor([1]))
    for target in ("dog", 1, ["dog"], [1], torch.tensor([1])):
        torch.testing.assert_close(attribute(checkpoint, ARRAY, method="lrp", target=target, device="cpu"), dog)
    both = attribute(checkpoint, [ARRAY, ARRAY], method="lrp", target=["fox", "dog"], device="cpu")
    torch.testing.assert_close(both[1], dog[0])
    torch.testing.assert_close(both[0], lrp(model, pixels, torch.tensor([2]))[0])
    against = attribute(checkpoint, ARRAY, method="lrp", target=torch.tensor([[0.0, 1.0, -1.0]]), device="cpu")
    torch.testing.assert_close(against, dog - lrp(model, pixels, torch.tensor([2])), rtol=1e-4, atol=1e-5)


def test_mistakes_are_sentences(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no")
    wrong = [
        (lambda: attribute(checkpoint, ARRAY, method="genric"), "did you mean generic"),
        (lambda: attribute(checkpoint, ARRAY, target="dgo"), "did you mean dog"),
        (lambda: attribute(checkpoint.model, ARRAY), "a bare model takes normalised pixels"),
        (lambda: attribute(checkpoint.model, torch.zeros(1, 3, 32, 32), target="dog"), "class names are unknown"),
        (lambda: attribute(checkpoint, tmp_path / "bad.png"), "bad.png"),
        (lambda: attribute(checkpoint, []), "there is no image"),
        (lambda: visualize_attention(checkpoint, [ARRAY, ARRAY]), "2 images: give one"),  # type: ignore[arg-type]
        (lambda: visualize_attention(checkpoint, ARRAY, layer=7), "no layer 7"),
    ]
    for call, message in wrong:
        with pytest.raises(VitrailError, match=message):
            call()


def test_every_head_has_its_place_in_the_drawing(checkpoint: Checkpoint) -> None:
    image = torch.from_numpy(ARRAY).permute(2, 0, 1)
    with observe_attention(checkpoint.model) as seen, torch.no_grad():
        checkpoint.model(PREPROCESS(image)[None])
    drawn = visualize_attention_weights(PREPROCESS.fit(image), seen, side=64, gap=3, alpha=1.0)
    assert drawn.shape == (3, 2 * 64 + 3, 2 * 64 + 3)
    for layer in range(2):
        for head in range(2):
            values = seen[layer][0, head, 0, 1:].reshape(4, 4)
            tile = drawn[:, layer * 67 :, head * 67 :][:, 8:64:16, 8:64:16]
            assert torch.equal(tile, colours(values))
    assert (drawn[:, 64:67] == LEAD).all()
    one = visualize_attention(checkpoint, ARRAY, layer=1, side=64, device="cpu")
    assert one.shape == (3, 64, 2 * 64 + 4)
    assert visualize_attention(checkpoint, ARRAY, layer=None, side=64, device="cpu").shape == (3, 132, 132)


def test_a_chosen_row_is_drawn(checkpoint: Checkpoint) -> None:
    pixels = PREPROCESS(torch.from_numpy(ARRAY).permute(2, 0, 1))[None]
    with observe_attention(checkpoint.model, layers=1, rows=[6]) as seen, torch.no_grad():
        checkpoint.model(pixels)
    drawn = visualize_attention_weights(torch.zeros(3, 32, 32), seen, side=64, gap=0, alpha=1.0)
    assert torch.equal(drawn[:, 8:64:16, 8:64:16], colours(seen[1][0, 0, 0, 1:].reshape(4, 4)))


def test_the_model_stays_in_its_mode(checkpoint: Checkpoint) -> None:
    model = checkpoint.model.train()
    model.encoder.eval()
    visualize_attention(model, torch.zeros(3, 32, 32))
    assert model.training
    assert not model.encoder.training
