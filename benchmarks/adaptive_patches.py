"""What patches that follow the content save at equal accuracy: an adaptive ViT beside a plain one.

    python benchmarks/adaptive_patches.py FOLDER [--epochs 10] [--seeds 0 1] [--threshold 0.1] [--levels 3]

Both are trained by the same recipe on the same split, from the same seeds. Then tokens and operations of a test picture
are counted, and inference and training steps are timed in turn, in one process. Quote the ratios: absolute times drift.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.io import decode_image

import vitrail
from vitrail import Checkpoint
from vitrail.planning.flops import FlopCount
from vitrail.training.recipe import Recipe

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a folder of images that vitrail can train on")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=4)
    parser.add_argument("--embed-dim", type=int, default=96)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    shape = {"patch_size": options.patch_size, "embed_dim": options.embed_dim, "depth": options.depth, "num_heads": 3}
    adaptive = {**shape, "levels": options.levels, "threshold": options.threshold}
    kinds = {"plain": ("vit_tiny_patch16_224", shape), "adaptive": ("adaptive_vit_tiny_patch16_224", adaptive)}
    runs = {
        kind: [train(options, model, overrides, seed) for seed in options.seeds]
        for kind, (model, overrides) in kinds.items()
    }
    for kind, results in runs.items():
        scores = [100 * result[0] for result in results]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        print(f"{kind:10} test top-1 {statistics.mean(scores):.2f} ± {spread:.2f} % (seeds {options.seeds})")
    compare({kind: results[0][1] for kind, results in runs.items()}, options)


def train(options: argparse.Namespace, model: str, overrides: dict, seed: int) -> tuple[float, Checkpoint]:
    recipe = Recipe(
        model=model,
        overrides=overrides,
        image_size=options.image_size,
        start_size=1.0,
        epochs=options.epochs,
        seed=seed,
        workers=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = vitrail.train(options.source, recipe, out=Path(folder) / "run")
        return run.metrics["test_top1"], run.checkpoint


def compare(checkpoints: dict[str, Checkpoint], options: argparse.Namespace) -> None:
    pixels, labels = some_images(options.source, checkpoints["plain"]), torch.randint(2, (BATCH,))
    models = {kind: checkpoint.model for kind, checkpoint in checkpoints.items()}
    print(f"{'':10} {'tokens':>7} {'MFLOPs':>8}")
    for kind, model in models.items():
        with torch.no_grad(), FlopCount() as counted:
            tokens = model.forward_features(pixels)
        print(f"{kind:10} {tokens.x.shape[:2].numel() / BATCH:7.1f} {counted.total / BATCH / 1e6:8.1f}")
    for what, step in (("inference", infer), ("training step", learn)):
        works = {kind: step(model, pixels, labels) for kind, model in models.items()}
        times: dict[str, list[float]] = {kind: [] for kind in works}
        for done in range(options.rounds + 2):
            for kind, work in works.items():
                start = time.perf_counter()
                work()
                if done >= 2:
                    times[kind].append(time.perf_counter() - start)
        ratio = statistics.median(a / b for a, b in zip(times["plain"], times["adaptive"], strict=True))
        print(f"{what}: adaptive is {ratio:.2f} times as fast (median of {options.rounds} rounds, batch {BATCH})")


def some_images(source: str, checkpoint: Checkpoint) -> Tensor:
    """A batch from all over the folder, as the model sees it."""
    files = sorted(file for file in Path(source).rglob("*") if file.suffix in (".png", ".jpg"))
    chosen = [files[index * len(files) // BATCH] for index in range(BATCH)]
    images = [decode_image(str(file), mode="RGB" if checkpoint.preprocess.channels == 3 else "GRAY") for file in chosen]
    return torch.stack([checkpoint.preprocess.normalise(checkpoint.preprocess.fit(image)) for image in images])


def infer(model: nn.Module, pixels: Tensor, labels: Tensor) -> Callable[[], None]:
    def work() -> None:
        with torch.inference_mode():
            model.eval()(pixels)

    return work


def learn(model: nn.Module, pixels: Tensor, labels: Tensor) -> Callable[[], None]:
    def work() -> None:
        model.train().zero_grad()
        F.cross_entropy(model(pixels), labels).backward()

    return work


if __name__ == "__main__":
    main()
