"""Images and texts on scenes: how many test scenes find their caption among 32.

    vitrail train scenes:train=8000,test=1000,unseen=0.2 --task image-text --minutes 20 -o runs/scenes
    python benchmarks/image_text.py runs/scenes scenes:train=8000,test=1000,unseen=0.2

The candidates of a scene are its caption and 31 captions of other test scenes that are not true of it: every statement
about two of its objects, in either order, is known, so that the measure is exact. The pairs of colour and shape of the
test scenes are in no training scene.
"""

import argparse

import torch

import vitrail
from vitrail.data.samples import Sample
from vitrail.data.scenes.locations import SceneAt
from vitrail.data.scenes.scene import scene
from vitrail.data.scenes.truth import name_of, relation
from vitrail.study.retrieval import RetrievalOptions, study_retrieval


class TrueStatements:
    """(scene, text) -> whether the text is true of it."""

    def __init__(self) -> None:
        self.known: dict[str, frozenset[str]] = {}

    def __call__(self, sample: Sample, text: str) -> bool:
        if sample.name not in self.known:
            self.known[sample.name] = statements(sample)
        return text in self.known[sample.name]


def statements(sample: Sample) -> frozenset[str]:
    """All captions that are true of a scene."""
    place = sample.location
    assert isinstance(place, SceneAt), f"{sample.name} is no scene"
    objects = scene(place.scenes, place.split, place.index).objects
    names = [name_of(place.scenes, each) for each in objects]
    pairs = [(a, b) for a in range(len(objects)) for b in range(len(objects)) if a != b]
    return frozenset([f"{names[a]} {relation(objects[a], objects[b])} {names[b]}" for a, b in pairs] + names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("source")
    parser.add_argument("--among", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = RetrievalOptions(among=given.among, split="test")
    found = study_retrieval(vitrail.load(given.checkpoint), given.source, options, also_true=TrueStatements())
    for one in found.directions:
        recalls = ", ".join(f"R@{k} {100 * value:.1f} %" for k, value in one.recall.items())
        print(f"{one.query}: {one.queries} queries among {one.candidates}: {recalls}")
    for sentence in found.notes:
        print(sentence)


if __name__ == "__main__":
    main()
