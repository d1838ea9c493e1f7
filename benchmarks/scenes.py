"""Images whose object is known to the pixel: cut-outs pasted on backgrounds, with the mask of each.

    python benchmarks/scenes.py CUTOUTS OUT [--classes 12] [--train 300] [--test 40] [--side 96] [--seed 0]

CUTOUTS is a folder of RGBA images, such as emoji. Some, drawn by seed, are objects: one in each scene, turned and
scaled. The rest stand around them. OUT/images/{train,test}/CLASS/N.png is what `vitrail train` reads;
OUT/masks holds the object of each under the same name, white on black, for `vitrail study attribution --masks`.
A scene is a function of (seed, split, class, number).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.data.seeds import derive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--train", type=int, default=300, help="scenes of a class")
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--others", type=int, default=2, help="things that are not the object")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = sorted(options.cutouts.glob("*.png"))
    order = np.random.default_rng(derive(options.seed, "classes")).permutation(len(files))
    full = [files[place] for place in order if coverage(files[place]) > 0.4]
    objects = full[: options.classes]
    others = [file for file in files if file not in objects]
    for split in ("train", "test"):
        for file in objects:
            for number in range(getattr(options, split)):
                rng = np.random.default_rng(derive(options.seed, split, file.stem, number))
                made, mask = scene(file, others, rng, options.side, options.others)
                for kind, image in (("images", made), ("masks", mask)):
                    path = options.out / kind / split / file.stem / f"{number:04d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image.save(path)


def coverage(file: Path) -> float:
    """The part of its square that a cut-out fills; thin ones have no centre to point at."""
    return float((np.asarray(Image.open(file).convert("RGBA").getchannel("A")) > 127).mean())


def scene(
    file: Path, others: list[Path], rng: np.random.Generator, side: int, count: int
) -> tuple[Image.Image, Image.Image]:
    """An image and the mask of its object, which stands in front of all else."""
    canvas = background(rng, side)
    for index in rng.integers(len(others), size=count):
        paste(canvas, others[index], rng, part=rng.uniform(0.2, 0.3))
    mask = paste(canvas, file, rng, part=rng.uniform(0.3, 0.5))
    return canvas, mask


def background(rng: np.random.Generator, side: int) -> Image.Image:
    """Soft clouds of colour, with noise."""
    clouds = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    noisy = np.asarray(clouds, dtype=np.float32) + rng.normal(0, 12, (side, side, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def paste(canvas: Image.Image, file: Path, rng: np.random.Generator, part: float) -> Image.Image:
    """Lay a cut-out somewhere on an image; returns a mask of where it covers it."""
    size = round(part * canvas.width)
    cutout = Image.open(file).convert("RGBA").resize((size, size), Image.LANCZOS)
    cutout = cutout.rotate(rng.uniform(-25, 25), Image.BICUBIC)
    place = tuple(int(edge) for edge in rng.integers(0, canvas.width - size, size=2))
    canvas.paste(cutout, place, cutout)
    mask = Image.new("L", canvas.size)
    mask.paste(cutout.getchannel("A").point(lambda alpha: 255 * (alpha > 127)), place)
    return mask


if __name__ == "__main__":
    main()
