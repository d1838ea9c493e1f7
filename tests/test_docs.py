"""Every Python block of README.md and docs runs, in the order of its page, on small images and models made here.

A block with the comment `<!-- not run: reason -->` before it is only compiled, and so is one with
`<!-- needs: MODULE ... -->` if one of these is not installed. Pages with many runs are `exhaustive`.
"""

import math
import re
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

import vitrail
import vitrail.nn
from vitrail.checkpoint.contract import Checkpoint
from vitrail.models import families, parts
from vitrail.objectives import registry
from vitrail.rewrites import registry as rewrites
from vitrail.training import run as training

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- (not run|needs): ([^>]+) -->\n\n?)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SLOW = ("README.md", "docs/deploy.md", "docs/python.md", "docs/tasks.md")
_APART = ("docs/deploy.md",)
"""Pages that run in a process of their own: torch.compile takes no functions whose types are checked at run time."""
_NAMES = ("cat", "dog", "tulip")


@dataclass(frozen=True)
class Block:
    """A block of code: the line of its page that it begins in, its text, and whether it runs."""

    line: int
    code: str
    runs: bool


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = _BLOCK.finditer(text)
    return [Block(text.count("\n", 0, each.start(3)) + 1, each[3], _runs(each[1], each[2])) for each in found]


def _runs(kind: str | None, details: str | None) -> bool:
    if kind == "needs":
        return all(find_spec(module) for module in (details or "").split())
    return kind is None


def small_vit(**changes: Any) -> nn.Module:
    """A ViT of four blocks for 32 pixels."""
    sizes = {"image_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3, "num_classes": 3}
    return vitrail.create_model("vit_tiny_patch16_224", **(sizes | changes)).eval()


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (18, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages name: class folders `flowers/`, images without labels, a table of numbers, checkpoints."""
    root = tmp_path_factory.mktemp("prepared")
    torch.manual_seed(0)
    for row, name in enumerate(_NAMES):
        for number in range(8):
            write_image(root / "flowers" / name / f"{number}.png", 10 * row + number)
    for number in range(12):
        write_image(root / "photos" / f"{number}.png", 100 + number)
    rows = [f"photos/{number}.png,{number + 0.5},{number / 8}" for number in range(12)]
    (root / "houses.csv").write_text("\n".join(["path,price,area", *rows]) + "\n")
    write_image(root / "tulip.jpg", 99)
    preprocess = vitrail.Preprocess(image_size=(32, 32))
    vitrail.save(Checkpoint(small_vit(), _NAMES, preprocess), root / "runs" / "flowers")
    return root


@pytest.fixture
def space(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that blocks begin with, in a folder of their own; what they register is forgotten afterwards."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(families, "_registered", {})
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(rewrites, "REWRITES", dict(rewrites.REWRITES))
    monkeypatch.setattr(training, "outline", lambda *plan: "")  # tracing the memory of a step takes longer than the run
    module = ModuleType("docs_page")  # dataclasses look for the module of a class
    monkeypatch.setitem(sys.modules, "docs_page", module)
    torch.manual_seed(0)
    with torch.random.fork_rng():
        yield vars(module)


def common_names() -> dict[str, Any]:
    """Images, a model, and the sizes of its parts, as the pages call them."""
    pixels = torch.randn(2, 3, 32, 32)
    model = small_vit()
    dim, heads = 48, 3
    return {
        **{name: vars(vitrail.nn)[name] for name in vitrail.nn.__all__},
        **{name: value for name, value in vars(parts).items() if not name.startswith("_")},
        "vitrail": vitrail,
        "torch": torch,
        "torchvision": torchvision,
        "nn": nn,
        "F": F,
        "math": math,
        "partial": partial,
        "OrderedDict": OrderedDict,
        "dataclass": dataclass,
        "model": model,
        "pixels": pixels,
        "other_pixels": torch.randn(2, 3, 32, 32),
        "classes": torch.tensor([0, 2]),
        "image": torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8),
        "pil_image": Image.new("RGB", (50, 40), "green"),
        "dim": dim,
        "heads": heads,
        "config": model.config,
        "tokens": model.embed(pixels),
        "grid": (4, 4),
        "rate": 0.1,
    }


def pages() -> list[Any]:
    """The pages with Python blocks."""
    slow = pytest.mark.exhaustive
    named = {page_name(page): page for page in PAGES if blocks(page)}
    return [pytest.param(page, id=name, marks=slow if name in _SLOW else ()) for name, page in named.items()]


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", pages())
def test_the_blocks_of_a_page_run(page: Path, space: dict[str, Any]) -> None:
    if page_name(page) in _APART:
        subprocess.run([sys.executable, __file__, page], check=True)
    else:
        run_page(page, space)


def run_page(page: Path, space: dict[str, Any]) -> None:
    """Run the blocks of a page, which see the common names."""
    space.update(common_names(), __name__="docs_page")
    for block in blocks(page):
        code = compile("\n" * (block.line - 1) + block.code, page_name(page), "exec")
        if block.runs:
            exec(code, space)


if __name__ == "__main__":
    torch.manual_seed(0)
    run_page(Path(sys.argv[1]), {})
