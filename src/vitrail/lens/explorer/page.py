"""The explorer as one HTML document, for the live server or with all of its data embedded."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from ...errors import VitrailError
from ...pages.html import asset, json_script, page
from ...progress import Track, silent
from ...tables import write_text
from .gallery import Gallery
from .pack import base64_of

SCRIPTS = "explorer"
"""Folder of the JavaScript modules in the assets; `main` is the entry point."""

MOST_BYTES = 4_500_000
"""Largest size of the weights of one view in bytes of base64, so that a page with one view is below 5 MB."""

ALL_BYTES = 45_000_000
"""Largest size of the weights of all views of a page, in bytes of base64; larger pages open slowly."""

MOST_VIEWS = 60

_TITLE = "What the model sees"


def most_bytes(views: int) -> int:
    """Largest size of the weights of each view, in bytes of base64, for a number of views on one page.

    Raises:
        VitrailError: too many views.
    """
    if views > MOST_VIEWS:
        raise VitrailError(
            f"{views:,} views, one for each model and image, are more than the {MOST_VIEWS} that a page holds: name "
            "fewer images, take the first few with --limit, or open them all with vitrail explore"
        )
    return min(MOST_BYTES, ALL_BYTES // views)


def live_page(gallery: Gallery) -> str:
    """Return the document of the live page, which requests all data from `server`."""
    return _document(gallery, [], live=True)


def whole_page(gallery: Gallery, progress: Track = silent) -> str:
    """Return the document with all views embedded, which needs no server and no network.

    Args:
        progress: receives the progress over the views, since attribution methods can be slow.
    """
    parts = []
    for number in progress(range(len(gallery)), len(gallery), "page"):
        view, found = gallery.view(number), [gallery.relevance(number, method) for method in gallery.methods]
        parts.append(_held(f"view-{number}", json_script(view.document)))
        parts.append(_held(f"relevance-{number}", json_script(found)))
        parts += [
            f'<script type="text/plain" id="layer-{number}-{layer}">{base64_of(packed.content)}</script>'
            for layer, packed in enumerate(view.layers)
            if packed.content
        ]
    return _document(gallery, parts, live=False)


def write_page(gallery: Gallery, path: Path, progress: Track = silent) -> int:
    """Write `whole_page` to a file, creating its folder; return its size in bytes."""
    text = whole_page(gallery, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path.stat().st_size


def _document(gallery: Gallery, parts: Sequence[str], *, live: bool) -> str:
    outline = {**gallery.outline(), "live": live}
    without = "This page draws with scripts; without them see the PNGs that vitrail explain writes into a folder."
    lead = f'<p class="soft" id="lead"></p><noscript>{without}</noscript>'
    body = [
        asset(f"{SCRIPTS}/explorer.html", "vitrail.lens"),
        _held("outline", json_script(outline)),
        *parts,
    ]
    scripts = [("importmap", _import_map()), ("module", f'import "{SCRIPTS}/main.js";')]
    styles = asset(f"{SCRIPTS}/explorer.css", "vitrail.lens")
    return page(_TITLE, lead, body, styles=styles, scripts=scripts, connects=live)


def _held(name: str, script: str) -> str:
    return script.replace("<script", f'<script id="{name}"', 1)


def _import_map() -> str:
    """Embed every module under its name, since a page opened from disk cannot load other files."""
    folder = files("vitrail.lens") / "assets" / SCRIPTS
    modules = {
        f"{SCRIPTS}/{script.name}": "data:text/javascript;charset=utf-8,"
        + quote(script.read_text(encoding="utf-8"), safe=" !$&'()*+,-./:;=?@_~[]{}|`^")
        for script in sorted(folder.iterdir(), key=lambda script: script.name)
        if script.name.endswith(".js")
    }
    return json.dumps({"imports": modules})
