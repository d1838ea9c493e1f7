"""Targets follow the augmentation of their image, to the pixel: shapes are drawn and found again by their colour."""

import pytest
import torch

from vitrail.data.annotations import IGNORED
from vitrail.data.augment_options import Augment
from vitrail.data.joint import BoxTarget, JointView, MapTarget, Window, placed
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError

RED, GREEN = (250, 0, 0), (0, 250, 0)
SQUARES = {RED: (8, 12, 40, 36), GREEN: (50, 30, 90, 60)}
"""Colour -> left, top, right, bottom in an image of 96 × 64 pixels."""


def drawn():
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    classes = torch.zeros(64, 96, dtype=torch.int16)
    depth = torch.full((64, 96), torch.nan)
    for number, (colour, (left, top, right, bottom)) in enumerate(SQUARES.items(), start=1):
        image[:, top:bottom, left:right] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
        classes[top:bottom, left:right] = number
        depth[top:bottom, left:right] = number
    boxes = torch.tensor(list(SQUARES.values())) / torch.tensor([96, 64, 96, 64])
    target = BoxTarget(boxes, torch.tensor([1, 2]), torch.tensor([False, True]))
    return image, {"boxes": target, "classes": MapTarget(classes), "depth": MapTarget(depth), "class": torch.eye(3)[1]}


def seen(image, colour):
    """Where a colour is, (H, W); pixels at an edge, which are mixed, count from half."""
    channel = 0 if colour == RED else 1
    return image[channel].float() > 125


def extent(mask):
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize(
    "augment",
    [
        None,
        Augment(crop="none", flip=1.0),
        Augment(crop="shift", shift=0.2, flip=0.5),
        Augment(crop="resized", crop_scale=(0.5, 1.0), flip=0.5),
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (128, 128)])
def test_boxes_and_maps_follow_the_image(augment, size):
    preprocess = Preprocess(image_size=size, crop=1.0, stretch=True, interpolation="bilinear")
    view = JointView(augment, preprocess)
    checked = 0
    for seed in range(20):
        torch.manual_seed(seed)
        image, target = view(*drawn())
        assert tuple(image.shape) == (3, *size)
        assert torch.equal(target["class"], torch.eye(3)[1])
        boxes = target["boxes"]
        for box, label, crowd in zip(boxes.boxes, boxes.labels.tolist(), boxes.crowd.tolist(), strict=True):
            mask = seen(image, RED if label == 1 else GREEN)
            pixels = box * torch.tensor([size[1], size[0]] * 2)
            assert (pixels - extent(mask)).abs().max() <= 1.01, (seed, label)
            assert crowd == (label == 2)
            checked += 1
        for label, colour in ((1, RED), (2, GREEN)):
            mask, classes, depth = seen(image, colour), target["classes"].values, target["depth"].values
            # At an edge that a resize moved, a pixel is of both.
            allowed = 0.02 * mask.numel() if tuple(size) != (64, 96) or (augment and augment.crop == "resized") else 0
            assert ((classes == label) != mask).sum() <= allowed, (seed, label)
            assert ((depth == label) != mask).sum() <= allowed, (seed, label)
    assert checked >= 20


def test_a_shift_fills_what_is_outside():
    _, target = drawn()
    window = Window(left=-0.25, top=0.0, right=0.75, bottom=1.0)
    moved = placed(target, window, (64, 96))
    assert (moved["classes"].values[:, :24] == IGNORED).all()
    assert moved["depth"].values[:, :24].isnan().all()
    assert torch.equal(moved["classes"].values[:, 24:], target["classes"].values[:, :72])


def test_boxes_of_which_little_is_left_are_left_out():
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.4, 0.0, 0.5, 1.0]])
    target = BoxTarget(boxes, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))
    kept = placed(target, Window(left=0.4, right=1.0), (10, 10))
    assert kept.labels.tolist() == [1]
    torch.testing.assert_close(kept.boxes, torch.tensor([[0.0, 0.0, 1 / 6, 1.0]]))
    empty = BoxTarget(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))
    assert placed(empty, Window(mirrored=True), (10, 10)).boxes.shape == (0, 4)


def test_a_map_of_another_resolution_is_read_at_the_centres_of_the_pixels():
    values = torch.arange(12).reshape(3, 4)
    doubled = placed(MapTarget(values), Window(), (6, 8)).values
    assert torch.equal(doubled, values.repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(placed(MapTarget(doubled), Window(mirrored=True), (3, 4)).values, values.flip(1))


def test_colours_leave_targets_alone():
    preprocess = Preprocess(image_size=(64, 96), crop=1.0, stretch=True)
    torch.manual_seed(0)
    image, target = JointView(Augment(crop="none", flip=0.0, color_jitter=0.5), preprocess)(*drawn())
    assert not torch.equal(image, drawn()[0])
    assert torch.equal(target["classes"].values, drawn()[1]["classes"].values)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (Augment(crop="simple"), "use resized, shift or none"),
        (Augment(flip_mode="alternate"), "use random"),
        (Augment(randaugment=2), "set it to 0"),
    ],
)
def test_steps_that_targets_cannot_follow_are_refused(augment, words):
    with pytest.raises(VitrailError, match=words):
        JointView(augment, Preprocess())
