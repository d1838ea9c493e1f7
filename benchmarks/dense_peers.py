"""torchvision's FCOS (ResNet-18, FPN) and LR-ASPP (MobileNetV3) from scratch, on the images of a source of vitrail.

    python benchmarks/dense_peers.py fcos scenes --minutes 30
    python benchmarks/dense_peers.py lraspp scenes --minutes 20

They are trained as one would by hand: AdamW with a one-cycle rate that ends with the time, random flips, bfloat16
where it is fast, images kept in memory. The result is on the test split, by the metrics of vitrail, which are those of
pycocotools and torchmetrics. Beside it: `vitrail train SOURCE --task detection --minutes 30`, in the same minutes.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import vitrail
from vitrail.data.joint import BoxTarget, MapTarget, Window, placed
from vitrail.data.open import open_source, read_image
from vitrail.data.resize import resize
from vitrail.data.samples import Sample, Source
from vitrail.machine.devices import has_fast_bfloat16
from vitrail.tasks.average_precision import average_precision
from vitrail.tasks.detected_objects import DetectedObjects
from vitrail.tasks.detection import true_objects
from vitrail.tasks.registry import resolve
from vitrail.tasks.segmentation_metrics import SegmentationMetrics

TASKS = {"fcos": "detection", "lraspp": "segmentation"}
MIRRORED = Window(mirrored=True)


class Images:
    """Images of one split at one size, and their targets, in memory."""

    def __init__(self, source: Source, split: str, size: tuple[int, int]) -> None:
        self.samples: list[Sample] = [sample for sample in source.samples if sample.split == split]
        self.images = torch.stack(
            [read_image(s, 3, then=lambda image: resize(image, size, "bicubic")) for s in self.samples]
        )
        reader = resolve(source.task).target_reader(self.samples, source.class_names)
        self.targets = [placed(reader(index), Window(), size) for index in range(len(self.samples))]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, list[BoxTarget | MapTarget]]:
        """Pixels (B, 3, H, W) from 0 to 1 and targets, half of them mirrored."""
        images, targets = [], []
        for index in indices:
            image, target = self.images[index], self.targets[index]
            if torch.rand(()) < 0.5:
                image, target = image.flip(-1), placed(target, MIRRORED, tuple(image.shape[-2:]))
            images.append(image)
            targets.append(target)
        return torch.stack(images) / 255, targets


def fcos(classes: int, size: int) -> FCOS:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return FCOS(backbone, classes, min_size=size, max_size=size)


def detector_loss(model: FCOS, pixels: Tensor, targets: Sequence[BoxTarget]) -> Tensor:
    side = pixels.shape[-1]
    rows = [{"boxes": target.boxes * side, "labels": target.labels} for target in targets]
    return torch.stack(list(model(list(pixels), rows).values())).sum()


def segmenter_loss(model: nn.Module, pixels: Tensor, targets: Sequence[MapTarget]) -> Tensor:
    found = model(pixels)["out"].float()
    return F.cross_entropy(found, torch.stack([target.values.long() for target in targets]), ignore_index=255)


def train(model: nn.Module, loss: Callable[..., Tensor], data: Images, given: argparse.Namespace) -> int:
    """Train until the time is over, and return the number of steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr, weight_decay=0.05)
    model.train()
    started, steps, order = time.monotonic(), 0, list[int]()
    while (done := (time.monotonic() - started) / (60 * given.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = given.lr * (done / 0.1 if done < 0.1 else (1 - done) / 0.9)
        if len(order) < given.batch_size:
            order = torch.randperm(len(data.samples)).tolist()
        pixels, targets = data.batch([order.pop() for _ in range(given.batch_size)])
        with torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16):
            value = loss(model, pixels, targets)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 50 == 0:
            print(f"step {steps}, {100 * done:.0f} % of the time, loss {float(value):.3f}", flush=True)
    return steps


@torch.no_grad()
def score_detector(model: FCOS, data: Images, names: Sequence[str]) -> str:
    model.eval()
    side, found = data.images.shape[-1], []
    for image in data.images:
        row: dict[str, Any] = model([image / 255])[0]
        boxes = (row["boxes"] / side).clamp(0, 1)
        found.append(DetectedObjects(row["scores"], row["labels"], boxes))
    precision, margin = average_precision(found, [true_objects(sample) for sample in data.samples], len(names))
    return f"AP {precision.ap:.3f} ± {margin or 0:.3f}, AP50 {precision.ap50:.3f}, AP75 {precision.ap75:.3f}"


@torch.no_grad()
def score_segmenter(model: nn.Module, data: Images, names: Sequence[str]) -> str:
    model.eval()
    metrics = SegmentationMetrics(tuple(names))
    for index, image in enumerate(data.images):
        metrics.update(model(image[None] / 255)["out"], [data.targets[index]])
    found = metrics.compute()
    return f"mean IoU {100 * found.mean_iou:.1f} %, pixel accuracy {100 * found.pixel_accuracy:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=list(TASKS))
    parser.add_argument("source")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.bfloat16 = has_fast_bfloat16(torch.device("cpu"))
    torch.manual_seed(given.seed)
    source = open_source(given.source, task=vitrail.TaskSpec(TASKS[given.peer]))
    size = (given.image_size, given.image_size)
    training, test = Images(source, "train", size), Images(source, "test", size)
    names = source.class_names
    model = (
        fcos(len(names), given.image_size)
        if given.peer == "fcos"
        else lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=len(names))
    )
    loss = detector_loss if given.peer == "fcos" else segmenter_loss
    steps = train(model, loss, training, given)
    score = (score_detector if given.peer == "fcos" else score_segmenter)(model, test, names)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{given.peer}: {steps} steps of {given.batch_size}, {parameters / 1e6:.1f} M parameters; {score}")


if __name__ == "__main__":
    main()
