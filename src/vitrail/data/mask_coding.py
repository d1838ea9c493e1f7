"""How the values of mask files stand for classes: found from the values of a whole set and the names of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int16
from torch import Tensor

from ..errors import VitrailError
from .annotated import some, with_background
from .annotations import IGNORED
from .class_lists import ClassList
from .decode import BadImage
from .map_facts import MapFacts
from .map_files import read_mask

UNLABELLED = 255
"""Value of pixels without a class, the usual one."""
_VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled")
"""Names of classes, in lower case, that are none."""
_MOST_VALUES = 2**15 - 1
_UNKNOWN = -2


@dataclass(frozen=True, slots=True)
class Coding:
    """Class of each value of a mask.

    Attributes:
        values: values, or colours as 65536 red + 256 green + blue, in ascending order.
        classes: class of each of them, or IGNORED.
        colours: whether masks are read as colours.
    """

    values: tuple[int, ...]
    classes: tuple[int, ...]
    colours: bool = False

    def unknown(self, values: Sequence[float]) -> list[int]:
        """The values that stand for no class."""
        return [int(value) for value in values if value not in set(self.values)]

    def ignores(self, values: Sequence[float]) -> bool:
        """Whether all of these values are ignored."""
        ignored = {value for value, place in zip(self.values, self.classes, strict=True) if place == IGNORED}
        return ignored.issuperset(values)

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Classes (H, W) int16 of a mask; raises ValueError at a value that stands for none."""
        if array.dtype == np.uint8 and array.ndim == 2:
            return self._decode_bytes(array)
        packed = pack(array)
        known = np.array(self.values, dtype=np.int64)
        places = np.searchsorted(known, packed).clip(max=len(known) - 1)
        wrong = known[places] != packed
        if wrong.any():
            raise ValueError(f"has the {self.named([int(packed[wrong][0])])}, which stands for no class")
        return np.array(self.classes, dtype=np.int16)[places]

    def _decode_bytes(self, array: np.ndarray) -> np.ndarray:
        """The same with a table of all values, which takes a tenth of the time."""
        table = np.full(256, _UNKNOWN, dtype=np.int16)
        for value, place in zip(self.values, self.classes, strict=True):
            if value < len(table):
                table[value] = place
        found = table[array]
        if (wrong := found == _UNKNOWN).any():
            raise ValueError(f"has the {self.named([int(array[wrong][0])])}, which stands for no class")
        return found

    def named(self, values: Sequence[int]) -> str:
        """Values in words: "value 7", "colours (255, 0, 0), (0, 0, 9)"."""
        shown = [f"({v >> 16}, {v >> 8 & 255}, {v & 255})" if self.colours else str(v) for v in values]
        return f"{'colour' if self.colours else 'value'}{'s' * (len(values) > 1)} {some(shown)}"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A `MapLabel` of classes in a file."""

    path: str
    coding: Coding

    def read(self) -> Int16[Tensor, "H W"]:
        """Read the classes.

        Raises:
            BadImage: the file cannot be read, or has a value that stands for no class.
        """
        array = read_mask(self.path, colours=self.coding.colours)
        try:
            return torch.from_numpy(self.coding.decode(array))
        except ValueError as error:
            raise BadImage(self.path, str(error)) from None


def inspect_mask(path: str, *, colours: bool) -> MapFacts:
    """Size and values of a mask; raises BadImage."""
    array = read_mask(path, colours=colours)
    if array.dtype == np.uint8 and array.ndim == 2:
        values = np.flatnonzero(np.bincount(array.ravel(), minlength=256))
    else:
        values = np.unique(pack(array))
    if len(values) > _MOST_VALUES:
        raise BadImage(path, f"{len(values):,} different values: not a mask of classes")
    height, width = array.shape[:2]
    return MapFacts(height, width, 1 if array.ndim == 2 else 3, tuple(values.tolist()))


def pack(array: np.ndarray) -> np.ndarray:
    """Values (H, W) int64; of colours 65536 red + 256 green + blue."""
    wide = array.astype(np.int64)
    return wide if array.ndim == 2 else wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def find_coding(
    facts: Sequence[tuple[str, MapFacts]], listed: ClassList | None, where: str
) -> tuple[Coding, list[str], list[str]]:
    """Find how masks are coded.

    Args:
        facts: path and facts of each mask.
        listed: names of the classes; None: they are numbers.
        where: the folder, for messages.

    Returns:
        coding: the coding.
        class_names: names of its classes.
        notes: sentences on what was inferred.

    Raises:
        VitrailError: the masks have colours, and no table says of which class.
    """
    if listed is not None and listed.colours and any(fact.bands == 3 for _, fact in facts):
        return _by_colour(listed)
    coloured = next((path for path, fact in facts if fact.bands == 3), None)
    if coloured is not None and sum(fact.bands == 3 for _, fact in facts) * 2 > len(facts):
        raise VitrailError(
            f"the masks in {where} have colours, such as {coloured}: add a class_dict.csv with the columns name,r,g,b "
            "beside the folders"
        )
    grey = [(path, fact) for path, fact in facts if fact.bands == 1]
    values = sorted({int(value) for _, fact in grey for value in fact.values})
    names = list(listed.names) if listed is not None else []
    if (binary := _binary(values, names)) is not None:
        return binary
    if listed is None:
        return _numbered(values)
    return _listed(grey, values, listed)


def _by_colour(listed: ClassList) -> tuple[Coding, list[str], list[str]]:
    names = [name for name in listed.names if name.lower() not in _VOID]
    index = {name: place for place, name in enumerate(names)}
    pairs = sorted(
        (red << 16 | green << 8 | blue, index.get(name, IGNORED))
        for name, (red, green, blue) in zip(listed.names, listed.colours, strict=True)
    )
    values = tuple(value for value, _ in pairs)
    if len(set(values)) < len(values):
        raise VitrailError(f"{listed.file} gives two classes the same colour: give each a colour of its own")
    notes = [f"classes from the colours in {listed.file}", *_void_note(listed.names)]
    return Coding(values, tuple(place for _, place in pairs), colours=True), names, notes


def _void_note(names: Sequence[str]) -> list[str]:
    void = [name for name in names if name.lower() in _VOID]
    return [f"pixels of {some(void)} are ignored"] if void else []


def _binary(values: list[int], names: list[str]) -> tuple[Coding, list[str], list[str]] | None:
    """Masks of one object, in white on black."""
    if len(names) > 2 or UNLABELLED not in values or not set(values) <= {0, UNLABELLED}:
        return None
    classes = names if len(names) == 2 else ["background", *(names or ["object"])]
    note = f"all masks have the values 0 and 255 only: {classes[0]} and {classes[1]}, no pixel is ignored"
    return Coding((0, UNLABELLED), (0, 1)), classes, [note]


def _numbered(values: list[int]) -> tuple[Coding, list[str], list[str]]:
    """Without names the classes are the numbers between the lowest and the highest, or those found if they are few."""
    numbers = [value for value in values if value != UNLABELLED] or [0]
    if 2 * len(numbers) >= numbers[-1] - numbers[0] + 1:
        numbers = list(range(numbers[0], numbers[-1] + 1))
    notes = ["the numbers in the masks are the names of the classes: list names in a classes.txt"]
    if UNLABELLED in values:
        notes.append("pixels with the value 255 are ignored")
    coding = _indexed(numbers, list(range(len(numbers))))
    return coding, [str(number) for number in numbers], notes


def _listed(
    grey: Sequence[tuple[str, MapFacts]], values: list[int], listed: ClassList
) -> tuple[Coding, list[str], list[str]]:
    """Masks with numbers of listed classes, from 0 on, or from 1 on if 0 is what no class is."""
    names, count = list(listed.names), len(listed.names)
    notes = [f"class names from {listed.file}"]
    above = sum(count in fact.values for _, fact in grey)
    zero_is_none = listed.file.lower() == "objectinfo150.txt"
    has_first = any(word in names[0].lower() for word in ("background", *_VOID))
    if zero_is_none:
        notes.append("the first class has the number 1, and pixels with the value 0 are ignored")
    elif not listed.numbers and count != UNLABELLED and not has_first and above >= 2 and 10 * above >= len(grey):
        names = with_background(names)
        notes.append(f"{above:,} masks have the value {count}: the first of {count} classes is 1, and 0 is background")
    kept = [name for name in names if name.lower() not in _VOID]
    index = {name: place for place, name in enumerate(kept)}
    classes = [IGNORED] * zero_is_none + [index.get(name, IGNORED) for name in names]
    numbers = list(listed.numbers or range(len(classes)))
    if UNLABELLED in values and UNLABELLED not in numbers:
        notes.append("pixels with the value 255 are ignored")
    return _indexed(numbers, classes), kept, [*notes, *_void_note(names)]


def _indexed(numbers: list[int], classes: list[int]) -> Coding:
    if UNLABELLED not in numbers:
        numbers, classes = [*numbers, UNLABELLED], [*classes, IGNORED]
    pairs = sorted(zip(numbers, classes, strict=True))
    return Coding(tuple(number for number, _ in pairs), tuple(place for _, place in pairs))
