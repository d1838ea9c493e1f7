"""The Predictor: images of every kind give the predictions of the same image as a file."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import vitrail
from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint
from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.decode import decode
from vitrail.data.in_memory import image_tensor
from vitrail.data.preprocess import Preprocess
from vitrail.engines.predictor import Predictor, batched, even_batches, first_rows, make_predictor, output_names, stack
from vitrail.engines.tta import TTA
from vitrail.errors import VitrailError
from vitrail.tasks.classification import Classification
from vitrail.tasks.regression import Regression


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def test_pillow_arrays_and_tensors_are_predicted_as_the_file(image):
    predictor = make_predictor(tiny_checkpoint(), device="cpu", precision="float32", batch_size=2)
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    tensor = torch.from_numpy(image).movedim(2, 0)
    same = [decode(file.getvalue(), 3), Image.fromarray(image), image, tensor, tensor / 255, image.astype(float) / 255]
    found = predictor(same)
    for place, prediction in enumerate(found):
        # Rows of a product may differ in their last digit; floats are not rounded to bytes when they are resized.
        most = 1e-6 if place < 4 else 1e-3
        assert dict(prediction.classes) == pytest.approx(dict(found[0].classes), abs=most)
    assert len(predictor(same, top_k=1)[0].classes) == 1
    assert predictor([]) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pillow_image_of_any_mode_is_what_its_file_is(image, mode, channels):
    if mode == "I;16":
        made = Image.fromarray(image[:, :, 0].astype(np.uint16) * 257)
    else:
        made = Image.fromarray(image).convert(mode)
    file = BytesIO()
    made.save(file, "TIFF")
    reread = Image.open(BytesIO(file.getvalue()))
    assert torch.equal(image_tensor(reread, channels), decode(file.getvalue(), channels))
    assert torch.equal(image_tensor(made, channels), decode(file.getvalue(), channels))


def test_integers_are_scaled_by_their_largest_value():
    wide = np.array([[0, 32767], [65535, 1]], dtype=np.uint16)
    found = image_tensor(wide, 1)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0].numpy(), wide / 65535, rtol=1e-6)
    assert torch.equal(image_tensor(np.array([[True, False]]), 1), torch.tensor([[[255, 0]]], dtype=torch.uint8))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("photo.jpg", "a str, but a Pillow image, an array or a tensor is needed"),
        (torch.zeros(2, 3, 8, 8), r"a tensor of shape \(2, 3, 8, 8\), but \(C, H, W\)"),
        (torch.zeros(3, 0, 8), r"no pixels: its shape is \(3, 0, 8\)"),
        (np.zeros((8,)), r"an array of shape \(8,\)"),
        (torch.full((3, 8, 8), torch.nan), "not finite"),
        (torch.zeros(5, 8, 8), "5 channels, but 3 are needed"),
        (torch.zeros(3, 8, 8, dtype=torch.complex64), "complex64"),
    ],
)
def test_what_is_no_image_is_a_sentence(given, words):
    with pytest.raises(VitrailError, match=words):
        make_predictor(tiny_checkpoint())([given])


def test_bytes_and_floats_together_keep_their_scales():
    byte, real = torch.full((3, 2, 2), 51, dtype=torch.uint8), torch.full((3, 2, 2), 0.2)
    assert stack([byte, byte]).dtype == torch.uint8
    torch.testing.assert_close(stack([byte, real]), torch.full((2, 3, 2, 2), 0.2))


def test_batches_after_the_largest_are_filled_with_their_last_image():
    images = torch.arange(5.0)[:, None, None, None].expand(5, 1, 1, 1)
    found = [(batch.flatten().tolist(), count) for batch, count in even_batches(batched(images, 2))]
    assert found == [([0, 1], 2), ([2, 3], 2), ([4, 4], 1)]
    assert [len(batch) for batch, _ in even_batches(batched(images[:1], 32))] == [1]  # one image costs one image


def test_rows_of_a_pytree():
    output = {"a": torch.arange(4), "b": (torch.zeros(4, 2),)}
    cut = first_rows(output, 3)
    assert cut["a"].tolist() == [0, 1, 2]
    assert cut["b"][0].shape == (3, 2)


def test_outputs_without_names_are_numbers():
    checkpoint = tiny_checkpoint()
    assert output_names(checkpoint) == CLASSES
    checkpoint.class_names = ()
    assert output_names(checkpoint) == ("0", "1", "2")


def test_top_k_below_one_is_a_sentence(image):
    with pytest.raises(VitrailError, match="top_k 0 is not possible"):
        make_predictor(tiny_checkpoint())([image], top_k=0)


@pytest.mark.parametrize("labels", ["one", "many"])
def test_test_time_flips_take_the_mean_of_probabilities(labels):
    task = Classification(labels=labels)
    model = vitrail.create_model("compact_tiny_8", depth=1, num_classes=3, task=task.spec)
    checkpoint = Checkpoint(model, ("a", "b", "c"), Preprocess(image_size=(8, 8)))
    plain, flipped = make_predictor(checkpoint, device="cpu"), make_predictor(checkpoint, device="cpu", tta="flip")
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    (one,), (other,) = list(plain.outputs([images])), list(plain.outputs([images.flip(-1)]))
    (merged,) = list(flipped.outputs([images]))
    wanted = (task.probabilities(one) + task.probabilities(other)) / 2
    torch.testing.assert_close(task.probabilities(merged), wanted)
    cold = Classification(labels=labels, temperature=(0.5, 2.0, 1.5) if labels == "many" else (0.7,))
    torch.testing.assert_close(cold.merged([one, other]), merged)  # calibration comes after the mean
    (back,) = list(flipped.outputs([images.flip(-1)]))
    torch.testing.assert_close(back, merged)


def test_test_time_flips_take_the_mean_of_other_outputs():
    task = Regression(mean=(1.0,), scale=(2.0,))
    torch.testing.assert_close(task.merged([torch.tensor([[1.0]]), torch.tensor([[4.0]])]), torch.tensor([[2.5]]))


def test_another_test_time_augmentation_is_an_error():
    with pytest.raises(VitrailError, match="use none, flip, crops"):
        Predictor(lambda pixels: pixels, Preprocess(), Classification(), ("a",), tta="many")


def test_shifted_views_are_windows_of_the_mirrored_image():
    pixels = torch.rand(2, 3, 64, 32)
    views = TTA["crops"](pixels)
    padded = np.pad(pixels.numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect")
    expected = [pixels.numpy(), padded[..., :64, :32], padded[..., 2:, 2:]]
    assert len(views) == 6
    for place, view in enumerate(expected):
        assert np.array_equal(views[2 * place], view)
        assert np.array_equal(views[2 * place + 1], view[..., ::-1])
