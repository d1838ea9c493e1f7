"""What pre-training without labels is worth: objectives beside training from scratch with the same total compute.

    python benchmarks/pretraining.py run data/cifar10 --objectives dino rotation scratch --tflops 30 -o FOLDER
    python benchmarks/pretraining.py page FOLDER

Each objective is pre-trained on the training images without labels for `--tflops` (10¹² floating-point operations of
its training steps, teacher, decoder and all views included). The result is then measured by kNN and a linear probe,
and fine-tuned for `--tune-tflops` with 1, 10 and 100 % of the labels. "scratch" is trained on the same labels for the
sum of both. The test split is used for the last evaluation of each run only. Finished runs are left out, so that the
command can be repeated. As operations and not minutes are equal, other load on the machine changes nothing.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import vitrail
from vitrail.checkpoint.build import blueprint
from vitrail.data.open import Source, open_source
from vitrail.data.seeds import derive, permutation
from vitrail.models.fields import ModelConfig
from vitrail.models.registry import model_config, override
from vitrail.objectives.objective import Moment
from vitrail.planning.flops import TRAINING_STEP, FlopCount, count
from vitrail.planning.objective_step import example_batch, example_views, root_module
from vitrail.progress import to_stderr, visible
from vitrail.study.probe import study_probe
from vitrail.training.initial_model import with_tuples
from vitrail.training.recipe import Recipe, chosen
from vitrail.training.recipe_file import pretraining_recipe, set_fields
from vitrail.training.training_data import MOST_VAL

SHARES = (0.01, 0.1, 1.0)
PLAIN = ["model=vit_tiny_patch16_224", 'overrides={"patch_size": 4, "embed_dim": 96, "num_heads": 3, "depth": 6}']
"""A plain ViT, which every objective can train, and which learns little from few labels alone."""


def labelled(source: Source, share: float, seed: int) -> Source:
    """The source with a share of its training images, the same of each class, and all of its test images."""
    kept = [sample for sample in source.samples if sample.split == "test"]
    for label in range(len(source.class_names)):
        own = [sample for sample in source.samples if sample.split == "train" and sample.labels == (label,)]
        count = max(2, round(share * len(own)))
        kept += [own[place] for place in permutation(len(own), derive(seed, "labels", label))[:count]]
    return replace(source, samples=tuple(kept))


def unlabelled(source: Source) -> Source:
    """The training images of the source."""
    return replace(source, samples=tuple(sample for sample in source.samples if sample.split == "train"))


def settings(given: argparse.Namespace) -> list[str]:
    """Settings of the recipe for the model."""
    model = [f"model={given.model}"] if given.model else PLAIN
    return [*model, "image_size=32", *given.set]


def config_of(recipe: Recipe, side: int = 32) -> ModelConfig:
    """Config of the recipe's model for images of this side."""
    changes = {**with_tuples(recipe.overrides), "image_size": side}
    return override(model_config(chosen(recipe.model)), changes, chosen(recipe.model))


def pretraining_flops(recipe: Recipe) -> float:
    """Operations of a training step of an objective for one image, its own modules and all views included."""
    objective = chosen(recipe.objective)
    config = objective.model_config(config_of(recipe))
    root = root_module(objective, blueprint(config)).to_empty(device="cpu").train()
    for tensor in (*root.parameters(), *root.buffers()):
        tensor.data.zero_()
    with FlopCount() as counted:
        root(example_batch(example_views(objective, config), 2), Moment(0, 0.5)).total.backward()
    return counted.total / 2


def training_flops(recipe: Recipe) -> float:
    """Operations of a supervised step for one image; from scratch, half of the steps see images of 24 px."""
    sides = (32, 32) if recipe.weights else (32, 24)
    return TRAINING_STEP * sum(count(config_of(recipe, side)).flops for side in sides) / 2


def with_length(recipe: Recipe, tflops: float, flops: float, source: Source) -> Recipe:
    """The recipe with as many epochs as cost this, for a step of this many operations an image."""
    images = sum(sample.split == "train" for sample in source.samples)
    trained = images - min(recipe.val * images, MOST_VAL)
    epochs = 1e12 * tflops / (flops * trained)
    return replace(recipe, epochs=epochs, evaluate_every=max(1.0, epochs / 5))


def record(path: Path, **numbers: Any) -> None:
    """Write numbers to a JSON file; if the file exists, its work is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2) + "\n")


def pretrained(name: str, source: Source, given: argparse.Namespace) -> Path:
    """The pre-training run of an objective; made if it is not there."""
    out = Path(given.out) / name / "pretraining"
    if not (out / "report.html").exists():
        recipe = set_fields(replace(pretraining_recipe(name), seed=given.seed), settings(given))
        recipe = with_length(recipe, given.tflops, pretraining_flops(recipe), unlabelled(source))
        vitrail.pretrain(unlabelled(source), recipe, out=out, progress=visible, say=to_stderr)
    return out


def probed(run: Path, source: str, file: Path) -> None:
    """kNN and linear accuracy of the frozen features."""
    if not file.exists():
        (found,) = study_probe(vitrail.load(run), [source], progress=visible).sources
        record(file, rows={score.name: score.value for score in found.scores})


def tuned(name: str, share: float, source: Source, given: argparse.Namespace, start: Path | None) -> None:
    """Fine-tuning of a run, or training from scratch, with a share of the labels."""
    folder = Path(given.out) / name
    file = folder / f"tuned-{share:g}.json"
    if file.exists():
        return
    part = labelled(source, share, given.seed)
    recipe = set_fields(Recipe(seed=given.seed), settings(given))
    flops = training_flops(recipe if start is None else replace(recipe, weights=str(start)))
    recipe = with_length(recipe, given.tune_tflops + (0 if start else given.tflops), flops, part)
    if start:
        recipe = replace(recipe, model=None, overrides={})
    run = vitrail.train(part, recipe, weights=start, out=folder / f"tuned-{share:g}", say=to_stderr)
    record(file, top1=run.metrics["test_top1"], epochs=recipe.epochs)


def run(given: argparse.Namespace) -> None:
    """All runs that are not there yet."""
    source = open_source(given.source)
    for name in given.objectives:
        start = None
        if not name.startswith("scratch"):
            start = pretrained(name, source, given)
            probed(start, given.source, Path(given.out) / name / "probe.json")
        for share in given.shares:
            tuned(name, share, source, given, start)


def page(folder: Path) -> str:
    """Markdown table of what is there."""
    lines = ["| objective | kNN, k = 20 | linear | " + " | ".join(f"{share:.0%} of labels" for share in SHARES) + " |"]
    lines.append("|---" * (3 + len(SHARES)) + "|")
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        probe = place / "probe.json"
        rows = json.loads(probe.read_text())["rows"] if probe.exists() else {}
        cells = [_percent(_named(rows, word)) for word in ("k = 20", "linear")]
        for share in SHARES:
            file = place / f"tuned-{share:g}.json"
            cells.append(_percent(json.loads(file.read_text())["top1"] if file.exists() else None))
        lines.append(f"| {place.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _named(rows: dict[str, float], word: str) -> float | None:
    return next((value for name, value in rows.items() if word in name), None)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("run")
    work.add_argument("source")
    work.add_argument("--objectives", nargs="+", required=True)
    work.add_argument("--model", help="default: a plain ViT")
    work.add_argument("--set", nargs="*", default=[], help="settings of the recipe, such as overrides.embed_dim=96")
    work.add_argument("--tflops", type=float, default=30)
    work.add_argument("--tune-tflops", type=float, default=6)
    work.add_argument("--shares", nargs="+", type=float, default=SHARES)
    work.add_argument("--seed", type=int, default=0)
    work.add_argument("--threads", type=int, default=2)
    work.add_argument("-o", "--out", required=True)
    commands.add_parser("page").add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    if given.command == "page":
        print(page(given.folder))
    else:
        torch.set_num_threads(given.threads)
        run(given)


if __name__ == "__main__":
    main()
