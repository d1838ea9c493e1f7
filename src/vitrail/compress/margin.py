"""How precisely the drop of a setting is known: the smallest one that differs from none."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.samples import Sample
from ..tasks.outcomes import Names
from ..tasks.task import Task
from ..tasks.worth import GROUPS, jackknife_margin


def drop_of_share(changed: float, images: int) -> float:
    """Smallest drop in points that differs from none, with 95 % confidence, where a share of predictions changes.

    The difference of the accuracies of two models that disagree on a share p of n images has a deviation of √(p / n);
    if they never disagree, 3 / n is the upper limit of the share (Hanley and Lippman-Hand, 1983, "rule of three").
    """
    if changed == 0:
        return 300 / images
    return 196 * math.sqrt(changed / images)


def drop_margin(task: Task, names: Names, samples: Sequence[Sample], outputs: tuple[Any, Any]) -> float:
    """The same for any measure of quality: half of the 95 % interval of what one model loses against another.

    By a jackknife over the images, see `jackknife_margin`; by the rule of three where that finds no difference, and for
    fewer than two images of each group.

    Args:
        task: whose metrics measure.
        names: names of the model's outputs.
        samples: with labels.
        outputs: of the two models, for all samples.
    """
    if len(samples) < 2 * GROUPS:
        return drop_of_share(0, len(samples))
    places = [torch.arange(group, len(samples), GROUPS) for group in range(GROUPS)]
    targets = [task.targets([samples[place] for place in part.tolist()], names) for part in places]

    def quality(output: Any, left_out: int) -> float:
        metrics = task.metrics(names)
        for group, (part, target) in enumerate(zip(places, targets, strict=True)):
            if group != left_out:
                metrics.update(tree_map(partial(_rows, places=part), output), target)
        return metrics.quality()

    drops = [100 * (quality(outputs[0], group) - quality(outputs[1], group)) for group in range(GROUPS)]
    return jackknife_margin(drops) or drop_of_share(0, len(samples))


def _rows(leaf: Any, places: Tensor) -> Any:
    return leaf[places] if isinstance(leaf, Tensor) else leaf
