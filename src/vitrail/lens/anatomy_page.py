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
    title: str, found: Anatomy, images: Sequence[tuple[str, UInt8[Tensor, "3 H W"]]], unreadable: Sequence[str] = ()
) -> str:
    """Return the HTML document.

    Args:
        images: (name, image resized and cropped as for the model), in the order of the measures.
        unreadable: sentences about images that could not be read.
    """
    sections = [_distances(found), _components(found, images), _fields(found), _positions(found)]
    notes = (*found.notes, *unreadable)
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        sections.append(section("Not measured", f"<ul>{items}</ul>"))
    count = f"{len(images)} image{'s' if len(images) != 1 else ''}"
    lead = f'<p class="soft">Measured on {count}, as the model sees them.</p>'
    return page(title, lead, [part for part in sections if part], styles=_STYLES)


def distance_rows(found: Anatomy) -> list[tuple[object, ...]]:
    """Header, and a row for each head: the mean attention distance in pixels."""
    rows = [
        (name, head, f"{value:.6g}")
        for name, values in found.distances.items()
        for head, value in enumerate(values.tolist())
    ]
    return [("layer", "head", "attention distance in pixels"), *rows]


def _distances(found: Anatomy) -> str:
    rows = {_short(name): values.tolist() for name, values in found.distances.items()}
    chart = dot_chart(rows, label="Mean attention distance of a head, in pixels", x_label="layer")
    note = (
        "A dot is a head: the mean distance in pixels between a patch and the patches it attends to, weighted by "
        "attention. Heads near the bottom attend to neighbours, heads near the top to the whole image."
    )
    return section("Attention distance of each head", chart, note) if rows else ""


def _components(found: Anatomy, images: Sequence[tuple[str, UInt8[Tensor, "3 H W"]]]) -> str:
    heads = ["image", *map(_short, found.components)]
    cells = [f"<div>{escape(head)}</div>" for head in heads]
    for number, (name, image) in enumerate(images):
        cells.append(_image(encode(enlarge(displayable(image), 96)), name))
        cells += [
            _image(encode_map(visualize_features(maps[number])), f"{name}: {_short(block)}")
            for block, maps in found.components.items()
        ]
    note = (
        "The three directions in which the tokens of a block differ most, as red, green and blue: patches of one "
        "colour are alike to the model. A colour means the same in all images of a column, not in another."
    )
    return section("Principal components of the tokens", _grid(heads, cells), note)


def _fields(found: Anatomy) -> str:
    heads = [_short(name) for name in found.fields]
    cells = [f"<div>{escape(head)}</div>" for head in heads]
    for name, field in found.fields.items():
        cells.append(_image(encode_map(colours(field.sqrt())), f"{_short(name)}: effective receptive field"))
    note = (
        "How much each pixel influences the token in the middle of a block's grid, mean over the images. "
        "Colours are roots of shares, so that faint values can be seen."
    )
    return section("Effective receptive fields", _grid(heads, cells), note)


def _positions(found: Anatomy) -> str:
    if found.positions is None:
        return ""
    text = "Similarity of positions: a small map for each patch"
    image = _image(encode_map(visualize_positions(found.positions)), text)
    note = (
        "A small map for each patch, in the place of the patch: the cosine similarity of its learned position to all "
        "others. Bright is similar."
    )
    return section("Similarity of positions", f'<div class="wide">{image}</div>', note)


def _grid(heads: Sequence[str], cells: Sequence[str]) -> str:
    return f'<div class="blocks" style="--blocks:{len(heads)}">{"".join(cells)}</div>'


def _image(file: tuple[str, bytes], text: str) -> str:
    return f'<img src="{data_uri(*file)}" alt="{escape(text)}">'


def _short(name: str) -> str:
    return name.removeprefix("encoder.").removesuffix(".attend").removesuffix(".branch").removesuffix(".attention")
