"""The anatomy of a model as one self-contained page."""

from collections.abc import Sequence
from html import escape

from jaxtyping import UInt8
from torch import Tensor

from ..pages.charts import dot_chart
from ..pages.html import data_uri, page, section
from ..pages.image import colours, displayable, encode, encode_map, enlarge
from .anatomy import Anatomy
from .draw import visualize_features, visualize_positions

_STYLES = """
.blocks { display: grid; gap: .6rem; overflow-x: auto; max-width: calc(var(--blocks) * 11rem); }
.blocks { grid-template-columns: repeat(var(--blocks), minmax(4.2rem, 1fr)); }
.blocks > div { color: var(--soft); font-size: .86rem; overflow-wrap: anywhere; }
.blocks img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 2px; }
.wide { max-width: 34rem; }
.wide img { display: block; width: 100%; height: auto; image-rendering: pixelated; }
"""


def anatomy_page(
    title: str, found: Anatomy, pictures: Sequence[tuple[str, UInt8[Tensor, "3 H W"]]], unreadable: Sequence[str] = ()
) -> str:
    """The document.

    Args:
        pictures: names, and what the model saw; in the order in which they were measured.
        unreadable: sentences on pictures that are not among them.
    """
    sections = [_distances(found), _components(found, pictures), _fields(found), _positions(found)]
    notes = (*found.notes, *unreadable)
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        sections.append(section("What is not here", f"<ul>{items}</ul>"))
    count = f"{len(pictures)} picture{'s' if len(pictures) != 1 else ''}"
    lead = f'<p class="soft">Measured on {count}, as the model sees them.</p>'
    return page(title, lead, [part for part in sections if part], styles=_STYLES)


def _distances(found: Anatomy) -> str:
    rows = {_short(name): values.tolist() for name, values in found.distances.items()}
    chart = dot_chart(rows, label="Mean distance that a head looks, in pixels", x_label="layer")
    note = (
        "A dot is a head: how many pixels lie, on average, between a patch and what it takes from. Heads near the "
        "bottom look at their neighbours, heads near the top at the whole picture."
    )
    return section("How far each head looks", chart, note) if rows else ""


def _components(found: Anatomy, pictures: Sequence[tuple[str, UInt8[Tensor, "3 H W"]]]) -> str:
    heads = ["picture", *map(_short, found.components)]
    cells = [f"<div>{escape(head)}</div>" for head in heads]
    for number, (name, picture) in enumerate(pictures):
        cells.append(_image(encode(enlarge(displayable(picture), 96)), name))
        cells += [
            _image(encode_map(visualize_features(maps[number])), f"{name}: {_short(block)}")
            for block, maps in found.components.items()
        ]
    note = (
        "The three directions in which the tokens of a block differ most, as red, green and blue: patches of one "
        "colour are alike to the model. A colour means the same in all pictures of a column, not in another."
    )
    return section("What the tokens have in common", _grid(heads, cells), note)


def _fields(found: Anatomy) -> str:
    heads = [_short(name) for name in found.fields]
    cells = [f"<div>{escape(head)}</div>" for head in heads]
    for name, field in found.fields.items():
        cells.append(_image(encode_map(colours(field.sqrt())), f"{_short(name)}: effective receptive field"))
    note = (
        "How much each pixel moves the token in the middle of a block's grid, mean over the pictures: the effective "
        "receptive field. Colours are roots of shares, so that what is faint can be seen."
    )
    return section("Which pixels move the middle token", _grid(heads, cells), note)


def _positions(found: Anatomy) -> str:
    if found.positions is None:
        return ""
    image = _image(encode_map(visualize_positions(found.positions)), "How alike positions are: a small map a patch")
    note = (
        "A small map for each patch, laid out as the patches are: how much its learned position is like each other. "
        "Bright is alike."
    )
    return section("Which positions are alike", f'<div class="wide">{image}</div>', note)


def _grid(heads: Sequence[str], cells: Sequence[str]) -> str:
    return f'<div class="blocks" style="--blocks:{len(heads)}">{"".join(cells)}</div>'


def _image(file: tuple[str, bytes], text: str) -> str:
    return f'<img src="{data_uri(*file)}" alt="{escape(text)}">'


def _short(name: str) -> str:
    return name.removeprefix("encoder.").removesuffix(".attend").removesuffix(".branch").removesuffix(".attention")
