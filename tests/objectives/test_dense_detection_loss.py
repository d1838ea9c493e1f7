"""The dense detector's assignment and losses against loops in float64, and boxes against torchvision."""

import math

import pytest
import torch
from torchvision.ops import box_convert, box_iou, generalized_box_iou, generalized_box_iou_loss

from vitrail.nn import DenseDetections, centres, corners, overlaps
from vitrail.objectives.assignment import task_aligned
from vitrail.objectives.dense_detection_loss import dense_detection_loss


def drawn(images, objects, classes, seed=0):
    """Outputs on a grid of 6 × 6 and one of 3 × 3, with boxes around their points, and objects of all sizes."""
    rng = torch.Generator().manual_seed(seed)
    grids = [torch.cartesian_prod(*2 * [(torch.arange(side) + 0.5) / side]).flip(1) for side in (6, 3)]
    points = torch.cat(grids).double().expand(images, -1, -1)
    reach = torch.rand(images, points.shape[1], 4, generator=rng).double() * 0.3 + 0.01
    boxes = centres(torch.cat([points - reach[..., :2], points + reach[..., 2:]], -1)).requires_grad_()
    logits = torch.randn(images, points.shape[1], classes, generator=rng).double().requires_grad_()
    start = 0.7 * torch.rand(images, objects, 2, generator=rng).double()
    sides = 0.01 + 0.5 * torch.rand(images, objects, 2, generator=rng).double() ** 2
    labels = torch.randint(-1, classes, (images, objects), generator=rng)
    return DenseDetections(logits, boxes, points), torch.cat([start, start + sides], -1), labels


def iou_and_giou(a, b):
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return both / union, both / union - (hull - union) / hull


def assigned(probabilities, boxes, points, truth, labels, most=10):
    """(object, weight) of each point of one image, object by object and point by point."""
    wanted = {}  # point -> {object: (IoU, score)}
    for number, (label, box) in enumerate(zip(labels, truth, strict=True)):
        if label < 0:
            continue
        inside = [q for q, (x, y) in enumerate(points) if box[0] < x < box[2] and box[1] < y < box[3]]
        if not inside:
            middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            inside = [min(range(len(points)), key=lambda q: math.dist(points[q], middle))]
        ious = {q: iou_and_giou(box, boxes[q])[0] for q in inside}
        scores = {q: probabilities[q][label] ** 0.5 * max(ious[q], 0.01) ** 6 for q in inside}
        for q in sorted(inside, key=lambda q: -scores[q])[:most]:
            wanted.setdefault(q, {})[number] = (ious[q], scores[q])
    taken = {q: max(found.items(), key=lambda item: item[1][0]) for q, found in wanted.items()}
    result = [(-1, 0.0)] * len(points)
    for q, (number, (_, score)) in taken.items():
        own = [values for other, values in taken.values() if other == number]
        best = max(max(value[0] for value in own), 0.1)
        result[q] = (number, score / max(value[1] for value in own) * best)
    return result


CASES = [(3, 4, 5, 0), (2, 7, 1, 1), (2, 12, 3, 2), (1, 1, 2, 3)]


@pytest.mark.parametrize(("images", "objects", "classes", "seed"), CASES)
def test_assignment_and_losses_equal_a_loop(images, objects, classes, seed):
    output, boxes, labels = drawn(images, objects, classes, seed)
    found, truth = corners(output.boxes), boxes
    got = task_aligned(output.logits.sigmoid(), found, output.points, truth, labels)
    cross, overlap, edges, total = 0.0, 0.0, 0.0, 0.0
    for b in range(images):
        rows = (output.logits[b].sigmoid(), found[b], output.points[b], truth[b], labels[b])
        expected = assigned(*(part.tolist() for part in rows))
        assert got.objects[b].tolist() == [number for number, _ in expected]
        assert got.weights[b].tolist() == pytest.approx([weight for _, weight in expected], abs=1e-12)
        for q, (number, weight) in enumerate(expected):
            for k in range(classes):
                probability = 1 / (1 + math.exp(-output.logits[b, q, k].item()))
                target = weight if number >= 0 and labels[b, number] == k else 0.0
                cross -= target * math.log(probability) + (1 - target) * math.log(1 - probability)
            if number >= 0:
                pair = found[b, q].tolist(), truth[b, number].tolist()
                overlap += weight * (1 - iou_and_giou(*pair)[1])
                edges += weight * sum(abs(x - y) for x, y in zip(*pair, strict=True))
                total += weight
    losses = dense_detection_loss(output, boxes, labels)
    assert [value.item() for value in losses] == pytest.approx(
        [value / max(total, 1.0) for value in (cross, overlap, edges)], abs=1e-9
    )


def test_every_object_has_a_point_even_one_between_them():
    """An object smaller than a cell, at its corner, that no box overlaps: the nearest point learns it."""
    output, _, _ = drawn(1, 1, 2)
    far = DenseDetections(output.logits, torch.full_like(output.boxes, 0.01), output.points)
    boxes = torch.tensor([[[1 / 3 - 0.001, 1 / 3 - 0.001, 1 / 3 + 0.003, 1 / 3 + 0.003]]]).double()
    found = task_aligned(far.logits.sigmoid(), corners(far.boxes), far.points, boxes, torch.tensor([[1]]))
    assert (found.objects >= 0).sum() == 1
    assert found.weights.max().item() == pytest.approx(0.1)
    point = far.points[0, found.objects[0].argmax()]
    assert (point - 1 / 3).abs().max().item() == pytest.approx(0.5 / 6)


def test_no_objects_leave_the_classes_of_the_background():
    output, boxes, _ = drawn(2, 3, 2)
    losses = dense_detection_loss(output, boxes, torch.full((2, 3), -1))
    expected = torch.nn.functional.softplus(output.logits).sum()
    torch.testing.assert_close(losses.classes, expected)
    assert (losses.overlap.item(), losses.edges.item()) == (0, 0)
    empty = dense_detection_loss(output, boxes[:, :0], torch.zeros(2, 0, dtype=torch.long))
    torch.testing.assert_close(empty.classes, expected)
    sum(empty).backward()
    assert output.logits.grad.isfinite().all()


def test_overlaps_and_conversions_equal_torchvision():
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.rand(20, 4, generator=rng).double() + 0.01 for _ in range(2))
    a, b = corners(first).requires_grad_(), corners(second)
    torch.testing.assert_close(a, box_convert(first, "cxcywh", "xyxy"))
    torch.testing.assert_close(centres(a), first)
    iou, giou = overlaps(a[:, None], b[None])
    torch.testing.assert_close(iou, box_iou(a, b))
    torch.testing.assert_close(giou, generalized_box_iou(a, b))
    loss = 1 - overlaps(a, b)[1]
    expected = generalized_box_iou_loss(a, b)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    ours, theirs = torch.autograd.grad(loss.sum(), a)[0], torch.autograd.grad(expected.sum(), a)[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    point = torch.zeros(1, 4)
    assert [value.item() for value in overlaps(point, point)] == [0, 0]
