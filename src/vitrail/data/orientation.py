"""Turns images upright by their EXIF orientation."""

from PIL import Image

_EXIF_PLACES = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # TIFFs Pillow has turned itself
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_SWAPPED = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """How the EXIF block asks to turn an image; None if it is upright, has none, or the block is damaged."""
    if image.info.keys().isdisjoint(_EXIF_PLACES):  # looking into EXIF costs as much as decoding a thumbnail
        return None
    try:
        return _UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # the pixels are intact: a damaged EXIF block only loses the orientation
        return None


def swaps_sides(turn: Image.Transpose | None) -> bool:
    """Whether a turn makes the height the width."""
    return turn in _SWAPPED


def turned_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of an opened image as its EXIF block asks it to be turned; it is not decoded."""
    size = image.height, image.width
    return size[::-1] if swaps_sides(turn_of(image)) else size


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF block asks; unchanged without one, or if it is damaged."""
    turn = turn_of(image)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned
