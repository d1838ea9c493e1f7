"""How fast training batches are read from JPEGs, beside torchvision's and timm's loaders and what ViT-Ti consumes.

    python benchmarks/loader.py FOLDER_OF_JPEGS [--rounds 3] [--images 256] [--workers 0 2]

FOLDER has a folder for each class. All crop at random (0.35 to 1 of the area), resize to 224 px and flip, in batches of
32. Each round reads the same images once with each loader, in turn; vitrail also a second time, from memory. The last
row is the training step of ViT-Ti/16 at 224 px, float32, without reading.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from timm.data import create_loader
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from train_step import train_step

import vitrail
from vitrail.data.augment_options import Augment
from vitrail.training.recipe import Recipe
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.training_data import Reading, read_data

SIDE, BATCH, SCALE = 224, 32, (0.35, 1.0)


def chosen_images(folder: Path, count: int, out: Path) -> Path:
    """A folder with links to `count` of the images, spread over all classes."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
    for file in files[:: max(1, len(files) // count)][:count]:
        place = out / file.parent.name
        place.mkdir(exist_ok=True)
        (place / file.name).symlink_to(file.resolve())
    return out


def ours(folder: Path, workers: int) -> Callable[[], Iterator[Any]]:
    augment = Augment(crop="resized", crop_scale=SCALE, flip=0.5)
    recipe = Recipe(
        model="vit_tiny_patch16_224", image_size=SIDE, batch_size=BATCH, augment=augment, steps=1, workers=workers
    )
    data = read_data(folder, Reading(val=0.01, test=0.01))
    setup = resolve(replace(recipe, device="cpu"), data, OwnParts())
    loader = setup.train_loader()
    return lambda: islice(loader.batches(), len(loader))


def torchvisions(folder: Path, workers: int) -> Callable[[], Iterator[Any]]:
    steps = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=SCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    loader = DataLoader(ImageFolder(folder, steps), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    return lambda: iter(loader)


def timms(folder: Path, workers: int) -> Callable[[], Iterator[Any]]:
    loader = create_loader(
        ImageFolder(folder),
        (3, SIDE, SIDE),
        BATCH,
        is_training=True,
        scale=SCALE,
        color_jitter=None,
        auto_augment=None,
        interpolation="bilinear",
        use_prefetcher=False,
        num_workers=workers,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    return lambda: iter(loader)


def images_a_second(batches: Iterator[Any]) -> float:
    start, count = time.perf_counter(), 0
    for batch in batches:
        pixels = batch.pixels if hasattr(batch, "pixels") else batch[0]
        count += len(pixels)
    return count / (time.perf_counter() - start)


def step_speed() -> float:
    model = vitrail.create_model("vit_tiny_patch16_224", num_classes=10)
    step = train_step(model, torch.randn(BATCH, 3, SIDE, SIDE), torch.randint(10, (BATCH,)), torch.float32)
    step()
    start = time.perf_counter()
    step()
    return BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    options = parser.parse_args()
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = chosen_images(options.folder, options.images, Path(place))
        for _ in range(options.rounds):
            for workers in options.workers:
                for name, build in (("vitrail", ours), ("torchvision", torchvisions), ("timm", timms)):
                    loader = build(folder, workers)
                    title = f"{name}, {workers} workers"
                    speeds.setdefault(title, []).append(images_a_second(loader()))
                    if name == "vitrail" and not workers:
                        speeds.setdefault(f"{title}, from memory", []).append(images_a_second(loader()))
            speeds.setdefault("training step of ViT-Ti", []).append(step_speed())
    used = statistics.median(speeds["training step of ViT-Ti"])
    for title, found in speeds.items():
        middle = statistics.median(found)
        print(
            f"{title:36}{middle:8.1f} images/s ({min(found):.0f} to {max(found):.0f}), {middle / used:.1f} x the step"
        )


if __name__ == "__main__":
    main()
