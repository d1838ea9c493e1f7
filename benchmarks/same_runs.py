"""Whether two commits train alike: seeded runs of digits and of a folder of drawn images, compared to the last bit.

    python benchmarks/same_runs.py HEAD~1 HEAD

Each commit is checked out in a temporary folder and run with this environment's packages. Weights are compared by name
and value, the metric log by the columns that both have. Digests differ from processor to processor, so none is stored.
Exits with 1 where something differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
RUNS = {
    "digits": ["digits", "--epochs", "2", "--seed", "0"],
    "digits-ema": [
        *("digits", "--epochs", "1", "--set", "ema=0.9", "balance=0.5", "workers=1", "augment.randaugment=2"),
        *("augment.color_jitter=0.3", "augment.erasing=0.25", "objective.mixup=0.8", "objective.cutmix=1.0"),
    ],
    "photos": ["PHOTOS", "--epochs", "2", "--seed", "1", "--set", "augment.mixup=0.2", "drop_path=0.1", "accumulate=2"],
}
"""What is trained; PHOTOS becomes the folder of `draw_photos`."""
SETTINGS = ["precision=float32", "device=cpu"]


def draw_photos(folder: Path) -> None:
    """Three classes of 24 images, 72×60: stripes of a direction, under noise."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :72]
    for name, field in (("rows", rows), ("columns", columns), ("both", rows + columns)):
        (folder / name).mkdir(parents=True)
        for index in range(24):
            wave = 128 + 90 * np.sin(field / random.uniform(1.5, 4))
            image = wave[..., None] * random.uniform(0.5, 1, 3) + random.normal(0, 12, (60, 72, 3))
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index}.png")


def train(revision: str, place: Path, photos: Path) -> dict[str, Path]:
    """Check a commit out and train every run of `RUNS` with it; {name: run folder}."""
    subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", "-f", str(place), revision], check=True)
    environment = {**os.environ, "PYTHONPATH": str(place / "src"), "OMP_NUM_THREADS": "1"}
    done = {}
    for name, words in RUNS.items():
        out = place / "runs" / name
        words = [str(photos) if word == "PHOTOS" else word for word in words]
        if "--set" not in words:
            words = [*words, "--set"]
        subprocess.run(
            [sys.executable, "-m", "vitrail", "train", *words, *SETTINGS, "--out", str(out)],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        done[name] = out
    return done


def differences(before: Path, after: Path) -> list[str]:
    """Differences of two runs, a sentence each."""
    found = []
    for name in ("best", "last"):
        ours, theirs = (load_file(run / "checkpoints" / name / "model.safetensors") for run in (after, before))
        if ours.keys() != theirs.keys():
            found.append(f"{name}: other tensors: {sorted(ours.keys() ^ theirs.keys())[:4]}")
        found += [f"{name}: {key}" for key in ours.keys() & theirs.keys() if not torch.equal(ours[key], theirs[key])]
    ours, theirs = ([json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (after, before))
    if len(ours) != len(theirs):
        return [*found, f"{len(theirs)} evaluations became {len(ours)}"]
    for row, was in zip(ours, theirs, strict=True):
        changed = [key for key in was.keys() & row.keys() if row[key] != was[key]]
        found += [f"step {row['step']}: {key} {was[key]} became {row[key]}" for key in changed]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        draw_photos(photos)
        places = {side: Path(folder) / side for side in ("before", "after")}
        try:
            before = train(words.before, places["before"], photos)
            after = train(words.after, places["after"], photos)
            found = {name: differences(before[name], after[name]) for name in RUNS}
        finally:
            for place in places.values():
                subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(place)], check=False)
    for name, sentences in found.items():
        print(f"{name}: {'the same to the last bit' if not sentences else f'{len(sentences)} differences'}")
        print("".join(f"  {sentence}\n" for sentence in sentences[:8]), end="")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
