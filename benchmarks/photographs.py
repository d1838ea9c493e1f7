"""Photographs from scratch: `vitrail train SOURCE --minutes M` beside torchvision's ResNet-18, on the same split.

    python benchmarks/photographs.py caltech101-66 --minutes 2 --seeds 0 1 2
    python benchmarks/photographs.py caltech101-66 --minutes 2 --seeds 0 1 2 --classes 10

The ResNet-18 gets random resized crops, flips, label smoothing, AdamW with a one-cycle rate that ends with the time,
images at 160 px in memory, and bfloat16 where it is fast. Half of the images are held out. The last line is the
difference of the accuracies of all seeds on the same images, with its 95 % interval.
"""

import argparse
import csv
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import v2

import vitrail
from vitrail.data.open import open_source, read_image
from vitrail.data.resize import resize
from vitrail.data.samples import Sample
from vitrail.machine.allocator import keep_freed_memory
from vitrail.machine.devices import has_fast_bfloat16

SIDE, KEPT_SIDE = 128, 160
AUGMENT = v2.Compose(
    [v2.RandomResizedCrop(SIDE, scale=(0.25, 1), antialias=True), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32)]
)


def ours(folder: Path, minutes: float, seed: int, out: Path) -> None:
    """Train by the command line, from random weights."""
    command = [sys.executable, "-m", "vitrail", "train", str(folder), "--minutes", str(minutes), "--seed", str(seed)]
    subprocess.run([*command, "--set", "test=0.5", "-o", str(out)], check=True, stdout=subprocess.DEVNULL)


def split_of(run: Path, folder: Path) -> dict[str, list[Sample]]:
    """The images of the run's splits; its validation images are the ResNet-18's to train on, as it chooses nothing."""
    with (run / "splits.csv").open() as file:
        split = {row["name"]: row["split"] for row in csv.DictReader(file)}
    samples = [sample for sample in open_source(folder).samples if sample.name in split]
    return {
        "train": [sample for sample in samples if split[sample.name] != "test"],
        "test": [sample for sample in samples if split[sample.name] == "test"],
    }


def images(samples: list[Sample]) -> Tensor:
    return torch.stack(
        [read_image(s, 3, then=lambda image: resize(image, (KEPT_SIDE, KEPT_SIDE), "bilinear")) for s in samples]
    )


def resnet(training: Tensor, labels: Tensor, classes: int, given: argparse.Namespace, started: float) -> nn.Module:
    model = models.resnet18(num_classes=classes).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps, order = 0, list[int]()
    while (part := (time.monotonic() - started) / (60 * given.minutes)) < 1:
        for group in optimizer.param_groups:
            rise = part / 0.25
            group["lr"] = given.lr * (rise if rise < 1 else (1 + math.cos(math.pi * (part - 0.25) / 0.75)) / 2)
        if len(order) < given.batch_size:
            order = torch.randperm(len(training)).tolist()
        chosen = [order.pop() for _ in range(given.batch_size)]
        pixels = torch.stack([AUGMENT(training[index]) for index in chosen]) / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16):
            logits = model(pixels.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    print(f"ResNet-18: {steps} steps of {given.batch_size}, {steps * given.batch_size / len(training):.1f} epochs")
    return model.eval()


@torch.inference_mode()
def right_of_resnet(model: nn.Module, samples: list[Sample], truth: list[str], names: list[str]) -> Tensor:
    """Whether each image is right."""
    parts = v2.functional.resize(images(samples), [SIDE, SIDE], antialias=True).split(64)
    found = torch.cat([model(part / 127.5 - 1) for part in parts]).argmax(1)
    return torch.tensor([names[index] == label for index, label in zip(found.tolist(), truth, strict=True)])


def right_of_ours(run: Path, folder: Path, samples: list[Sample], truth: list[str]) -> Tensor:
    """Whether each image is right."""
    found: list[Any] = list(vitrail.predict(run, [folder / sample.name for sample in samples]))
    return torch.tensor([row.classes[0][0] == label for row, label in zip(found, truth, strict=True)])


def compared(folder: Path, given: argparse.Namespace, seed: int) -> Tensor:
    """1, 0 or -1 for each test image: right by ours alone, by both or none, by the ResNet-18 alone."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        ours(folder, given.minutes, seed, run)
        split = split_of(run, folder)
        started = time.monotonic()
        names = sorted({Path(sample.name).parts[0] for sample in split["train"]})
        labels = torch.tensor([names.index(Path(sample.name).parts[0]) for sample in split["train"]])
        model = resnet(images(split["train"]), labels, len(names), given, started)
        truth = [Path(sample.name).parts[0] for sample in split["test"]]
        mine = right_of_ours(run, folder, split["test"], truth)
        other = right_of_resnet(model, split["test"], truth, names)
    shares = [f"{100 * right.float().mean():.1f} %" for right in (mine, other)]
    print(f"seed {seed}: vitrail {shares[0]}, ResNet-18 {shares[1]}, {len(truth)} images", flush=True)
    return mine.float() - other.float()


def first_classes(folder: Path, count: int, place: Path) -> Path:
    """A folder of links to the first classes."""
    for path in sorted(path for path in folder.iterdir() if path.is_dir())[:count]:
        (place / path.name).symlink_to(path)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder with a folder for each class")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--classes", type=int, help="use the first classes only")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    given = parser.parse_args()
    given.bfloat16 = has_fast_bfloat16(torch.device("cpu"))
    keep_freed_memory()  # for the ResNet-18, too
    with tempfile.TemporaryDirectory() as place:
        folder = first_classes(given.folder.resolve(), given.classes, Path(place)) if given.classes else given.folder
        pooled = torch.cat([compared(folder, given, seed) for seed in given.seeds])
    margin = 1.96 * pooled.std() / len(pooled) ** 0.5
    print(f"vitrail − ResNet-18: {100 * pooled.mean():+.1f} ± {100 * margin:.1f} points, {len(pooled)} images")


if __name__ == "__main__":
    main()
