"""Average precision of `vitrail study labels` at finding flipped labels, beside cleanlab on the same probabilities.

python benchmarks/flipped_labels.py SOURCE [--flipped 0.05] [--seeds 3] [--images N]
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score

from vitrail.data.open import Source, open_source
from vitrail.data.seeds import derive, permutation
from vitrail.study.labels import study_labels


def flipped(source: Source, share: float, seed: int, images: int | None) -> tuple[Source, set[str]]:
    """Return the source, or some of its images, with a share of wrong labels, and the names of their images."""
    order = permutation(len(source.samples), derive(seed, "images"))[:images]
    count, wrong = len(source.class_names), set(order[: round(share * len(order))])
    drawn = np.random.default_rng(seed)
    samples = []
    for place in sorted(order):
        sample = source.samples[place]
        if place in wrong:
            sample = replace(sample, labels=((sample.labels[0] + int(drawn.integers(1, count))) % count,))
        samples.append(sample)
    return replace(source, samples=tuple(samples)), {source.samples[place].name for place in wrong}


def main() -> None:
    """Print a row for each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--flipped", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int)
    given = parser.parse_args()
    print("seed  images  agreement  average precision  cleanlab  chance  seconds")
    for seed in range(given.seeds):
        source, wrong = flipped(open_source(given.source), given.flipped, seed, given.images)
        started = time.monotonic()
        study = study_labels(source)
        seconds = time.monotonic() - started
        truth = np.array([sample.name in wrong for sample in study.samples])
        ours = np.empty(len(truth))
        ours[[suspect.index for suspect in study.suspects]] = [suspect.suspicion for suspect in study.suspects]
        labels = np.array([sample.labels[0] for sample in study.samples])
        theirs = 1 - get_label_quality_scores(labels, study.probabilities.numpy())
        scores = [average_precision_score(truth, values) for values in (ours, theirs)]
        numbers = f"{study.accuracy:9.3f}  {scores[0]:17.4f}  {scores[1]:8.4f}  {truth.mean():6.3f}  {seconds:7.0f}"
        print(f"{seed:4}  {len(truth):6}  {numbers}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
