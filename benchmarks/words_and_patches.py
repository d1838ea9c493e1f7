"""Images and texts on scenes: how often the map of a word is brightest on the object that the word names.

    vitrail train scenes:train=8000,test=1000,unseen=0.2 --task image-text --minutes 20 -o runs/scenes
    python benchmarks/words_and_patches.py runs/scenes scenes:train=8000,test=1000,unseen=0.2

The pointing game (Zhang et al., 2018, "Top-down neural attention by excitation backprop", section 5.1) with words of
colour and shape in the captions of scenes of two objects that share neither. A box counts with half a patch around it.
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

import vitrail
from vitrail.data.annotations import Box
from vitrail.data.open import open_source, read_image
from vitrail.data.samples import Sample
from vitrail.data.scenes.locations import SceneAt
from vitrail.data.scenes.scene import scene
from vitrail.data.scenes.truth import name_of
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.texts import similarity_model
from vitrail.task_spec import TaskSpec


def named_boxes(sample: Sample) -> dict[str, Box]:
    """The box of the object that each word of colour or shape names; none unless two objects share no word."""
    place = sample.location
    assert isinstance(place, SceneAt), f"{sample.name} is no scene"
    objects = scene(place.scenes, place.split, place.index).objects
    found = {word: each.box for each in objects for word in name_of(place.scenes, each).split()[1:]}
    return found if len(objects) == 2 and len(found) == 4 else {}


def covered(box: Box, pad: float) -> tuple[float, float, float, float]:
    return max(0, box.left - pad), max(0, box.top - pad), min(1, box.right + pad), min(1, box.bottom + pad)


def hits(maps: Tensor, boxes: list[Box]) -> Iterator[tuple[bool, float]]:
    """Whether the brightest patch of each map is on its box, and the fraction of the image that the box covers."""
    rows, columns = maps.shape[1:]
    for values, box in zip(maps, boxes, strict=True):
        row, column = divmod(int(values.argmax()), columns)
        y, x = (row + 0.5) / rows, (column + 0.5) / columns
        left, top, right, bottom = covered(box, 0.5 / rows)
        yield left <= x <= right and top <= y <= bottom, (right - left) * (bottom - top)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("source")
    parser.add_argument("--methods", nargs="+", default=["generic", "lrp", "input_gradient", "occlusion", "grad_cam"])
    parser.add_argument("--limit", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = vitrail.load(given.checkpoint)
    source = open_source(given.source, task=TaskSpec("image-text"))
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in given.methods}
    for sample in [sample for sample in source.samples if sample.split == "test"][: given.limit]:
        boxes = named_boxes(sample)
        model, phrases = similarity_model(checkpoint, [sample.labels[0]])
        asked = [index for index, one in enumerate(phrases) if one.kind == "word" and one.name in boxes]
        pixels = read_image(sample, checkpoint.preprocess.channels, then=checkpoint.preprocess)[None]
        for name in given.methods if asked else ():
            maps = METHODS[name](model, pixels.expand(len(asked), -1, -1, -1), torch.tensor(asked))
            found[name] += hits(maps, [boxes[phrases[index].name] for index in asked])
    for name, pairs in found.items():
        shares = [100 * sum(values) / len(pairs) for values in zip(*pairs, strict=True)]
        print(f"{name}: {shares[0]:.1f} % of {len(pairs)} words, by chance {shares[1]:.1f} %")


if __name__ == "__main__":
    main()
