"""Self-contained HTML pages and their elements: no network, light and dark, any width."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from .image import colours, encode, encode_map

_GLASS = ("#2f4b8f", "#5c86c9", "#d9a441", "#a3303f", "#f0d9a0", "#2e6f52", "#d9a441", "#5b3f7a", "#2f4b8f")
MARK = (
    '<svg class="mark" viewBox="0 0 30 30" aria-hidden="true">'
    '<rect width="30" height="30" rx="3" fill="#1c1c1f"/>'
    + "".join(
        f'<rect x="{2 + 9 * (place % 3)}" y="{2 + 9 * (place // 3)}" width="8" height="8" fill="{colour}"/>'
        for place, colour in enumerate(_GLASS)
    )
    + "</svg>"
)


NOWRAP = "\ntd.text:first-child, th.text:first-child { white-space: nowrap; }\n"
"""Styles for pages of wide tables: the first column in one line, so that the table scrolls instead."""


def asset(name: str, package: str = "vitrail.pages") -> str:
    """The text of a file in the folder `assets` of a package."""
    return (files(package) / "assets" / name).read_text(encoding="utf-8")


def page(
    title: str,
    lead: str,
    body: Iterable[str],
    *,
    styles: str = "",
    scripts: Sequence[tuple[str, str]] = (),
    connects: bool = False,
) -> str:
    """A whole document, whose content security policy lets only these scripts run and loads nothing from elsewhere.

    Args:
        title: plain text.
        lead: HTML below the title.
        body: HTML of the sections.
        styles: more CSS.
        scripts: (type, JavaScript or import map) pairs, written into the page in this order; "" for a classic script.
        connects: allow requests to the server of the page.
    """
    parts = list(body)
    nonce = _nonce([title, lead, *parts, *(text for _, text in scripts)])
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(nonce, connects=connects)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="generator" content="vitrail">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>\n<style>\n{asset('page.css')}{styles}</style>\n</head>\n<body>",
            f"<header>{MARK}<div><h1>{escape(title)}</h1>{lead}</div></header>\n<main>",
            *parts,
            "</main>",
            *(f"<script{f' type={kind!r}' if kind else ''} nonce={nonce!r}>{text}</script>" for kind, text in scripts),
            "</body>\n</html>\n",
        ]
    )


def _nonce(parts: Iterable[str]) -> str:
    """A word that names the page's own scripts. As a digest of the page it cannot stand in a text of the page."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode(errors="surrogatepass"))  # names of files that are not UTF-8
    return digest.hexdigest()[:32]


def _policy(nonce: str, *, connects: bool) -> str:
    """Content security policy: a script that a class or file name brings in does not run, whatever fails to escape it.

    The modules that a script with the nonce imports have its nonce.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "connect-src 'self'" if connects else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def section(title: str, body: str, note: str = "") -> str:
    """A titled section; title and note are plain text, the body is HTML."""
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{remark}{body}</section>"


def facts(values: Iterable[tuple[str, str]]) -> str:
    """Names and values as a row of large numbers; plain text. Names such as vit_tiny_patch16 break after a `_`."""
    rows = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value).replace('_', '_<wbr>')}</dd></div>" for name, value in values
    )
    return f'<dl class="facts">{"".join(rows)}</dl>'


def cautions(sentences: Iterable[str]) -> str:
    """Sentences that readers must not miss, as a marked list; plain text."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="cautions">{items}</ul>' if items else ""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, text: int = 1, sortable: bool = False) -> str:
    """A table of plain values; the first `text` columns have text, the others numbers."""
    kind = lambda index: ' class="text"' if index < text else ""  # noqa: E731
    label = lambda name: f'<button type="button">{escape(name)}</button>' if sortable else escape(name)  # noqa: E731
    heads = "".join(f'<th scope="col"{kind(index)}>{label(name)}</th>' for index, name in enumerate(head))
    lines = (
        "<tr>" + "".join(f"<td{kind(index)}>{escape(str(value))}</td>" for index, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    marked = ' class="sortable"' if sortable else ""
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table{marked}>{body}</table></div>'


def data_uri(media: str, content: bytes) -> str:
    """A file as a data URI."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def panes(image: UInt8[Tensor, "3 H W"], values: Tensor | None, label: str, inner: str = "") -> str:
    """An image under a map of its patches; `label` is the text alternative, `inner` more HTML over the image."""
    small = " small" if min(image.shape[1:]) <= 128 else ""
    size = f'width="{image.shape[2]}" height="{image.shape[1]}"'
    shown = f'<img src="{data_uri(*encode(image))}" {size} alt="{escape(label)}">'
    if values is not None:
        shown += f'<img class="map" src="{data_uri(*encode_map(colours(values)))}" alt="">'
    return f'<div class="panes{small}">{shown}{inner}</div>'


def json_script(value: Any) -> str:
    """A JSON value as a script element; nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'
