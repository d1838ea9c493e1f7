"""Evenly spaced frames of clips."""


def spaced(count: int, wanted: int, start: float = 0.0, stop: float = 1.0) -> list[int]:
    """Indices of evenly spaced frames of a clip, each in the middle of an equal part of the time.

    Args:
        count: number of frames of the clip; if there are fewer than `wanted`, some are repeated.
        wanted: number of indices.
        start, stop: the part of the clip, as fractions of its length.
    """
    step = (stop - start) * count / wanted
    return [min(count - 1, int(start * count + (place + 0.5) * step)) for place in range(wanted)]
