"""Observe, edit and explain compiled models, and compare with the same models that are not compiled.

A process of its own, for the compiler can't see through the checks of shapes that the other tests run with.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy

import torch
from torch import nn

from vitrail.data.preprocess import Preprocess
from vitrail.lens.attribute import attribute
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.capture import capture
from vitrail.lens.compiled import original
from vitrail.lens.edit import edit_attention, edit_features
from vitrail.lens.explanation import explain_image
from vitrail.lens.measures import effective_receptive_field
from vitrail.lens.observe import observe_attention, observe_features
from vitrail.lens.outputs import gives_classes, image_model
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model

SHAPE = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 2}
IMAGE = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PREPROCESS = Preprocess(image_size=(32, 32), crop=1.0)
PIXELS = PREPROCESS(IMAGE)[None]
EDITS: tuple[Callable[[nn.Module], AbstractContextManager[None]], ...] = (
    lambda model: edit_attention(model, layers=1, heads=0),
    lambda model: edit_attention(model, layers=1, rows="prefix", to="mean"),
    lambda model: edit_features(model, {"embed": lambda tokens: tokens.with_x(tokens.x.flip(1))}),
)


def vit(classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", num_classes=classes, **SHAPE).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def wrapped(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def inside(model: nn.Module) -> nn.Module:
    model.encoder.blocks[1] = torch.compile(model.encoder.blocks[1], backend="eager")
    return model


def seen(model: nn.Module) -> object:
    with (
        observe_attention(model) as weights,
        observe_features(model, "blocks.1") as features,
        capture(model, 1) as looks,
        torch.no_grad(),
    ):
        model(PIXELS)
    assert [weights.layout(layer).prefix for layer in weights] == [1, 1]
    return list(weights.values()), features["blocks.1"].x, [look.weights() for look in looks.values()]


def check(model: nn.Module, compiled: nn.Module) -> None:
    with torch.no_grad():
        before = model(PIXELS)
        torch.testing.assert_close(compiled(PIXELS), before)  # compiled now, without any hook
        torch.testing.assert_close(seen(compiled), seen(model))
        for edit in EDITS:
            with edit(model):
                expected = model(PIXELS)
            with edit(compiled):
                found = compiled(PIXELS)
            assert not torch.allclose(expected, before, atol=1e-3)
            torch.testing.assert_close(found, expected)
        torch.testing.assert_close(compiled(PIXELS), before)
    for name in ("lrp", "generic", "grad_cam", "rollout", "attention"):
        torch.testing.assert_close(attribute(compiled, PIXELS, method=name), METHODS[name](model, PIXELS))
    fields = [effective_receptive_field(each, PIXELS, "blocks.0") for each in (model, compiled)]
    torch.testing.assert_close(fields[1], fields[0])
    explained = [explain_image(Watched("m", each, PREPROCESS), "x", IMAGE) for each in (model, compiled)]
    torch.testing.assert_close(explained[1].maps, explained[0].maps)
    assert torch.equal(explained[1].features, explained[0].features)


for compile_it in (wrapped, in_place, inside):
    check(vit(), compile_it(deepcopy(vit())))
embedding = vit(classes=0)
assert original(wrapped(embedding)) is image_model(wrapped(embedding)) is original(embedding) is embedding
assert gives_classes(wrapped(embedding)) is gives_classes(embedding) is False
