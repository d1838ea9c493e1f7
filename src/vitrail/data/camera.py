"""Files of cameras and telephones that Pillow does not read: HEIC, and raw sensor data."""

from PIL import Image

from .bands import RefusedError
from .decoding_limits import TimedFile

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_RAW = {
    b"IIRO": "Olympus ORF",
    b"IIRS": "Olympus ORF",
    b"MMOR": "Olympus ORF",
    b"IIU\0": "Panasonic RW2",
    b"FUJIFILMCCD-RAW": "Fujifilm RAF",
}


def is_heif(data: bytes) -> bool:
    """Whether these are the bytes of a HEIC or HEIF file."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def open_heif(data: bytes) -> Image.Image:
    """Open a HEIC or HEIF file; its pixels are decoded when they are loaded.

    Raises:
        RefusedError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise RefusedError('a HEIC image: pip install "vitrail[heic]" to read it, or convert it to JPEG') from error
    # The plugin's own class, without registering it: what Pillow reads elsewhere in the program does not change.
    return pillow_heif.HeifImageFile(TimedFile(data))


def raw_kind(data: bytes) -> str | None:
    """Name of the raw format of a camera, or None; those that are TIFFs show it in their tags, see `Tiff.is_raw`."""
    if data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR":
        return "Canon CR2"
    if data[4:12] == b"ftypcrx ":
        return "Canon CR3"
    return next((name for magic, name in _RAW.items() if data.startswith(magic)), None)


def raw_refused(kind: str) -> RefusedError:
    """Error for a raw file."""
    return RefusedError(f"a camera's raw file ({kind}), which is not read here: export it as JPEG, PNG or TIFF")
