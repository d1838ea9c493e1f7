"""transformers, torchvision and the official .npz layout against ours, all parameters random."""

from typing import Any

import pytest
import torch
import torchvision
import transformers
from torch import Tensor, nn

import vitrail
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.vit import ViTConfig

from .references import assert_same, loaded, randomise, timm_twin

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 48,
    "patch_size": 16,
    "num_labels": 9,
}
OURS: dict[str, Any] = {
    "image_size": 48,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "num_classes": 9,
}


@pytest.mark.parametrize("eps", [1e-12, 1e-2])
def test_transformers_vit(eps: float) -> None:
    config = transformers.ViTConfig(**SIZES, layer_norm_eps=eps)
    theirs = randomise(transformers.ViTForImageClassification(config))
    ours = loaded(ViTConfig(**OURS, norm_eps=eps), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def test_transformers_deit_with_teacher() -> None:
    theirs = randomise(transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**SIZES)))
    ours = loaded(DistilledDeiTConfig(**OURS, norm_eps=1e-12), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def test_transformers_positions_at_another_size() -> None:
    theirs = randomise(transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES)))
    ours = loaded(ViTConfig(**OURS, norm_eps=1e-12, position_antialias=False), theirs)
    pixels = torch.randn(1, 3, 80, 64)
    with torch.no_grad():
        there = theirs(pixels, interpolate_pos_encoding=True).logits
        assert (ours(pixels) - there).abs().max() < 1e-5


def test_torchvision() -> None:
    theirs = randomise(torchvision.models.VisionTransformer(48, 16, 2, 4, 64, 128, num_classes=9))
    ours = loaded(ViTConfig(**OURS), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def flax_vit(arrays: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The official model from the paper, on the official arrays: NHWC pictures, (in, out) kernels."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / (var + 1e-6).sqrt() * arrays[f"{name}/scale"] + arrays[f"{name}/bias"]

    image = pixels.permute(0, 2, 3, 1).unfold(1, 16, 16).unfold(2, 16, 16)  # B rows columns C h w
    x = torch.einsum("brcihw,hwid->brcd", image, arrays["embedding/kernel"]) + arrays["embedding/bias"]
    x = torch.cat([arrays["cls"].expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
    x = x + arrays["Transformer/posembed_input/pos_embedding"]
    for block in range(2):
        root = f"Transformer/encoderblock_{block}"
        attention = f"{root}/MultiHeadDotProductAttention_1"
        y = norm(x, f"{root}/LayerNorm_0")
        q, k, v = (
            torch.einsum("bnd,dhe->bhne", y, arrays[f"{attention}/{part}/kernel"])
            + arrays[f"{attention}/{part}/bias"].unsqueeze(1)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + torch.einsum("bhne,hed->bnd", weights @ v, arrays[f"{attention}/out/kernel"])
        x = x + arrays[f"{attention}/out/bias"]
        y = norm(x, f"{root}/LayerNorm_2") @ arrays[f"{root}/MlpBlock_3/Dense_0/kernel"]
        y = nn.functional.gelu(y + arrays[f"{root}/MlpBlock_3/Dense_0/bias"])
        x = x + y @ arrays[f"{root}/MlpBlock_3/Dense_1/kernel"] + arrays[f"{root}/MlpBlock_3/Dense_1/bias"]
    return norm(x, "Transformer/encoder_norm")[:, 0] @ arrays["head/kernel"] + arrays["head/bias"]


def flax_arrays(dim: int = 64, heads: int = 4, classes: int = 9) -> dict[str, Tensor]:
    """Random arrays of the official names and shapes, double precision."""
    size = dim // heads
    shapes: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, dim),
        "embedding/kernel": (16, 16, 3, dim),
        "embedding/bias": (dim,),
        "Transformer/posembed_input/pos_embedding": (1, 10, dim),
        "Transformer/encoder_norm/scale": (dim,),
        "Transformer/encoder_norm/bias": (dim,),
        "head/kernel": (dim, classes),
        "head/bias": (classes,),
    }
    for block in range(2):
        root = f"Transformer/encoderblock_{block}"
        attention = f"{root}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (dim, heads, size)
            shapes[f"{attention}/{part}/bias"] = (heads, size)
        shapes[f"{attention}/out/kernel"] = (heads, size, dim)
        shapes[f"{attention}/out/bias"] = (dim,)
        shapes[f"{root}/MlpBlock_3/Dense_0/kernel"] = (dim, 2 * dim)
        shapes[f"{root}/MlpBlock_3/Dense_0/bias"] = (2 * dim,)
        shapes[f"{root}/MlpBlock_3/Dense_1/kernel"] = (2 * dim, dim)
        shapes[f"{root}/MlpBlock_3/Dense_1/bias"] = (dim,)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes[f"{root}/{norm}/scale"] = shapes[f"{root}/{norm}/bias"] = (dim,)
    return {name: torch.randn(shape, dtype=torch.float64) * 0.2 for name, shape in shapes.items()}


def test_official_npz() -> None:
    arrays = flax_arrays()
    ours = loaded(ViTConfig(**OURS), {name: array.numpy() for name, array in arrays.items()}).double()
    state = vitrail.convert_state_dict(arrays, ours)
    ours.load_state_dict(state)
    pixels = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        assert (ours(pixels) - flax_vit(arrays, pixels)).abs().max() < 1e-10


def test_official_deit_is_timms_layout_in_an_envelope() -> None:
    config = DistilledDeiTConfig(**OURS)
    theirs = randomise(timm_twin(config))
    ours = loaded(config, {"model": theirs.state_dict()})
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def test_official_deit3_calls_its_scales_gamma() -> None:
    config = ViTConfig(**OURS, layer_scale=1e-4, class_position=False)
    theirs = randomise(timm_twin(config))
    state = {
        name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): tensor
        for name, tensor in theirs.state_dict().items()
    }
    assert_same(loaded(config, state), theirs, torch.randn(2, 3, 48, 48))
