"""Every family has a row in the tests and a page, and every page a line in the table of pages."""

import re
from pathlib import Path

from tests.models.test_families import SMALLEST
from vitrail.models.families import families

DOCS = Path(__file__).parents[2] / "docs"


def test_every_family_has_a_smallest_row() -> None:
    rows = {name: {row for row in family.variants if row in SMALLEST} for name, family in families().items()}
    # DINO's backbones and FlexiViT are rows of ViT's config.
    assert [name for name, found in rows.items() if not found] == []


def test_every_family_has_a_page() -> None:
    pages = "".join(page.read_text() for page in [*DOCS.glob("models/*.md"), DOCS / "attention.md"])
    assert [name for name in families() if f"{name}.py" not in pages] == []


def test_the_table_links_every_page_once() -> None:
    table = (DOCS / "models" / "README.md").read_text()
    linked = re.findall(r"^\|.*\]\(([\w./]+\.md)\) \|$", table, re.MULTILINE)
    pages = [page.name for page in (DOCS / "models").glob("*.md") if page.name != "README.md"]
    assert sorted(linked) == sorted([*pages, "../attention.md"])
