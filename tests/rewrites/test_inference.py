"""The copy that engines run: what it shares, what it changes, and that it follows the model's weights."""

import pytest
import torch
from torch import nn

import vitrail
from tests.evaluation.small_checkpoint import tiny_checkpoint
from tests.models.test_families import SMALLEST, build
from tests.rewrites.families import assert_same, given, randomised, results
from vitrail.engines.torch_engine import TorchEngine
from vitrail.nn import BaseVisionModel, EmbeddingModel, LinearOfMean, PrefixQueries
from vitrail.rewrites.base import Rewrite
from vitrail.rewrites.inference import for_inference
from vitrail.rewrites.lora import LoRA
from vitrail.rewrites.registry import REWRITES, rewrite
from vitrail.rewrites.tokens import FuseTokens, MergeTokens, PruneTokens

SOME = [
    "vit_tiny_patch32_224",
    "deit_tiny_distilled_patch16_224",
    "vit_giant_patch14_reg4_dinov2",
    "beit_base_patch16_224",
    "clip_vit_base_patch32",
    "levit_128s",
    "cvt_13_224",
    "detr_resnet50",
    "swin_tiny_patch4_window7_224",
]


def names(model: BaseVisionModel) -> list[str]:
    return [name for change in model.rewrites for name, kind in REWRITES.items() if type(change) is kind]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", SOME)
def test_outputs_are_the_same_and_the_model_is_not_changed(name: str, graph: bool, seeded: None) -> None:
    model = randomised(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    pixels = given(model)
    wanted = results(model, pixels)
    copy = for_inference(model.train(), graph=graph)
    assert model.training
    assert not copy.training
    model.eval()
    assert_same(wanted, results(copy, pixels))
    assert model.rewrites == ()
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    embedding = for_inference(EmbeddingModel(model), graph=graph)
    with torch.no_grad():
        assert_same([EmbeddingModel(model)(pixels[0])], [embedding(pixels[0])])


def test_positions_are_baked_for_a_size(seeded: None) -> None:
    model = randomised("eva02_base_patch16_clip_224")
    copy = for_inference(model, image_size=(64, 64))
    assert names(copy) == ["read_tokens_only", "bake_positions"]
    pixels = given(model)
    assert_same(results(model, pixels), results(copy, pixels))


def test_a_vit_shares_every_tensor() -> None:
    model = build("vit_tiny_patch32_224")
    copy = for_inference(model)
    assert names(copy) == ["read_tokens_only"]
    shared = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    assert all(tensor.data_ptr() in shared for tensor in (*copy.parameters(), *copy.buffers()))
    assert sum(isinstance(module, PrefixQueries) for module in copy.modules()) == 1


def test_only_folded_tensors_are_copied() -> None:
    model = build("deit3_small_patch16_224")
    copy = for_inference(model)
    shared = {tensor.data_ptr() for tensor in model.parameters()}
    fresh = {key for key, tensor in copy.named_parameters() if tensor.data_ptr() not in shared}
    assert fresh
    assert all(".project." in key or ".contract." in key for key in fresh)


def test_updates_are_merged_and_hooks_stay_with_the_model(seeded: None) -> None:
    model = vitrail.rewrite(build("vit_base_patch16_reg4_gap_256"), LoRA(rank=2)).eval()
    calls: list[nn.Module] = []
    model.encoder.register_forward_hook(lambda module, args, output: calls.append(module))
    pixels = torch.randn(1, 3, 64, 64)
    for param in model.parameters():
        nn.init.normal_(param, std=0.1)
    copy = for_inference(model)
    assert not any(isinstance(change, LoRA) for change in copy.rewrites)
    with torch.no_grad():
        found = copy(pixels)
        assert not calls
        torch.testing.assert_close(found, model(pixels), rtol=1e-4, atol=1e-5)
    assert calls == [model.encoder]
    assert not any(isinstance(module, LinearOfMean) for module in model.modules())


def test_the_engine_follows_the_weights_of_its_model(seeded: None) -> None:
    model = build("deit3_small_patch16_224")
    engine = TorchEngine(model, "cpu", "float32")
    pixels = torch.randn(2, 3, 64, 64)
    for change in ("in place", "loaded", "data"):
        if change == "in place":  # as an optimiser does
            with torch.no_grad():
                torch._foreach_mul_(list(model.parameters()), 1.5)
        elif change == "loaded":
            model.load_state_dict(build("deit3_small_patch16_224").state_dict())
        else:
            model.encoder.blocks[0].mlp.scale.weight.data = torch.full((384,), 0.7)
        with torch.no_grad():
            torch.testing.assert_close(engine(pixels), model(pixels), rtol=1e-4, atol=1e-5)
    model.train()
    assert torch.equal(engine(pixels), engine(pixels))
    assert engine.model is model


def test_other_modules_are_run_as_they_are() -> None:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert for_inference(layer) is layer
    assert TorchEngine(layer, "cpu", "float32").running is layer


def test_a_folded_checkpoint_predicts_the_same(tmp_path, seeded: None) -> None:
    from vitrail.checkpoint.fold_preprocess import fold_preprocess

    checkpoint = tiny_checkpoint()
    folded = fold_preprocess(checkpoint)
    assert folded.preprocess.keeps_values
    assert not checkpoint.preprocess.keeps_values
    assert fold_preprocess(folded) is folded
    images = [torch.randint(0, 256, (3, 9, 12), dtype=torch.uint8), torch.rand(3, 8, 8)]
    vitrail.save(folded, tmp_path / "folded")
    loaded = vitrail.load(tmp_path / "folded")
    assert loaded.preprocess.keeps_values
    for tta in ("none", "flip", "crops"):
        wanted, found, again = (
            [dict(each.classes) for each in vitrail.make_predictor(one, precision="float32", tta=tta)(images)]
            for one in (checkpoint, folded, loaded)
        )
        for mine, other, third in zip(wanted, found, again, strict=True):
            assert other == pytest.approx(mine, abs=1e-6)
            assert third == pytest.approx(mine, abs=1e-6)


def test_bytes_reach_the_engine_without_a_copy_in_floating_point(seeded: None) -> None:
    from vitrail.checkpoint.fold_preprocess import fold_preprocess

    folded = fold_preprocess(tiny_checkpoint())
    predictor = vitrail.make_predictor(folded, precision="float32")
    engine, seen = predictor.engine, []

    class Watching:
        device, precision = engine.device, engine.precision

        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels.dtype)
            return engine(pixels)

    predictor.engine = Watching()
    predictor([torch.zeros(3, 8, 8, dtype=torch.uint8)])
    predictor([torch.zeros(3, 8, 8)])
    assert seen == [torch.uint8, torch.float32]
    values = folded.preprocess.normalise(torch.arange(192, dtype=torch.uint8).view(3, 8, 8))
    assert torch.equal(values.flatten(), torch.arange(192.0))


def test_every_family_can_be_prepared() -> None:
    with torch.device("meta"):
        models = {name: build(name) for name in SMALLEST}
    for name, model in models.items():
        assert isinstance(for_inference(model), type(model)), name


@pytest.mark.parametrize("change", [MergeTokens(r=2), PruneTokens(keep=0.6), FuseTokens(keep=0.6)])
@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_distilled_patch16_224",
        "simple_vit_tiny_patch16_224",
        "vit_base_patch16_reg4_gap_256",
        "beit_base_patch16_224",
        "eva02_base_patch16_clip_224",
        "vit_relative_tiny_patch16_224",
    ],
)
def test_models_with_fewer_tokens_keep_their_outputs(name: str, change: Rewrite, seeded: None) -> None:
    model = rewrite(randomised(name), change)
    pixels = given(model)
    assert_same(results(model, pixels), results(for_inference(model, image_size=tuple(pixels[0].shape[-2:])), pixels))
