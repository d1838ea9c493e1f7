"""Ablated heads and patched features, against models that are changed by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.edit import edit_attention, edit_features
from vitrail.lens.observe import observe_attention, observe_features
from vitrail.nn import Tokens

from .attribution.plain import build, pictures, vit

SWIN = ("swin_tiny_patch4_window7_224", {"image_size": 56, "depths": (2, 2), "num_heads": (2, 4), "embed_dim": 16})


def head_columns(model: nn.Module, layer: int, head: int) -> tuple[Tensor, slice]:
    """The columns of the projection that read a head."""
    attention = model.encoder.blocks[layer].attention.branch
    size = attention.project.in_features // attention.num_heads
    return attention.project.weight, slice(head * size, (head + 1) * size)


def test_a_silent_head_is_one_that_the_projection_does_not_read() -> None:
    model, pixels = vit(), pictures()
    other = copy.deepcopy(model)
    for layer, head in ((0, 1), (2, 1), (0, -1), (2, -1)):
        weight, columns = head_columns(other, layer, head % 3)
        with torch.no_grad():
            weight[:, columns] = 0
    with edit_attention(model, layers=[0, "blocks.2"], heads=[1, -1]):
        found = model(pixels)
    torch.testing.assert_close(found, other(pixels), rtol=0, atol=1e-12)
    assert not torch.allclose(found, model(pixels))


@pytest.mark.parametrize("rows", [[0, 4], [-1], "prefix"])
def test_only_the_asked_tokens_go_without_their_head(rows: list[int] | str) -> None:
    model, pixels = vit(), pictures()
    attend = "blocks.1.attention.branch.attend"
    with observe_features(model, attend) as before:
        model(pixels)
    with edit_attention(model, layers=1, heads=2, rows=rows), observe_features(model, attend) as after:
        model(pixels)
    expected = before[attend].clone()
    expected[:, 2, [0] if rows == "prefix" else rows] = 0
    assert torch.equal(after[attend], expected)


def test_a_head_that_tells_every_token_the_same() -> None:
    model, pixels = vit(), pictures()
    attend = "blocks.0.attention.branch.attend"
    with observe_features(model, attend) as before:
        model(pixels)
    with edit_attention(model, layers=0, heads=0, to="mean"), observe_features(model, attend) as after:
        model(pixels)
    mean = before[attend][:, :1].mean(dim=2, keepdim=True).expand_as(before[attend][:, :1])
    torch.testing.assert_close(after[attend], torch.cat([mean, before[attend][:, 1:]], dim=1))


@pytest.mark.parametrize("layer", [0, 1])
def test_tokens_of_the_picture_are_found_in_their_windows(layer: int) -> None:
    model, pixels = build(SWIN[0], **SWIN[1]), pictures(2, 56)
    name = f"encoder.blocks.0.blocks.{layer}.attention.branch"
    rows = [0, 13, 100, 195]
    with observe_features(model, name) as before:
        model(pixels)
    with edit_attention(model, layers=layer, rows=rows), observe_features(model, name) as after:
        model(pixels)
    silent = model.get_submodule(f"{name}.attention").project.bias
    expected = before[name].x.clone()
    expected[:, rows] = silent
    torch.testing.assert_close(after[name].x, expected, rtol=0, atol=1e-12)


def test_features_of_another_picture_carry_its_answer() -> None:
    model, pixels = vit(), pictures(4)
    clean, corrupt = pixels[:2], pixels[2:]
    own = model(corrupt)
    with observe_features(model, "blocks.0", "blocks.2") as seen:
        answer = model(clean)
    with edit_features(model, {"blocks.0": seen["blocks.0"]}):
        assert torch.equal(model(corrupt), answer)
    with edit_features(model, {"blocks.2": seen["blocks.2"]}, rows="prefix"):
        torch.testing.assert_close(model(corrupt), answer, rtol=0, atol=1e-12)
    with edit_features(model, {"blocks.2": seen["blocks.2"]}, rows=range(1, 17)):
        torch.testing.assert_close(model(corrupt), own, rtol=0, atol=1e-12)  # the head reads the class token alone
    assert not torch.allclose(own, answer)


def test_heads_of_another_picture() -> None:
    model, pixels = vit(), pictures(4)
    attend = "blocks.1.attention.branch.attend"
    with observe_features(model, attend) as clean:
        model(pixels[:2])
    with observe_features(model, attend) as own:
        model(pixels[2:])
    with (
        edit_features(model, {attend: clean[attend]}, heads=[0, 2], rows=[3]),
        observe_features(model, attend) as mixed,
    ):
        model(pixels[2:])
    expected = own[attend].clone()
    expected[:, [0, 2], 3] = clean[attend][:, [0, 2], 3]
    assert torch.equal(mixed[attend], expected)


def test_a_function_of_what_the_module_gives() -> None:
    model, pixels = vit(), pictures()

    def without_positions(tokens: Tokens) -> Tokens:
        return tokens.with_x(tokens.x.flip(1))

    with edit_features(model, {"embed": without_positions}), observe_features(model, "encoder") as seen:
        model(pixels)
    tokens = model.embed(pixels)
    torch.testing.assert_close(seen["encoder"].x, model.encoder(tokens.with_x(tokens.x.flip(1))).x)


def test_gradients_pass_and_nothing_is_left_behind() -> None:
    model, pixels = vit().train(), pictures()
    state, before = list(model.state_dict()), model(pixels)
    with (
        edit_attention(model, layers=1, heads=0),
        edit_features(model, {"blocks.0": lambda tokens: tokens}),
        observe_attention(model),
    ):
        model(pixels).sum().backward()
    weight, columns = head_columns(model, 1, 0)
    assert weight.grad is not None
    assert not weight.grad[:, columns].any()
    assert weight.grad.any()
    with (
        pytest.raises(RuntimeError, match="interrupted"),
        edit_attention(model),
        edit_features(model, {"embed": lambda x: x}),
    ):
        raise RuntimeError("interrupted")
    assert not any(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())
    assert list(model.state_dict()) == state
    assert torch.equal(model(pixels), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "median"}, "cannot replace heads by 'median'"),
        ({"layers": 9}, "no layer 9: the model has 3"),
        ({"heads": 3}, "layer 0 has no head 3: it has 3, 0 to 2"),
        ({"rows": [17]}, "layer 0 has no row 17: it has 17, 0 to 16"),
        ({"rows": "class"}, "not 'class'"),
    ],
)
def test_what_cannot_be_silent_is_named(arguments: dict, message: str) -> None:
    model = vit()
    with pytest.raises(VitrailError, match=message), edit_attention(model, **arguments):
        model(pictures())


@pytest.mark.parametrize(
    ("name", "value", "arguments", "message"),
    [
        ("block.0", torch.zeros(1), {}, "did you mean encoder.blocks.0"),
        ("blocks.0", torch.zeros(2, 17, 24), {}, "blocks.0 returns Tokens, not a tensor of shape"),
        (
            "blocks.0",
            lambda tokens: tokens.with_x(tokens.x[:, 1:]),
            {},
            r"which a tensor of shape \(2, 16, 24\) cannot replace",
        ),
        ("head", torch.zeros(2, 7), {}, r"shape \(2, 5\), which a tensor of shape \(2, 7\) cannot replace"),
        ("blocks.0", lambda tokens: tokens, {"heads": 0}, "has no heads to choose"),
        ("blocks.0", lambda tokens: tokens, {"rows": [17]}, "blocks.0 has no row 17"),
        ("blocks.0.mlp.branch.expand", lambda x: x, {"rows": "prefix"}, "ask for rows by number"),
        ("blocks.0.attention.branch.attend", lambda x: x, {"heads": 7}, "no head 7"),
        ("embed.patches.project", lambda x: x, {"rows": [0]}, "which has no rows of tokens"),
    ],
)
def test_what_cannot_be_put_in_is_named(name: str, value, arguments: dict, message: str) -> None:
    model = vit()
    with pytest.raises(VitrailError, match=message), edit_features(model, {name: value}, **arguments):
        model(pictures())
