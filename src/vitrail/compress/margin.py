"""How precisely the drop of a setting is known: the smallest one that differs from none."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.samples import Sample
from ..errors import VitrailError
from ..tasks.outcomes import Names
from ..tasks.task import Task
from ..tasks.worth import GROUPS, groups_margin


def drop_of_share(changed: float, images: int) -> float:
    """Smallest drop in points that differs from none, with 95 % confidence, where a share of predictions changes.

    The difference of the accuracies of two models that disagree on a share p of n images has a deviation of √(p / n);
    if they never disagree, 3 / n is the upper limit of the share (Hanley and Lippman-Hand, 1983, "rule of three").
    """
    if changed == 0:
        return 300 / images
    return 196 * math.sqrt(changed / images)


def drop_of_groups(task: Task, names: Names, samples: Sequence[Sample], outputs: tuple[Any, Any]) -> float | None:
    """The same for a measure that is not a share of the images, such as mean IoU or average precision.

    Half of the 95 % interval of what one model loses against another, from what it loses on each of ten groups of the
    images.

    Args:
        task: whose metrics measure.
        names: names of the model's outputs.
        samples: with labels.
        outputs: of the two models, for all samples.

    Returns:
        Points; None for fewer than two images of a group, or if a group has no labels that could be measured.
    """
    if len(samples) < 2 * GROUPS:
        return None
    drops: list[float] = []
    for group in range(GROUPS):
        places = torch.arange(group, len(samples), GROUPS)
        targets = task.targets([samples[place] for place in places.tolist()], names)
        qualities: list[float] = []
        for output in outputs:
            metrics = task.metrics(names)
            try:
                metrics.update(tree_map(partial(_rows, places=places), output), targets)
                qualities.append(metrics.quality())
            except VitrailError:
                return None
        drops.append(100 * (qualities[0] - qualities[1]))
    return groups_margin(drops)


def _rows(leaf: Any, places: Tensor) -> Any:
    return leaf[places] if isinstance(leaf, Tensor) else leaf
