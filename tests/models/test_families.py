"""The smallest row of every family: forward, backward, other sizes, channels, compile, export, save, load."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.lens.capture import Look, capture
from vitrail.models.registry import model_config
from vitrail.models.vit import ViTConfig
from vitrail.nn import ATTENDS, HOLDERS, Attend, BaseVisionModel, Tokens, checkpoint_activations, joined

NARROW: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
FEW_WORDS: dict[str, Any] = {"vocab_size": 20, "context_length": 6, "text_dim": 16, "text_depth": 2, "text_heads": 2}
PYRAMID: dict[str, Any] = {"embed_dims": (8, 16, 24, 32), "num_heads": (1, 2, 3, 4), "depths": (1, 2, 1, 1)}
SMALLEST: dict[str, dict[str, Any]] = {
    "vit_tiny_patch32_224": {"image_size": 64, "depth": 2},
    "simple_vit_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "deit_tiny_distilled_patch16_224": {"image_size": 64, "depth": 2},
    "deit3_small_patch16_224": {"image_size": 64, "depth": 2},
    "flexivit_small": {"image_size": 64, "depth": 2},
    "vit_small_patch16_18x2_224": {"image_size": 64, "embed_dim": 48, "depth": 2},
    "compact_tiny_16": {"depth": 2},
    "whitened_small_32": {"stem": ((16, 16), (24, 24)), "embed_dim": 24, "depth": 2, "num_heads": 3},
    "compact_detector_small_128": {"image_size": 32, "stem": ((8, 2), (16, 2)), "pyramid_dim": 16, **NARROW},
    "compact_segmenter_small_128": {"image_size": 32, "stem": ((8, 2), (16, 2)), "dense_dim": 16, **NARROW},
    "compact_depth_small_128": {"image_size": 32, "stem": ((8, 2), (16, 2)), "dense_dim": 16, **NARROW},
    "compact_universal_small_128": {
        "image_size": 32,
        "stem": ((8, 2), (16, 2)),
        "pyramid_dim": 16,
        "dense_dim": 16,
        **NARROW,
    },
    "detr_resnet50": {
        "image_size": 64,
        "depths": (1, 1, 1, 1),
        "embed_dim": 32,
        "depth": 2,
        "decoder_depth": 2,
        "num_queries": 7,
    },
    "dpt_base_384": {
        "image_size": 64,
        "num_classes": 0,
        "embed_dim": 32,
        "depth": 4,
        "num_heads": 2,
        "after": (0, 1, 2, 3),
        "widths": (8, 8, 16, 16),
        "fusion_dim": 16,
    },
    "vit_segmenter_small_patch16_224": {"image_size": 64, "encoder": ViTConfig(**NARROW), "num_classes": 5},
    "vit_depth_small_patch16_224": {
        "image_size": 64,
        "encoder": ViTConfig(**{**NARROW, "depth": 4}),
        "decoder": "dpt",
        "fusion_dim": 8,
    },
    "lit_vit_small_patch16_224": {
        "image_size": 64,
        "encoder": ViTConfig(**NARROW),
        "joint_dim": 16,
        "text_dim": 16,
        "text_depth": 1,
    },
    "universal_vit_tiny_patch16_224": {"image_size": 64, "depth": 2, "decoder_depth": 2, "dense_dim": 8},
    "adaptive_vit_tiny_patch16_224": {"image_size": 64, "depth": 2, "patch_size": 8, "threshold": 0.9},
    "vit_giant_patch14_reg4_dinov2": {"image_size": 64, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "beit_base_patch16_224": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "beit_base_patch16_224_pretraining": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "vit_small_plus_patch16_dinov3_qkvb": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "eva02_base_patch16_clip_224": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "vit_small_patch16_rope_mixed_ape_224": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "mae_vit_base_patch16": {
        "image_size": 64,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "decoder_dim": 32,
        "decoder_depth": 1,
        "decoder_heads": 2,
    },
    "dino_vits16_pretraining": {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "hidden_dim": 64},
    "swin_tiny_patch4_window7_224": {"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)},
    "cait_xxs24_224": {"image_size": 64, "embed_dim": 48, "depth": 2},
    "levit_128s": {"image_size": 64, "embed_dims": (32, 48, 64), "depths": (1, 2, 1), "num_heads": (2, 3, 4)},
    "swinv2_tiny_window8_256": {"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)},
    "mixer_s32_224": {"image_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2},
    "convnext_atto": {"image_size": 64, "embed_dim": 16, "depths": (1, 2)},
    "convnextv2_atto": {"image_size": 64, "embed_dim": 16, "depths": (1, 2)},
    "compact_video_small_64": {"image_size": 32, "stem": (8,), "embed_dim": 24, "depth": 2},
    "videomae_small_patch16_224_pretraining": {
        "image_size": 32,
        "patch_size": 8,
        "num_frames": 4,
        "embed_dim": 48,
        "depth": 2,
        "decoder_dim": 24,
        "decoder_depth": 1,
    },
    "videomae_small_patch16_224": {"image_size": 32, "num_frames": 4, "embed_dim": 48, "depth": 2},
    "vit_base_patch32_clip_224": {"image_size": 64, **NARROW},
    "vit_base_patch16_siglip_224": {"image_size": 64, **NARROW},
    "compact_clip_tiny_32": {"embed_dim": 24, "depth": 2, "num_heads": 3, "joint_dim": 16, **FEW_WORDS},
    "clip_vit_base_patch32": {"image_size": 64, "joint_dim": 16, **NARROW, **FEW_WORDS},
    "siglip_base_patch16_224": {"image_size": 64, **NARROW, **FEW_WORDS},
    "vit_tiny_r_s16_p8_224": {"image_size": 64, "backbone_depths": (1, 1), "patch_size": 2, "depth": 2},
    "mobilenet_v3_small": {"image_size": 64},
    "vit_base_patch16_reg4_gap_256": {"image_size": 64, **NARROW},
    "vitc_1gf": {"image_size": 64, "stem": ((8, 2), (16, 2), (32, 2)), "embed_dim": 48, "depth": 2},
    "cvt_13_224": {"image_size": 64, "embed_dims": (8, 16, 24), "num_heads": (1, 2, 3), "depths": (1, 2, 2)},
    "pvt_tiny_224": {"image_size": 64, **PYRAMID},
    "pvt_v2_b0": {"image_size": 64, **PYRAMID},
    "pvt_v2_b2_li": {"image_size": 64, **PYRAMID},
    "mit_b0": {"image_size": 64, **PYRAMID},
    "segformer_b0": {"image_size": 64, "decoder_dim": 16, **PYRAMID},
    "timesformer_base_patch16_224": {"image_size": 32, "num_frames": 4, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "timesformer_joint_patch16_224": {"image_size": 32, "num_frames": 4, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "timesformer_space_patch16_224": {"image_size": 32, "num_frames": 4, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "vit_local_tiny_patch16_224": {"image_size": 64, "depth": 2, "window_size": 3},
    "vit_neighbourhood_tiny_patch16_224": {"image_size": 64, "depth": 2, "window_size": 3},
    "vit_axial_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_strided_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_sparse_tiny_patch16_224": {"image_size": 64, "depth": 2, "block_size": 2},
    "vit_linear_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_performer_tiny_patch16_224": {"image_size": 64, "depth": 2, "num_features": 32},
    "vit_relative_tiny_patch16_224": {"image_size": 64, "depth": 2},
}
# How many tokens there are hangs on what is in the pictures: no graph of fixed shapes can say that.
DATA_DEPENDENT = {"adaptive_vit_tiny_patch16_224"}
# What takes seconds each is done for some of them in `make test`, and for all in `make test-all`.
SOME = ["vit_tiny_patch32_224", "swin_tiny_patch4_window7_224", "pvt_v2_b0", "levit_128s", "detr_resnet50"]
OTHERS = [name for name in SMALLEST if name not in SOME and name not in DATA_DEPENDENT]
# Families whose weights belong to one image size, and why: built for another, they take that one.
FIXED_SIZE = {"mixer_s32_224": "the MLP along the tokens has a weight for each place"}
ROWS = pytest.mark.parametrize("name", SMALLEST)


def build(name: str, **overrides: Any) -> BaseVisionModel:
    """A small model of a family; rates that it has no field for are left out."""
    fields = {field.name for field in dataclasses.fields(model_config(name))}
    rates = {key: value for key, value in overrides.items() if key not in ("drop_path", "dropout") or key in fields}
    classes = {"num_classes": 5} if "num_classes" in fields else {}
    return vitrail.create_model(name, **{**classes, **SMALLEST[name], **rates})


def inputs(model: BaseVisionModel, batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Random pixels, and random words where the model takes texts, or what hides patches where it does."""
    pixels, *rest = model.config.example_inputs(batch)
    if hasattr(model.config, "vocab_size"):
        rest = [words.random_(model.config.vocab_size) for words in rest]
    if model.config.task.name in ("reconstruction", "masked-image-modelling"):
        rest = [hidden.bernoulli_(0.5) for hidden in rest]
    return (pixels.normal_(), *rest)


def first(given: tuple[torch.Tensor, ...], model: BaseVisionModel) -> tuple[torch.Tensor, ...]:
    """The first sample of a batch. Texts are a batch of their own, of which every picture meets all."""
    pixels, *rest = given
    return (pixels[:1], *(more if model.config.task.name == "image-text" else more[:1] for more in rest))


def frames_of(model: BaseVisionModel, count: int) -> BaseVisionModel:
    """The same model of a family of videos, built for another number of frames."""
    return dataclasses.replace(model.config, num_frames=count).build().eval()


def numbers(output: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


def assert_close(output: Any, expected: Any) -> None:
    for mine, other in zip(numbers(output), numbers(expected), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@ROWS
def test_forward_and_backward_reach_every_parameter(name: str) -> None:
    model = build(name, drop_path=0.3, dropout=0.1)
    output = model(*inputs(model, batch=8))
    assert all(len(leaf) == 8 for leaf in numbers(output))
    if model.config.task.name == "classification":
        assert joined(output).shape == (8, 5)
    sum((leaf * torch.randn_like(leaf)).sum() for leaf in numbers(output)).backward()
    assert not [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]


@ROWS
def test_a_batch_of_one_and_the_features(name: str) -> None:
    model = build(name).eval()
    given = inputs(model, batch=2)
    with torch.no_grad():
        both, one = model(*given), model(*first(given, model))
    for two, single in zip(numbers(both), numbers(one), strict=True):
        assert two[:1].shape == single.shape
    assert_close([leaf[:1] for leaf in numbers(both)], one)
    assert numbers(model.forward_features(given[0]))


@ROWS
@pytest.mark.parametrize("size", [(64, 96), (32, 160)])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_sizes_and_channels(name: str, size: tuple[int, int], channels: int) -> None:
    model, another = (build(name, in_channels=channels, **more).eval() for more in ({}, {"image_size": size}))
    given = inputs(another)
    outputs = [another(*given)]
    with torch.no_grad():
        assert_close([leaf[:1] for leaf in numbers(outputs[0])], another(*first(given, another)))
    if name in FIXED_SIZE:
        with pytest.raises(ValueError, match="resize"):
            model(*given)
    else:
        outputs.append(model(*given))
    for output in outputs:
        assert all(len(leaf) == 2 and torch.isfinite(leaf).all() for leaf in numbers(output))
        if model.config.task.name == "classification":
            assert joined(output).shape == (2, 5)


@ROWS
def test_a_tiny_picture_works_or_is_refused_in_words(name: str) -> None:
    model = build(name).eval()
    for size in [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (15, 15), (31, 31), (5, 224)]:
        pixels, *rest = inputs(model, batch=1)
        refused = []
        try:
            output = numbers(model(torch.randn(*pixels.shape[:-2], *size), *rest))
        except ValueError as error:
            refused, output = [str(error)], []
        assert all(torch.isfinite(leaf).all() for leaf in output)
        assert output or re.search(r"\d×\d.*: (resize|give|use)", refused[0])


@pytest.mark.parametrize(
    "name", [name for name in SMALLEST if model_config(name).frames and model_config(name).num_outputs]
)
@pytest.mark.parametrize("frames", [2, 12])
def test_other_numbers_of_frames(name: str, frames: int) -> None:
    model = build(name).eval()
    another = frames_of(model, frames)
    given = inputs(another)
    assert model(*given).shape == another(*given).shape == (2, 5)


@pytest.mark.exhaustive
@pytest.mark.parametrize("names", [SOME, OTHERS], ids=["some", "others"])
def test_compiles_as_one_graph(names: list[str]) -> None:
    rows = json.dumps(list(names))
    subprocess.run([sys.executable, "-m", "tests.models.compiled", rows], check=True, cwd=Path(__file__).parents[2])


EXPORTED = ("vit_tiny_patch32_224", "swin_tiny_patch4_window7_224")


@pytest.mark.parametrize(
    "name",
    [name if name in EXPORTED else pytest.param(name, marks=pytest.mark.exhaustive) for name in [*SOME, *OTHERS]],
)
def test_exports_with_any_batch(name: str) -> None:
    model = build(name).eval()
    given = inputs(model)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, given, dynamic_shapes=tuple({0: batch} for _ in given)).module()
    more = inputs(model, batch=5)
    with torch.no_grad():
        assert_close(exported(*more), model(*more))


@ROWS
def test_checkpointed_activations_give_the_same_gradients(name: str) -> None:
    model = build(name)
    given = inputs(model)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        torch.manual_seed(0)  # for dropout
        sum(leaf.square().mean() for leaf in numbers(model(*given))).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad])
        checkpoint_activations(model)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@ROWS
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    model = build(name).eval()
    names = tuple("abcde") if model.config.task.name == "classification" else ()
    save(Checkpoint(model, names, Preprocess()), tmp_path / "x")
    given = inputs(model)
    again = load(tmp_path / "x").model
    assert all(torch.equal(a, b) for a, b in zip(numbers(again(*given)), numbers(model(*given)), strict=True))


@ROWS
def test_features_of_every_block_and_attention_where_there_is_some(name: str) -> None:
    model = build(name).eval()
    blocks = [
        f"{holder}.blocks.{index}"
        for holder, module in model.named_modules()
        if isinstance(module, HOLDERS)
        for index in range(len(module.blocks))
    ]
    given = inputs(model)
    with vitrail.observe_features(model, *blocks) as seen, torch.no_grad():
        model(*given)
    assert all(isinstance(tokens, Tokens) for tokens in seen.values())
    assert set(seen) == set(blocks)
    if any(isinstance(module, ATTENDS) for module in model.modules()):
        with vitrail.observe_attention(model) as weights, capture(model) as looks, torch.no_grad():
            model(*given)
        assert list(weights) == list(looks)
        for layer, look in looks.items():
            explicit = explicit_weights(look)
            if explicit is not None:
                torch.testing.assert_close(weights[layer].double(), explicit, rtol=0, atol=1e-6)
            torch.testing.assert_close(weights[layer] @ look.given.v, look.output, rtol=1e-5, atol=1e-5)


def explicit_weights(look: Look) -> Tensor | None:
    """softmax(q kᵀ / √d + bias) in float64; None where heads talk to each other."""
    if not isinstance(look.attend, Attend):
        return None
    q, k, bias = look.given.q.double(), look.given.k.double(), look.given.dense_bias()
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / q.shape[-1] ** 0.5
    exp = (scores if bias is None else scores + bias.double()).exp()
    return exp / exp.sum(dim=-1, keepdim=True)


@ROWS
def test_the_config_rebuilds_the_model(name: str) -> None:
    model = build(name)
    again = model.config.build()
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
