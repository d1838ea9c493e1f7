"""Linear probes: the accuracy of a linear classifier on frozen features (Alain and Bengio, 2017)."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError
from .logistic import fit_logistic
from .ridge import fit_ridge

Kind = Literal["ridge", "logistic"]


@dataclass(frozen=True, slots=True)
class Probe:
    """Accuracy of a probe on the training part and on the test part; 0 to 1."""

    train: float
    test: float


def linear_probe(
    train: Float[Tensor, "n D"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m D"],
    test_labels: Int[Tensor, " m"],
    kind: Kind = "ridge",
    strength: float = 1.0,
) -> Probe:
    """Fit a linear classifier on frozen features and evaluate it on a test part.

    Alain and Bengio (2017), "Understanding intermediate layers using linear classifier probes". Features are
    standardised with statistics of the training part, so that the regularisation is the same for every layer.

    Args:
        kind: "ridge" (least squares on ±1, seconds for any width) or "logistic".
        strength: strength of the l2 regularisation, relative to the sum of the losses of all images.

    Raises:
        VitrailError: there are fewer than two classes or no test images.
    """
    known = train_labels.unique()
    if len(known) < 2:
        raise VitrailError(f"a probe needs images of two classes or more to learn from: there are {len(known)}")
    if not len(test):
        raise VitrailError("there is no image to score the probe on: give a source with a test part")
    ones = (train_labels[:, None] == known).double()
    if kind == "ridge":
        fit = fit_ridge(train, 2 * ones - 1, strength)
    else:
        # Two classes share one direction, which scikit-learn penalises as the one weight of a binary regression.
        shared = 2 if len(known) == 2 else 1
        fit = fit_logistic(train, ones, shared * strength / len(train))
    scores = [accuracy(fit(part), labels, known) for part, labels in ((train, train_labels), (test, test_labels))]
    return Probe(*scores)


def accuracy(
    scores: Float[Tensor, "n K"], labels: Int[Tensor, " n"], classes: Int[Tensor, " K"] | None = None
) -> float:
    """Fraction of images whose label has the highest score; 0 to 1.

    Args:
        classes: label of each column; None: its number.
    """
    best = scores.argmax(dim=1)
    return ((best if classes is None else classes[best]) == labels).double().mean().item()
