"""There is one way to run a model: evaluation and studies call none themselves."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "vitrail"
FILES = sorted(file for room in ("evaluation", "study") for file in (PACKAGE / room).rglob("*.py"))
MODES = {"inference_mode", "no_grad", "set_grad_enabled", "autocast", "amp"}
RUNS = {"model", "forward", "forward_features", "forward_head", "embed_image", "encode_image"}
"""Names that a model is called by."""

UNDER = {"precision", "reduced_precision", "observe_attention", "observe_features", "edit_attention", "edit_features"}
"""Contexts that a model may be called in: the shared rule of precision, and an observed forward."""


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class Walk(ast.NodeVisitor):
    """Lines that set a mode, or call a model outside of the contexts."""

    def __init__(self):
        self.found, self.inside = [], 0

    def visit_With(self, node):
        contexts = {name_of(item.context_expr.func) for item in node.items if isinstance(item.context_expr, ast.Call)}
        self.inside += bool(contexts & UNDER)
        self.generic_visit(node)
        self.inside -= bool(contexts & UNDER)

    def visit_Call(self, node):
        if name_of(node.func) in RUNS and not self.inside:
            self.found.append((node.lineno, name_of(node.func)))
        self.generic_visit(node)

    def visit_Attribute(self, node):
        if node.attr in MODES:
            self.found.append((node.lineno, node.attr))
        self.generic_visit(node)

    def visit_Name(self, node):
        if node.id in MODES:
            self.found.append((node.lineno, node.id))


def walked(source):
    walk = Walk()
    walk.visit(ast.parse(source))
    return walk.found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_model_is_called_beside_the_predictor(file):
    assert walked(file.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "with torch.inference_mode():\n    pass",
        "@no_grad()\ndef f(): pass",
        "with torch.autocast('cpu'): pass",
        "logits = checkpoint.model(pixels)",
        "tokens = model.forward_features(pixels)",
    ],
)
def test_the_walk_finds_what_it_looks_for(source):
    assert walked(source)
    assert not walked("with studied.precision():\n    studied.model(pixels)")
