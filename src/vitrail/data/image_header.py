"""Size and orientation of an image file from its header, without decoding it."""

from PIL import Image

from .camera import is_heif, open_heif
from .decoding_limits import TimedFile
from .formats import readable_formats
from .orientation import swaps_sides, turn_of, turned_size
from .quiet import quiet
from .samples import Location


def upright_size(location: Location) -> tuple[int, int] | None:
    """Height and width of the image as `decode` returns it; None if the header cannot be read."""
    image = _opened(location)
    return None if image is None else turned_size(image)


def quarter_turn(location: Location) -> Image.Transpose | None:
    """How `decode` turns the file by its EXIF orientation, if that swaps height and width; else None."""
    image = _opened(location)
    turn = None if image is None else turn_of(image)
    return turn if swaps_sides(turn) else None


def _opened(location: Location) -> Image.Image | None:
    """The image, not decoded; None if its header cannot be read."""
    try:
        data = location.read()
        with quiet():
            return open_heif(data) if is_heif(data) else Image.open(TimedFile(data), formats=readable_formats())
    except Exception:  # decoders raise everything; the survey names the fault
        return None
