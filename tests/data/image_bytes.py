"""Arrays as the bytes of image files, which tests decode."""

from io import BytesIO

import numpy as np
import tifffile


def npy(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()
