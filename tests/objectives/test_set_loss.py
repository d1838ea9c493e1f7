"""DETR's loss against that of transformers."""

import pytest
import torch
from torch.utils._pytree import tree_leaves
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from vitrail.models.universal import UniversalViTConfig
from vitrail.nn import Detections, corners
from vitrail.objectives.set_loss import CLASS_COST, EDGE_COST, OVERLAP_COST, match, set_loss

SIZES = [  # queries, classes, objects of each image
    (10, 5, (3, 0, 6)),
    (10, 5, (0, 0)),
    (1, 1, (1, 0)),
    (4, 1, (2, 4)),
    (2, 3, (5, 1)),  # more objects than queries
]


def drawn(queries, classes, counts, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def boxes(*shape):
        return torch.cat([torch.rand(*shape, 2, generator=rng), 0.05 + 0.5 * torch.rand(*shape, 2, generator=rng)], -1)

    logits = 3 * torch.randn(len(counts), queries, classes + 1, generator=rng).double()
    output = Detections(logits.requires_grad_(), boxes(len(counts), queries).double().requires_grad_())
    labels = torch.full((len(counts), max(*counts, 1)), -1)
    for row, count in zip(labels, counts, strict=True):
        row[:count] = torch.randint(classes, (count,), generator=rng)
    return output, boxes(*labels.shape).double(), labels


def theirs(output, boxes, labels):
    matcher = HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    criterion = ImageLoss(matcher, output.logits.shape[2] - 1, 0.1, ["labels", "boxes"]).double()
    criterion.empty_weight[-1] = 0.1  # which it has as float32
    there = labels >= 0
    targets = [
        {"class_labels": kinds[mask], "boxes": found[mask]}
        for kinds, found, mask in zip(labels, boxes, there, strict=True)
    ]
    losses = criterion({"logits": output.logits, "pred_boxes": output.boxes}, targets)
    return losses["loss_ce"], losses["loss_bbox"], losses["loss_giou"]


@pytest.mark.parametrize(("queries", "classes", "counts"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_equal_those_of_transformers(queries, classes, counts, seed):
    output, boxes, labels = drawn(queries, classes, counts, seed)
    ours, reference = set_loss(output, corners(boxes), labels), theirs(output, boxes, labels)
    torch.testing.assert_close(tuple(ours), reference, rtol=0, atol=1e-9)
    inputs = (output.logits, output.boxes)
    weighted = CLASS_COST * reference[0] + EDGE_COST * reference[1] + OVERLAP_COST * reference[2]
    got = torch.autograd.grad(ours.total, inputs)
    torch.testing.assert_close(got, torch.autograd.grad(weighted, inputs), rtol=0, atol=1e-9)


def test_padding_between_objects_and_its_boxes_have_no_effect():
    output, boxes, labels = drawn(10, 5, (3, 0, 6))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    spread, moved = labels[:, order], boxes[:, order].clone()
    moved[spread < 0] = 7.0
    torch.testing.assert_close(
        tuple(set_loss(output, corners(moved), spread)), tuple(set_loss(output, corners(boxes), labels))
    )


def test_outputs_that_are_not_finite_are_matched_last():
    output, boxes, labels = drawn(5, 3, (3,))
    broken = Detections(output.logits.detach().clone(), output.boxes.detach())
    broken.logits[0, :2] = float("nan")
    _, query, _ = match(broken, corners(boxes), labels)
    assert query.tolist() == [2, 3, 4]


def test_every_decoder_block_is_trained():
    torch.manual_seed(0)
    config = UniversalViTConfig(
        tasks=("detection",), object_classes=2, image_size=32, patch_size=8, embed_dim=32, num_heads=2, depth=1,
        decoder_depth=3, num_queries=5,
    )  # fmt: skip
    model = config.build()
    pixels, labels = torch.randn(2, 3, 32, 32), torch.tensor([[0, 1], [1, -1]])
    boxes = torch.tensor([[[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.3, 0.2]], [[0.5, 0.5, 0.4, 0.4], [0.0, 0.0, 0.0, 0.0]]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        blocks = model.head.forward_blocks(model.forward_features(pixels))
        optimizer.zero_grad()
        sum(set_loss(block, corners(boxes), labels).total for block in blocks).backward()
        optimizer.step()
    with torch.no_grad():
        blocks = model.head.forward_blocks(model.forward_features(pixels))
        last = model(pixels)
    assert len(blocks) == 3
    for found, expected in zip(tree_leaves(blocks[-1]), tree_leaves(last), strict=True):
        torch.testing.assert_close(found, expected)
    for block in blocks:
        image, query, chosen = match(block, corners(boxes), labels)
        assert block.logits[image, query].argmax(1).equal(labels[image, chosen])
        assert (block.boxes[image, query] - boxes[image, chosen]).abs().max() < 0.1
