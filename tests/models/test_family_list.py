"""Every family has a row in the tests and a page, whose first line says what is new."""

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


def test_every_page_begins_with_a_title_and_what_is_new() -> None:
    pages = {page.name: page.read_text() for page in (DOCS / "models").glob("*.md") if page.name != "README.md"}
    assert [name for name, text in pages.items() if not re.match(r"# .+\n\n> [A-Z].+\.\n\n", text)] == []


def test_the_links_between_pages_lead_somewhere() -> None:
    for page in (DOCS / "models").glob("*.md"):
        linked = re.findall(r"\]\(([\w./]+\.md)", page.read_text())
        assert [link for link in linked if not (page.parent / link).is_file()] == [], page.name
