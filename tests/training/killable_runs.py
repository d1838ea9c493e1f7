"""A small real run for tests, and ways to break it off."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.data.augment_options import Augment
from vitrail.objectives.mae import MAEObjectiveConfig
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.training.recipe import Recipe

SMALL = Recipe(
    model="compact_tiny_16",
    overrides={"stem": [[8], [16]], "embed_dim": 16, "num_heads": 2, "depth": 2},
    epochs=4,
    batch_size=16,
    evaluate_every=1,
    dropout=0.1,
    drop_path=0.3,
    ema=0.9,
    optimizer="muon",
    augment=Augment(crop="shift", color_jitter=0.2, erasing=0.3),
    objective=SupervisedConfig(mixup=0.4, cutmix=0.4),
    save_minutes=1e-6,
)
"""Much that is random is switched on, and the state is saved after every step."""

EVERYTHING = replace(
    SMALL,
    patch_dropout=0.25,
    augment=Augment(
        crop="shift",
        flip_mode="alternate",
        color_jitter=0.2,
        randaugment="rand-m9-mstd0.5-inc1",
        erasing=0.3,
        erasing_mode="pixel",
        repeats=2,
    ),
    objective=SupervisedConfig(mixup=0.4, cutmix=0.4, sampler="balanced"),
)
"""Everything random is switched on."""


MASKED = Recipe(
    model="vit_tiny_patch16_224",
    overrides={"patch_size": 4, "embed_dim": 32, "num_heads": 2, "depth": 2},
    objective=MAEObjectiveConfig(decoder_dim=32, decoder_depth=1),
    image_size=16,
    start_size=1.0,
    epochs=4,
    batch_size=16,
    evaluate_every=1,
    ema=0.9,
    optimizer="adamw",
    augment=Augment(crop="resized"),
    save_minutes=1e-6,
)
"""Pre-training without labels, likewise."""


def make_pictures(folder: Path, classes: int = 3, each: int = 24, size: int = 16) -> Path:
    """Class folders of noise around a colour."""
    random = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class {label}").mkdir(parents=True)
        for index in range(each):
            noise = random.integers(0, 120, (size, size, 3)) + np.eye(3)[label % 3] * 120
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"class {label}" / f"{index}.png")
    return folder


def in_own_process(function: Callable[..., None], *arguments: object) -> int:
    """Run in a process that can be killed; returns its exit code (-9 after SIGKILL)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vitrail.training.run", "killable_runs"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def train_once(source: str, out: str, recipe: Recipe, kill_at: int) -> None:
    """Train, or go on; SIGKILL itself at the given event: a step, an fsync, a rename or an evaluation."""
    import torch

    from vitrail.training import run

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for the loader's workers, as on a plain Linux
    count_down_to_kill(kill_at)
    if Path(out).exists():
        run.resume(out)
    else:
        run.train(source, recipe, out=out)


def count_down_to_kill(events: int) -> None:
    """From now on the process kills itself at the n-th event; 0 never. Prints nothing, cleans up nothing."""
    from vitrail.training.loop import Trainer

    left = [events]

    def counted(function: Callable) -> Callable:
        def wrapper(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapper

    for name in ("fsync", "rename", "replace"):
        setattr(os, name, counted(getattr(os, name)))
    Trainer.step = counted(Trainer.step)
    Trainer.evaluate = counted(Trainer.evaluate)
