"""Every family has a row in the tests and a page, whose first line says what is new; and a checkpoint finds its own."""

import re
import subprocess
import sys
from pathlib import Path

import vitrail
from tests.models.test_families import SMALLEST
from vitrail.models.families import families, find_config_class, known_variants

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


def test_every_config_class_is_found_by_its_name() -> None:
    classes = {type(config) for config in known_variants().values()}
    assert {find_config_class(kind.__name__) for kind in classes} == classes


def test_a_checkpoint_imports_its_own_family(tmp_path: Path) -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2)
    vitrail.save(vitrail.Checkpoint(model, ("a", "b"), vitrail.Preprocess(image_size=(32, 32))), tmp_path / "model")
    code = "import sys, vitrail; vitrail.load(sys.argv[1]); print('vitrail.models.swin' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


WITH_COMPILER = {"CNNConfig", "DETRConfig", "DenseViTConfig", "LiTConfig", "RotaryViTConfig", "AttentionViTConfig"}
"""Families that import PyTorch's compiler: by torchvision, for the shapes of what an encoder gives, for random angles
or features."""


def test_no_compiler_is_imported_to_build_a_model_without_weights() -> None:
    """It takes longer than the import of PyTorch, and every command that loads a checkpoint would wait for it."""
    code = (
        "import sys\n"
        "from vitrail.models.families import known_variants\n"
        "from vitrail.nn.init import without_weights\n"
        "kinds = {type(config).__name__: config for config in known_variants().values()}\n"
        "built = [kind for kind in kinds if kind not in sys.argv]\n"
        "before = 'torch._dynamo' in sys.modules\n"
        "with without_weights():\n"
        "    for kind in built: kinds[kind].build()\n"
        "print(len(built) > 30, before, 'torch._dynamo' in sys.modules)"
    )
    words = [sys.executable, "-c", code, *WITH_COMPILER]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True False False\n"
