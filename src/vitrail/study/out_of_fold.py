"""Out-of-fold probabilities: those of each image come from classifiers that were not fitted on it."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..evaluation.probe.logistic import fit_best_logistic, sigmoid_loss, softmax_loss
from ..progress import Track, silent

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties that are tried, times the number of images and, since features are standardised, the mean square."""


def folds_of(groups: Sequence[Hashable], strata: Sequence[Hashable], count: int) -> Int[Tensor, " n"]:
    """Fold of each image: every class contributes evenly, and images of a group are in the same fold.

    Args:
        groups: for each image the group that must not be divided, such as its content hash; ordered by it, the result
            does not depend on file names or their order.
        strata: class of each image.
        count: number of folds.
    """
    by_group: dict[Hashable, Hashable] = {}
    for group, stratum in zip(groups, strata, strict=True):
        by_group.setdefault(group, stratum)
    by_stratum = defaultdict(list)
    for group, stratum in by_group.items():
        by_stratum[stratum].append(group)
    fold, turn = {}, 0
    for stratum in sorted(by_stratum, key=repr):
        for group in sorted(by_stratum[stratum], key=repr):
            fold[group] = turn % count
            turn += 1
    return torch.tensor([fold[group] for group in groups])


def out_of_fold(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    folds: Int[Tensor, " n"],
    *,
    many: bool = False,
    progress: Track = silent,
) -> Float[Tensor, "n K"]:
    """Probability of each class for each image, from ridge classifiers fitted on the other folds.

    The strength of the penalty and the scale of the scores (for `many` also a bias for each class) are those with the
    lowest out-of-fold cross entropy: a few numbers for all images, which no single image determines.

    Args:
        features: features of the images.
        targets: 0 or 1 for each class; one 1 in a row unless `many`.
        folds: fold of each image, see `folds_of`.
        many: whether an image may have any number of classes.
        progress: reports the folds.
    """
    deviation = features.std(dim=0, correction=0)
    scaled = (features - features.mean(dim=0)) / deviation.clamp(min=1e-6 * max(1e-6, deviation.max().item()))
    scores = [torch.zeros_like(targets) for _ in _STRENGTHS]
    for fold in progress(range(int(folds.max()) + 1), int(folds.max()) + 1, "folds"):
        judged = folds == fold
        for filled, found in zip(scores, _ridge(scaled, targets, judged), strict=True):
            filled[judged] = found
    calibrated = [_calibrated(found, targets, many=many) for found in scores]
    return min(calibrated, key=lambda pair: pair[0])[1]


def logistic_out_of_fold(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    folds: Int[Tensor, " n"],
    *,
    many: bool = False,
    seed: int = 0,
    progress: Track = silent,
) -> Float[Tensor, "n K"]:
    """Probability of each class for each image, from logistic regressions fitted on the other folds.

    The strength of the penalty is chosen in each fit by a part of its own images. For features of a few hundred to a
    few thousand numbers, as of a checkpoint; `out_of_fold` is faster for wider ones.

    Args:
        features, targets, folds, many, progress: see `out_of_fold`.
        seed: seed of the part that chooses the strength.
    """
    found = torch.zeros_like(targets)
    count = int(folds.max()) + 1
    for fold in progress(range(count), count, "folds"):
        judged = folds == fold
        loss = sigmoid_loss if many else softmax_loss
        layer, _ = fit_best_logistic(features[~judged], targets[~judged], loss, seed=seed)
        logits = layer(features[judged])
        found[judged] = (logits.sigmoid() if many else logits.softmax(dim=1)).float()
    return found


def _ridge(
    features: Float[Tensor, "n D"], targets: Float[Tensor, "n K"], judged: Bool[Tensor, " n"]
) -> list[Float[Tensor, "m K"]]:
    """Scores of the judged images for each strength: closed form, in the smaller of both dimensions."""
    seen, unseen, wanted = features[~judged], features[judged], targets[~judged]
    centred = wanted - wanted.mean(dim=0)
    count, width = seen.shape
    dual = count < width
    gram = seen @ seen.T if dual else seen.T @ seen
    left = unseen @ seen.T if dual else unseen
    right = centred if dual else seen.T @ centred
    found = []
    for strength in _STRENGTHS:
        ridge = gram.clone()
        ridge.diagonal().add_(strength * max(count, width))
        found.append(left @ torch.cholesky_solve(right, torch.linalg.cholesky(ridge)))
    return found


def _calibrated(
    scores: Float[Tensor, "n K"], targets: Float[Tensor, "n K"], *, many: bool
) -> tuple[float, Float[Tensor, "n K"]]:
    """(cross entropy, probabilities) with the best scale, and for `many` the best bias of each class."""
    scale = torch.tensor(1.0, dtype=torch.float64).requires_grad_()
    bias = torch.zeros(targets.shape[1] if many else 0, dtype=torch.float64).requires_grad_()
    inputs, wanted = scores.double(), targets.double()
    fit = torch.optim.LBFGS([scale, bias], max_iter=100, line_search_fn="strong_wolfe")

    def logits() -> Tensor:
        return inputs * scale.exp() + (bias if many else 0.0)

    def loss() -> Tensor:
        if many:
            return F.binary_cross_entropy_with_logits(logits(), wanted)
        return F.cross_entropy(logits(), wanted)

    def step() -> Tensor:
        fit.zero_grad()
        value = loss()
        value.backward()
        return value

    fit.step(step)
    found = logits().detach()
    return loss().item(), (found.sigmoid() if many else found.softmax(dim=1)).float()
