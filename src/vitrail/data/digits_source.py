"""The source `digits`: scikit-learn's handwritten digits."""

import numpy as np

from ..errors import VitrailError
from ..task_spec import TaskSpec
from .samples import RowAt, Sample, Source


def digits(rest: str, labelled: bool, task: TaskSpec | None) -> Source:
    """Open 1,797 handwritten digits, 8×8 grey, scaled from 0..16 to 0..255 (Alpaydin and Kaynak, 1998; UCI).

    Args:
        rest: text after "digits:", which must be empty.
        labelled: whether labels are needed; they are always given.
        task: task of the labels, which are classes whatever it is.

    Raises:
        VitrailError: scikit-learn is not installed, or there is a rest.
    """
    if rest:
        raise VitrailError(f"digits has no parts, such as {rest!r}: name it without them")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise VitrailError('digits comes with scikit-learn: pip install "vitrail[digits]"') from error
    bunch = load_digits()
    array = np.round(bunch.images * 255 / 16).astype(np.uint8)
    samples = (Sample(f"digits/{i}", (int(label),), None, RowAt(array, i)) for i, label in enumerate(bunch.target))
    return Source("digits", tuple("0123456789"), tuple(samples))
