"""Observed attention against an explicit computation in plain tensors, and that watching leaves no trace."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vitrail.errors import VitrailError
from vitrail.lens.observe import observe_attention, observe_features
from vitrail.lens.rollout import class_token_map
from vitrail.models.registry import create_model
from vitrail.nn import Attend, Tokens


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", image_size=48, depth=3, num_classes=5, embed_dim=24, num_heads=3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def explicit_weights(model: nn.Module, pixels: Tensor) -> list[Tensor]:
    """Every layer's softmax(q kᵀ / √d), head by head in float64, from the block's own parameters."""
    found = []
    with torch.no_grad():
        tokens = model.embed(pixels)
        for block in model.encoder.blocks:
            attention = block.attention.branch
            normed = block.attention.norm(tokens.x).double()
            qkv = normed @ attention.qkv.weight.double().T + attention.qkv.bias.double()
            q, k, _ = qkv.chunk(3, dim=-1)
            heads = []
            for q_head, k_head in zip(
                q.chunk(attention.num_heads, dim=-1), k.chunk(attention.num_heads, dim=-1), strict=True
            ):
                scores = q_head @ k_head.mT / q_head.shape[-1] ** 0.5
                exp = (scores - scores.amax(-1, keepdim=True)).exp()
                heads.append(exp / exp.sum(-1, keepdim=True))
            found.append(torch.stack(heads, dim=1))
            tokens = block(tokens)
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_weights_equal_the_explicit_computation(vit: nn.Module, pixels: Tensor, training: bool, grad: bool) -> None:
    vit.train(training)
    with observe_attention(vit) as seen, torch.set_grad_enabled(grad):
        vit(pixels)
    assert list(seen) == [0, 1, 2]
    for layer, expected in enumerate(explicit_weights(vit, pixels)):
        assert seen[layer].dtype == torch.float32
        assert not seen[layer].requires_grad
        torch.testing.assert_close(seen[layer].double(), expected, rtol=0, atol=1e-6)


def test_only_what_is_asked(vit: nn.Module, pixels: Tensor) -> None:
    expected = explicit_weights(vit, pixels)
    with observe_attention(vit, layers=[1, "blocks.2"], heads=[2, 0], rows=[0, 7, -1]) as seen:
        vit(pixels)
    assert list(seen) == [1, 2]
    for layer in seen:
        chosen = expected[layer][:, [2, 0]][:, :, [0, 7, -1]]
        torch.testing.assert_close(seen[layer].double(), chosen, rtol=0, atol=1e-6)
        assert seen[layer].untyped_storage().nbytes() == chosen.numel() * 4


def test_prefix_rows_and_layout() -> None:
    model = create_model("deit_tiny_distilled_patch16_224", image_size=(32, 48), depth=2).eval()
    with observe_attention(model, rows="prefix", layers=-1) as seen, torch.inference_mode():
        model(torch.randn(1, 3, 32, 48))
    assert seen[-1].shape == (1, 3, 2, 8)
    assert seen["encoder.blocks.1"] is seen[1] is seen["blocks.1.attention.branch.attend"]
    assert (seen.layout(1).grid, seen.layout(1).prefix) == ((2, 3), 2)
    assert class_token_map(seen[1], *_unpack(seen, 1)).shape == (1, 3, 2, 3)


def _unpack(seen, layer: int) -> tuple[tuple[int, ...], int]:
    return seen.layout(layer).grid, seen.layout(layer).prefix


def test_a_model_without_prefix_tokens() -> None:
    model = create_model("compact_tiny_16", in_channels=1, num_classes=10).eval()
    with observe_attention(model) as seen:
        model(torch.randn(3, 1, 16, 16))
    assert seen[0].shape == (3, 3, 16, 16)
    with observe_attention(model, rows="prefix"), pytest.raises(VitrailError, match="no prefix tokens"):
        model(torch.randn(3, 1, 16, 16))


def test_under_autocast_the_weights_are_float32_of_what_the_layer_was_given(vit: nn.Module, pixels: Tensor) -> None:
    given = []
    handle = vit.encoder.blocks[1].attention.branch.attend.register_forward_pre_hook(
        lambda module, args: given.extend(args[:2])
    )
    with observe_attention(vit, layers=1) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        vit(pixels)
    handle.remove()
    q, k = (tensor.double() for tensor in given)
    assert given[0].dtype == torch.bfloat16
    expected = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    assert seen[1].dtype == torch.float32
    torch.testing.assert_close(seen[1].double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (3, 6, 5), (2, 1, 6, 5), (2, 3, 1, 5), (1, 5)])
def test_bias_given_by_keyword_and_in_every_broadcast_shape(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 6, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 7)
    bias = torch.randn(shape)
    bias[..., 1] = -torch.inf
    holder = nn.ModuleDict({"attend": Attend()})
    with observe_attention(holder, heads=[1], rows=[4, 2]) as seen:
        holder["attend"](q, k, v=v, bias=bias)
    expected = (q.double() @ k.double().mT / 2 + bias.double()).softmax(-1)[:, [1]][:, :, [4, 2]]
    torch.testing.assert_close(seen[0].double(), expected, rtol=0, atol=1e-6)
    assert (seen[0][..., 1] == 0).all()


def test_float64_stays_float64(vit: nn.Module, pixels: Tensor) -> None:
    with observe_attention(vit.double()) as seen:
        vit(pixels.double())
    torch.testing.assert_close(seen[0], explicit_weights(vit, pixels.double())[0], rtol=0, atol=1e-12)


def test_a_second_pass_replaces_the_first(vit: nn.Module, pixels: Tensor) -> None:
    with observe_attention(vit) as seen:
        vit(pixels)
        vit(pixels[:1])
    assert seen[0].shape[0] == 1


def test_watching_leaves_no_trace(vit: nn.Module, pixels: Tensor) -> None:
    hooks = lambda: sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in vit.modules())  # noqa: E731
    state, before = list(vit.state_dict()), vit(pixels)
    with observe_attention(vit), observe_features(vit, "blocks.0"):
        assert torch.equal(vit(pixels), before)
        assert hooks() > 0
    assert hooks() == 0
    with pytest.raises(RuntimeError, match="interrupted"), observe_attention(vit), observe_features(vit, "head"):
        raise RuntimeError("interrupted")
    assert hooks() == 0
    assert list(vit.state_dict()) == state
    assert torch.equal(vit(pixels), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 3}, "no layer 3: the model has 3, 0 to 2"),
        ({"layers": "block.2"}, "did you mean encoder.blocks.2"),
        ({"layers": "encoder"}, "holds 3 attentions"),
        ({"layers": "attend"}, "write more of the name"),
        ({"rows": "prefixes"}, "not 'prefixes'"),
    ],
)
def test_unknown_things_are_named(vit: nn.Module, arguments: dict, message: str) -> None:
    with pytest.raises(VitrailError, match=message), observe_attention(vit, **arguments):
        pass


def test_unknown_heads_rows_and_unread_layers_are_named(vit: nn.Module, pixels: Tensor) -> None:
    with observe_attention(vit, heads=3), pytest.raises(VitrailError, match="no head 3: it has 3, 0 to 2"):
        vit(pixels)
    with observe_attention(vit, rows=[10]), pytest.raises(VitrailError, match="no row 10: it has 10"):
        vit(pixels)
    with observe_attention(vit, layers=0) as seen:
        with pytest.raises(VitrailError, match="has not been reached"):
            seen[0]
        with pytest.raises(VitrailError, match="layer 1 is not observed"):
            seen[1]
    with pytest.raises(VitrailError, match="no attention to observe"), observe_attention(nn.Linear(2, 2)):
        pass


def test_features_are_what_the_modules_return(vit: nn.Module, pixels: Tensor) -> None:
    with observe_features(vit, "blocks.0", "encoder.norm", "embed") as seen:
        vit(pixels)
    assert isinstance(seen["blocks.0"], Tokens)
    assert seen["blocks.0"].map.shape == (2, 24, 3, 3)
    assert torch.equal(seen["blocks.0"].x, vit.encoder.blocks[0](vit.embed(pixels)).x)
    assert torch.equal(seen["encoder.norm"], vit.forward_features(pixels).x)
    with pytest.raises(VitrailError, match=r"did you mean encoder\.blocks\.0"), observe_features(vit, "blocks.00"):
        pass


class Largest(TorchDispatchMode):
    """The most numbers in any tensor that is made."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.count = max(self.count, tensor.numel())
        return made


def test_memory_is_that_of_the_class_token_rows() -> None:
    """1,370 tokens: 12 layers of class-token rows are 0.79 MB a picture, where all maps are 1.08 GB."""
    model = create_model("vit_base_patch14_224", image_size=518, depth=2, num_classes=0).eval()
    pixels = torch.randn(1, 3, 518, 518)
    with torch.inference_mode():
        with Largest() as plain:
            model(pixels)
        with Largest() as watched, observe_attention(model, rows="prefix") as seen:
            model(pixels)
    held = sum(weights.untyped_storage().nbytes() for weights in seen.values())
    assert held == 2 * 12 * 1370 * 4
    assert held / 2 * 12 < 2e6  # of the whole model, 12 layers
    assert watched.count == plain.count < 12 * 1370 * 1370
