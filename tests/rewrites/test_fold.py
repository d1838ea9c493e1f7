"""Folded layers give the same outputs, for every family that has such layers, also after saving and loading."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

import vitrail
from tests.models.test_families import SMALLEST, build, inputs, numbers
from tests.rewrites.families import randomised
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.nn import LayerScale, joined
from vitrail.rewrites.base import Rewrite
from vitrail.rewrites.registry import REWRITES, register_rewrite

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm2d)
SCALED = [
    "deit3_small_patch16_224",
    "vit_small_patch16_18x2_224",
    "vit_giant_patch14_reg4_dinov2",
    "vit_small_patch16_rope_mixed_ape_224",
    "vit_small_plus_patch16_dinov3_qkvb",
    "beit_base_patch16_224",
    "beit_base_patch16_224_pretraining",
    "cait_xxs24_224",
    "convnext_atto",
]
NORMED = [
    "compact_tiny_16",
    "compact_detector_small_128",
    "compact_segmenter_small_128",
    "compact_depth_small_128",
    "compact_universal_small_128",
    "compact_clip_tiny_32",
    "compact_video_small_64",
    "detr_resnet50",
    "levit_128s",
    "mobilenet_v3_small",
    "vitc_1gf",
    "cvt_13_224",
    "universal_vit_tiny_patch16_224",
    "vit_depth_small_patch16_224",
    "whitened_small_32",
]
UNFOLDED = {"compact_tiny_16": 2, "compact_clip_tiny_32": 2, "whitened_small_32": 2}
"""Batch norms behind a max pool."""


def count(model: nn.Module, kinds: type | tuple[type, ...]) -> int:
    return sum(isinstance(module, kinds) for module in model.modules())


def test_the_lists_are_whole() -> None:
    with torch.device("meta"):
        models = {name: build(name) for name in SMALLEST}
    assert sorted(SCALED) == sorted(name for name, model in models.items() if count(model, LayerScale))
    # SegFormer takes the convolution in front of its norm apart, see `AllMLPHead`.
    assert sorted([*NORMED, "segformer_b0"]) == sorted(name for name, model in models.items() if count(model, NORMS))


@pytest.mark.parametrize(
    ("change", "name"),
    [("fold_layer_scale", name) for name in SCALED] + [("fold_batch_norm", name) for name in NORMED],
)
def test_outputs_are_the_same_before_and_after_and_once_loaded(change: str, name: str, tmp_path: Path) -> None:
    model = randomised(name)
    given = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs(model)]
    folded = vitrail.rewrite(model, change)
    if change == "fold_layer_scale":
        assert (count(folded, LayerScale), count(model, LayerScale) > 0) == (0, True)
    else:
        assert count(folded, NORMS) == UNFOLDED.get(name, 0) < count(model, NORMS)
    save(Checkpoint(folded, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x").model.double()
    assert again.rewrites == folded.rewrites
    with torch.no_grad():
        expected, found, loaded = (numbers(each(*given)) for each in (model, folded, again))
    for wanted, mine, theirs in zip(expected, found, loaded, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5)
        least = 1e-5 * max(1.0, float(wanted.abs().max()))  # depths have a wide range
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=least)  # stored numbers are read as float32


def test_a_folded_checkpoint_can_be_adapted(tmp_path: Path) -> None:
    save(Checkpoint(vitrail.rewrite(build("levit_128s"), "fold_batch_norm"), (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x", num_classes=3)
    assert joined(again.model(torch.zeros(1, 3, 64, 64))).shape == (1, 3)
    assert count(again.model, NORMS) == 0
    save(again, tmp_path / "y")
    assert load(tmp_path / "y").model.rewrites == again.model.rewrites


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "regnet_y_400mf", "efficientnet_b0", "mobilenet_v2"])
def test_no_batch_norm_is_left_in_a_cnn(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name, num_classes=2)
    assert count(model, NORMS) > count(vitrail.rewrite(model, "fold_batch_norm"), NORMS) == 0


def test_where_there_is_nothing_to_fold() -> None:
    for change, word in (("fold_layer_scale", "no layer scale"), ("fold_batch_norm", "no batch norm")):
        with pytest.raises(VitrailError, match=word):
            vitrail.rewrite(build("vit_tiny_patch32_224"), change)


def test_unknown_names_and_options(tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="no rewrite 'fold_batchnorm': did you mean fold_batch_norm"):
        vitrail.rewrite(build("levit_128s"), "fold_batchnorm")
    save(Checkpoint(vitrail.rewrite(build("levit_128s"), "fold_batch_norm"), (), Preprocess()), tmp_path / "x")
    from vitrail.checkpoint.document import from_json

    text = (tmp_path / "x" / "model.json").read_text()
    with pytest.raises(VitrailError, match="no rewrite 'fold_batch_norms': did you mean fold_batch_norm"):
        from_json(text.replace('"fold_batch_norm"', '"fold_batch_norms"'), {}, "x")
    with pytest.raises(VitrailError, match="fold_batch_norm has no option 'eps'"):
        from_json(text.replace('"fold_batch_norm"', '"fold_batch_norm", "eps": 1'), {}, "x")


@dataclass(frozen=True, slots=True)
class WidenHead(Rewrite):
    """A hidden layer of a width in front of the classifier."""

    width: int = 4

    def __call__(self, model: nn.Module) -> None:
        classify = model.get_submodule("head.classify")
        assert isinstance(classify, nn.Linear)
        hidden = nn.Sequential(
            nn.Linear(classify.in_features, self.width), nn.Linear(self.width, classify.out_features)
        )
        model.set_submodule("head.classify", hidden)


def test_a_rewrite_of_ones_own_with_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("vit_tiny_patch32_224").eval()
    with pytest.raises(VitrailError, match="WidenHead is not registered"):
        vitrail.rewrite(model, WidenHead(width=2))
    monkeypatch.setitem(REWRITES, "widen_head", WidenHead)
    register_rewrite("widen_head", WidenHead)
    changed = vitrail.rewrite(model, WidenHead(width=2))
    save(Checkpoint(changed, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x").model
    assert again.rewrites == (WidenHead(width=2),)
    assert torch.equal(again(torch.ones(1, 3, 64, 64)), changed(torch.ones(1, 3, 64, 64)))
