"""Models with fewer tokens: unchanged where nothing is removed, the papers' counts, training, saving, export."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import vitrail
from tests.models.test_families import SMALLEST, build, inputs, numbers
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.engines.engine import make_engine
from vitrail.errors import VitrailError
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.vit import ViTConfig
from vitrail.nn import BaseVisionModel, LayerScale, MergeSimilar, QKNorm, ReducingResidual, Tokens, mean_keys
from vitrail.rewrites.base import Rewrite
from vitrail.rewrites.inference import for_inference
from vitrail.rewrites.registry import rewrite
from vitrail.rewrites.tokens import FuseTokens, MergeTokens, PruneTokens, Schedule

REDUCED = [
    "vit_tiny_patch32_224",
    "simple_vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "flexivit_small",
    "compact_tiny_16",
    "compact_video_small_64",
    "whitened_small_32",
    "vit_giant_patch14_reg4_dinov2",
    "beit_base_patch16_224",
    "vit_small_plus_patch16_dinov3_qkvb",
    "eva02_base_patch16_clip_224",
    "vit_small_patch16_rope_mixed_ape_224",
    "dino_vits16_pretraining",
    "videomae_small_patch16_224",
    "vit_base_patch32_clip_224",
    "vit_base_patch16_siglip_224",
    "vit_tiny_r_s16_p8_224",
    "vit_base_patch16_reg4_gap_256",
    "vitc_1gf",
    "timesformer_joint_patch16_224",
    "vit_relative_tiny_patch16_224",
]
NOTHING: list[Rewrite] = [
    *(MergeTokens(0, schedule) for schedule in get_args(Schedule)),
    *(PruneTokens(1.0), FuseTokens(1.0)),
]
SOMETHING: list[Rewrite] = [MergeTokens(r=2), PruneTokens(keep=0.6), FuseTokens(keep=0.6, blocks=(0,))]
TINY: dict[str, Any] = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_classes": 5}


def drawn(model: BaseVisionModel) -> BaseVisionModel:
    """The model in float64, with every parameter drawn."""
    for parameter in model.double().eval().parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def tiny(**changed: Any) -> BaseVisionModel:
    torch.manual_seed(0)
    return drawn(ViTConfig(**{**TINY, "depth": 4, **changed}).build())


def pixels(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 32, 32, dtype=torch.float64)


def counts(model: BaseVisionModel, given: Tensor) -> list[int]:
    """Number of patches after each block."""
    seen: list[int] = []

    def note(block: nn.Module, args: Any, out: Tokens) -> None:
        seen.append(out.patches.shape[1])

    hooks = [block.register_forward_hook(note) for block in model.encoder.blocks]
    with torch.no_grad():
        model(given)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", REDUCED)
def test_where_nothing_is_removed_the_outputs_are_the_same_to_the_bit(name: str) -> None:
    model = drawn(build(name))
    given = [tensor.double() for tensor in inputs(model)]
    with torch.no_grad():
        expected = numbers(model(*given))
        for change in NOTHING:
            found = numbers(rewrite(model, change)(*given))
            assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), change


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("change", SOMETHING)
def test_it_is_saved_and_loaded_and_differs(name: str, change: Rewrite, tmp_path: Path) -> None:
    model = drawn(build(name)).float()
    given = inputs(model)
    reduced = rewrite(model, change)
    assert list(reduced.state_dict()) == list(model.state_dict())
    save(Checkpoint(reduced, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x").model
    assert again.rewrites == (change,)
    with torch.no_grad():
        expected, found, whole = (numbers(each(*given)) for each in (reduced, again, model))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(found, whole, strict=True))


@pytest.mark.parametrize("name", sorted({*SMALLEST} - {*REDUCED}))
def test_others_are_refused_in_a_sentence(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    with pytest.raises(VitrailError, match="needs all patches, so its tokens cannot be reduced: choose"):
        MergeTokens()(model)


def test_the_numbers_of_tokens() -> None:
    model, given = tiny(), pixels()
    assert counts(rewrite(model, MergeTokens(r=3)), given) == [13, 10, 7, 4]
    assert counts(rewrite(model, MergeTokens(r=100)), given) == [8, 4, 2, 1]
    assert counts(rewrite(model, MergeTokens(r=3, schedule="decreasing")), given) == [10, 6, 4, 4]
    assert MergeTokens(r=8, schedule="decreasing").schedule_of(12) == (16, 14, 13, 11, 10, 8, 7, 5, 4, 2, 1, 0)
    assert counts(rewrite(model, MergeTokens(r=3, schedule="alternating")), given) == [10, 10, 5, 5]
    assert counts(rewrite(model, PruneTokens(0.7)), given) == [16, 12, 9, 7]
    assert counts(rewrite(model, FuseTokens(0.7)), given) == [16, 13, 11, 9]
    assert counts(rewrite(model, PruneTokens(0.01, (2,))), given) == [16, 16, 1, 1]
    assert counts(rewrite(tiny(depth=12), PruneTokens(0.5)), given)[2::3] == [16, 8, 4, 2]


@pytest.mark.parametrize("pool", ["class", "mean", "both", "attention", "multi_head"])
def test_merging_equal_tokens_is_exact(pool: str) -> None:
    """Proportional attention, in blocks and pools, is exact for equal tokens: a plain image without positions."""
    model = tiny(pool=pool, positions="none", class_position=False, layer_scale=0.5)
    given = torch.randn(2, 3, 1, 1, dtype=torch.float64).expand(-1, -1, 32, 32)
    with torch.no_grad():
        expected = model(given)
        for r in (1, 3, 8):
            reduced = rewrite(model, MergeTokens(r=r))
            torch.testing.assert_close(reduced(given), expected, rtol=0, atol=1e-10)
            torch.testing.assert_close(reduced.embed_images(given), model.embed_images(given), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [PruneTokens, FuseTokens])
def test_class_and_distillation_token_choose_and_stay(kind: Any) -> None:
    torch.manual_seed(0)
    model = drawn(DistilledDeiTConfig(**TINY, depth=3).build())
    given = pixels()
    with vitrail.observe_attention(model) as seen, torch.no_grad():
        model(given)
    scores = seen[1][:, :, :2, 2:].mean(dim=(1, 2))
    reduced = rewrite(model, kind(keep=0.5, blocks=(1,)))
    with torch.no_grad():
        tokens = reduced.forward_features(given)
    assert tokens.prefix == 2
    assert tokens.index[:, :8].tolist() == scores.topk(8).indices.sort().values.tolist()


def test_models_that_read_their_patches_score_by_the_mean_of_their_queries() -> None:
    model = tiny(pool="mean")
    given = pixels()
    found = []
    attend = model.get_submodule("encoder.blocks.1.attention.branch.attend")
    attend.register_forward_pre_hook(lambda module, args: found.append(args))
    with torch.no_grad():
        tokens = rewrite(model, PruneTokens(keep=0.5, blocks=(1,))).forward_features(given)
        model(given)
    q, k = found[0][0], found[0][1]
    row = (q[:, :, 1:].mean(2, keepdim=True) @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(-1)
    scores = row.mean(dim=(1, 2))[:, 1:]
    assert tokens.index.tolist() == scores.topk(8).indices.sort().values.tolist()


def test_query_and_key_norms() -> None:
    model = tiny()
    for block in model.encoder.blocks:
        block.attention.branch.refine = QKNorm(nn.LayerNorm(16).double(), nn.LayerNorm(16).double())
    with torch.no_grad():
        given = pixels()
        assert torch.equal(rewrite(model, MergeTokens(r=0))(given), model(given))
    assert counts(rewrite(model, FuseTokens()), given)[-1] == 9


@pytest.mark.parametrize("change", SOMETHING)
def test_every_parameter_is_trained(change: Rewrite) -> None:
    model = rewrite(tiny(drop_path=0.5, layer_scale=0.1), change).train()
    model(pixels(4)).square().sum().backward()
    assert not [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum()]


def test_stochastic_depth_is_exact_in_expectation() -> None:
    """A block that is left out in training has the branch scaled by batch / kept for the others, as in `DropPath`."""
    model = rewrite(tiny(depth=1, drop_path=0.0), MergeTokens(r=0))
    (residual,) = [module for module in model.modules() if isinstance(module, ReducingResidual)]
    stream, part = torch.randn(2, 4, 3, 2, dtype=torch.float64).unbind(0)
    residual.drop_path.rate = 0.5
    residual.drop_path.train()
    found = residual.drop_path.add(stream, part) - stream
    kept = found.abs().sum(dim=(1, 2)) > 0
    assert kept.sum() == 2
    torch.testing.assert_close(found[kept], 2 * part[kept])
    residual.drop_path.eval()
    assert torch.equal(residual.drop_path.add(stream, part), stream + part)


def test_layer_scales_are_folded_in_a_reduced_model_too() -> None:
    model, given = rewrite(tiny(layer_scale=0.3), MergeTokens(r=2)), pixels()
    folded = rewrite(model, "fold_layer_scale")
    assert not any(isinstance(module, LayerScale) for module in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(given), model(given), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", REDUCED)
def test_what_engines_run_is_the_same(name: str) -> None:
    """The exact rewrites of inference know merged and removed tokens, baked positions too."""
    whole = drawn(build(name))
    given = [tensor.double() for tensor in inputs(whole)]
    size = (given[0].shape[-2], given[0].shape[-1])
    for change in (MergeTokens(r=2), PruneTokens(keep=0.6, blocks=(0,)), FuseTokens(keep=0.6)):
        model = rewrite(whole, change)
        with torch.no_grad():
            expected, found = numbers(model(*given)), numbers(for_inference(model, image_size=size)(*given))
            scaled = numbers(rewrite(model, "fold_query_scale")(*given))
        for wanted, mine, other in zip(expected, found, scaled, strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(other, wanted, rtol=1e-9, atol=1e-9)


def test_export_with_a_free_batch() -> None:
    model = rewrite(tiny(depth=2), MergeTokens(r=3))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (pixels(2),), dynamic_shapes={"pixels": {0: batch}})
    with torch.no_grad():
        for given in (pixels(1), pixels(5)):
            torch.testing.assert_close(program.module()(given), model(given), rtol=0, atol=1e-10)


def test_wrong_options() -> None:
    model = tiny()
    for change, message in (
        (lambda: PruneTokens(keep=0.0), "prune_tokens.keep is 0.0: it needs to be more than 0, at most 1"),
        (lambda: FuseTokens(keep=1.5), "fuse_tokens.keep is 1.5"),
        (lambda: PruneTokens(blocks=(-1,)), "prune_tokens.blocks is -1: blocks are counted from 0"),
        (lambda: MergeTokens(r=-1), "merge_tokens.r is -1"),
        (lambda: MergeTokens(schedule="falling"), "use constant, decreasing, alternating"),
        (lambda: rewrite(model, PruneTokens(blocks=(4,))), "no block 4: this model has 4, counted from 0"),
        (lambda: rewrite(rewrite(model, "merge_tokens"), "prune_tokens"), "reduced already"),
    ):
        with pytest.raises(VitrailError, match=message):
            change()
    swin = build("swin_tiny_patch4_window7_224").encoder.blocks[0].blocks[0].attention
    with pytest.raises(ValueError, match="the branch is LocalAttention: only multi-head attention can measure"):
        ReducingResidual(swin, mean_keys, MergeSimilar(1))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("r", "schedule"),
    [
        (100, "constant"),
        (5, "alternating"),
        *(pytest.param(r, schedule, marks=pytest.mark.exhaustive) for r in (3, 8) for schedule in get_args(Schedule)),
    ],
)
def test_graphs_merge_down_to_one_token(engine: str, r: int, schedule: Schedule) -> None:
    """Also where every token of one half is merged, so that none of it is left."""
    pytest.importorskip(engine)
    model = rewrite(tiny().float(), MergeTokens(r, schedule))
    given = pixels(3).float()
    with torch.no_grad():
        expected = model(given)
    found = make_engine(model, engine=engine, device="cpu", precision="float32")(given)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
