"""Size and orientation of an image file from its header, without decoding it."""

from PIL import Image

from .camera import is_heif, open_heif
from .decode import readable_formats
from .decoding_limits import TimedFile
from .orientation import turn_of
from .quiet import quiet
from .samples import Location

_SWAPPED = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def upright_size(location: Location) -> tuple[int, int] | None:
    """Height and width of the image as `decode` returns it; None if the header cannot be read."""
    found = _header(location)
    if found is None:
        return None
    height, width, turn = found
    return (width, height) if turn in _SWAPPED else (height, width)


def quarter_turn(location: Location) -> Image.Transpose | None:
    """How `decode` turns the file by its EXIF orientation, if that swaps height and width; else None."""
    found = _header(location)
    return found[2] if found is not None and found[2] in _SWAPPED else None


def _header(location: Location) -> tuple[int, int, Image.Transpose | None] | None:
    """Stored height and width, and the turn."""
    try:
        data = location.read()
        with quiet():
            image = open_heif(data) if is_heif(data) else Image.open(TimedFile(data), formats=readable_formats())
            return image.height, image.width, turn_of(image)
    except Exception:  # decoders raise everything; the survey names the fault
        return None
