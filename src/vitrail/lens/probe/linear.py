"""Linear probes: the accuracy of a linear classifier on frozen features (Alain and Bengio, 2017)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError

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
        strength: strength of the l2 regularisation.

    Raises:
        VitrailError: scikit-learn is missing, or there are fewer than two classes or no test images.
    """
    known = np.unique(train_labels.numpy())
    if len(known) < 2:
        raise VitrailError(f"a probe needs images of two classes or more to learn from: there are {len(known)}")
    if not len(test):
        raise VitrailError("there is no image to score the probe on: give a source with a test part")
    mean, deviation = train.double().mean(dim=0), train.double().std(dim=0, correction=0)
    # A constant feature has no information; divided by its deviation it would be rounding noise.
    scale = deviation.clamp(min=1e-6 * max(1e-6, deviation.max().item()))
    seen, unseen = (((part.double() - mean) / scale).numpy() for part in (train, test))
    model = _classifier(kind, strength)
    model.fit(seen, train_labels.numpy())
    return Probe(model.score(seen, train_labels.numpy()), model.score(unseen, test_labels.numpy()))


def _classifier(kind: Kind, strength: float) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression, RidgeClassifier
    except ImportError as error:
        raise VitrailError('linear probes need scikit-learn: pip install "vitrail[study]"') from error
    if kind == "ridge":
        return RidgeClassifier(alpha=strength)
    return LogisticRegression(C=1 / strength, max_iter=1000)
