"""Weights as training scripts leave them, and in the forms that hubs keep them, against the models that saved them."""

import argparse
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from tests.parity.pairs import OPEN_TEXT
from tests.parity.references import randomise
from tests.parity.test_mae import reference
from vitrail.checkpoint import unpickle
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.checkpoint.timm_card import stated_architecture
from vitrail.checkpoint.transfer import convert
from vitrail.errors import VitrailError
from vitrail.nn import joined

SIZES: dict[str, Any] = {"embed_dim": 48, "depth": 1, "num_heads": 3, "num_classes": 4, "img_size": 32}
FACTS = {"num_heads": 3}


def small(seed: int = 0, **more: Any) -> nn.Module:
    return randomise(timm.create_model("vit_tiny_patch16_224", **{**SIZES, **more}), seed)


def assert_same(ours: nn.Module, theirs: nn.Module, size: tuple[int, int] = (32, 32), channels: int = 3) -> None:
    pixels = torch.randn(2, channels, *size)
    with torch.no_grad():
        assert (joined(ours(pixels)) - theirs(pixels)).abs().max() < 1e-5


def read_pickle(document: Any, path: Path, **facts: Any) -> Checkpoint:
    """The checkpoint of what a script saves, without the process of its own that `convert` starts."""
    torch.save(document, path)
    weights = path.with_suffix(".safetensors")
    assert unpickle.main(str(path), str(weights)) == 0
    return load(weights, **facts)


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    return small()


@pytest.fixture(scope="module")
def weights(theirs: nn.Module) -> dict[str, torch.Tensor]:
    return theirs.state_dict()


ENVELOPES = ["model", "state_dict", "model_state_dict", "net", "network", "weights", "params", "module", "checkpoint"]
PREFIXES = ["module.", "model.", "_orig_mod.", "net.", "backbone.", "_orig_mod.module.", "model._orig_mod.", "vit."]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_name_of_the_state_dict_does_not_matter(
    envelope: str, tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    document = {"epoch": 3, envelope: weights, "optimizer": {"state": {0: torch.zeros(2)}}}
    assert_same(read_pickle(document, tmp_path / "x.pth", **FACTS).model, theirs)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_are_removed(
    prefix: str, tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    save_file(prefixed(prefix, weights), tmp_path / "x.safetensors")
    assert_same(load(tmp_path / "x.safetensors", **FACTS).model, theirs)


def test_lightning_with_a_metric_and_a_loss(
    tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    state = {**prefixed("model.", weights), "criterion.weight": torch.ones(4), "metric.total": torch.zeros(1)}
    document = {"state_dict": OrderedDict(state), "pytorch-lightning_version": "2.4.0", "hyper_parameters": {"lr": 1}}
    checkpoint = read_pickle(document, tmp_path / "x.ckpt", **FACTS)
    assert_same(checkpoint.model, theirs)
    assert "left out, outside of the model that was read: criterion.weight, metric.total (2 tensors)" in " ".join(
        checkpoint.info["adapted"]
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("ema", ["state_dict_ema", "model_ema"])
def test_averaged_weights_are_read_as_timm_does(
    ema: str, tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "model_best.pth.tar"
    torch.save({"epoch": 1, "state_dict": small(1).state_dict(), ema: weights}, path)
    expected = timm.models.load_state_dict(path)
    assert torch.equal(expected["head.weight"], weights["head.weight"])
    checkpoint = convert(path, tmp_path / "ours", **FACTS)
    assert_same(checkpoint.model, theirs)
    assert f"weights read from '{ema}', one of" in " ".join(load(tmp_path / "ours").info["adapted"])


def test_the_teacher_of_dino(tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    backbone = {name: tensor for name, tensor in weights.items() if not name.startswith("head")}
    head = {"module.head.mlp.0.weight": torch.zeros(8, 48)}
    student = {**prefixed("module.backbone.", small(1).state_dict()), **head}
    document = {"student": student, "teacher": prefixed("backbone.", backbone), "epoch": 2}
    model = read_pickle(document, tmp_path / "x.pth", **FACTS).model
    theirs = small()
    theirs.reset_classifier(0)
    assert_same(model, theirs)


def test_what_scripts_save_beside_the_weights(
    tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]
) -> None:
    beside = {
        "metric": np.float64(81.2),
        "best": np.float32(0.5),
        "steps": np.int64(7),
        "history": np.arange(3),
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "name": np.str_("run"),
    }
    assert_same(read_pickle({"model": weights, **beside}, tmp_path / "x.pth", **FACTS).model, theirs)


@pytest.mark.exhaustive
def test_the_reason_of_a_refusal_is_one_plain_sentence(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"model": weights, "scheduler": torch.optim.SGD([torch.zeros(1)])}, tmp_path / "x.pth")
    with pytest.raises(VitrailError) as error:
        convert(tmp_path / "x.pth", tmp_path / "ours")
    assert "it holds a torch.optim.sgd.SGD, and only tensors, numbers and plain containers are read" in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("name", ["model_best.pth.tar", "last.pt", "weights", "net.model"])
def test_a_pickle_is_recognised_by_its_name_or_its_first_bytes(
    name: str, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    torch.save(weights, tmp_path / name)
    with pytest.raises(VitrailError, match="is a pickle, which can run code"):
        load(tmp_path / name)


@pytest.mark.exhaustive
def test_a_script_of_timm_states_the_architecture(tmp_path: Path) -> None:
    path = tmp_path / "last.pth.tar"
    torch.save({"arch": "vit_pe_core_tiny_patch16_384", "state_dict": small().state_dict()}, path)
    with pytest.raises(VitrailError, match="vit_pe_core_tiny_patch16_384 of timm, which vitrail does not have"):
        convert(path, tmp_path / "ours")
    assert stated_architecture("vit_small_patch16_36x1_224") == "vit_small_patch16_36x1_224"
    assert stated_architecture("my_vit") is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_dtype_is_loaded_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = small().to(dtype)
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    ours = load(tmp_path / "x.safetensors", **FACTS).model
    assert {tensor.dtype for tensor in ours.state_dict().values()} == {torch.float32}
    assert_same(ours, model.float())


def shard(folder: Path, state: dict[str, torch.Tensor]) -> None:
    folder.mkdir()
    names = sorted(state)
    places = {name: f"model-{1 + index % 2:05}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: state[name].contiguous() for name in names if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_weights_in_several_files(tmp_path: Path, theirs: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    folder = tmp_path / "x"
    shard(folder, weights)
    arguments = {**SIZES, "img_size": [32, 32]}
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "model_args": arguments}))
    assert_same(load(folder).model, theirs)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(VitrailError, match=r"lacks model-00002-of-00002\.safetensors, a shard"):
        load(folder)
    index = {"weight_map": {"head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(VitrailError, match=r"must be \.safetensors files in the same folder"):
        load(folder)


def test_shards_of_transformers(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    theirs = randomise(transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=32)))
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    with torch.no_grad():
        pixels = torch.randn(1, 3, 32, 32)
        assert (load(tmp_path).model(pixels) - theirs(pixels).logits).abs().max() < 1e-5


ARCHITECTURES = ["vit_tiny_patch16_224", "deit3_small_patch16_224", "convnext_atto", "levit_128s", "resnet18"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_timm_saves_for_the_hub(name: str, tmp_path: Path) -> None:
    theirs = randomise(timm.create_model(name, num_classes=5))
    timm.models._hub.save_for_hf(theirs, tmp_path, safe_serialization=True)
    assert_same(load(tmp_path).model, theirs, (224, 224))


def test_arguments_of_timms_model_become_fields(tmp_path: Path) -> None:
    theirs = randomise(timm.create_model("vit_tiny_patch16_224", global_pool="avg", **SIZES))
    timm.models._hub.save_for_hf(theirs, tmp_path, safe_serialization=True)
    checkpoint = load(tmp_path)
    assert checkpoint.model.config.num_heads == 3
    assert not checkpoint.info["adapted"]
    assert_same(checkpoint.model, theirs)


@pytest.mark.parametrize("arguments", [{"act_layer": "relu"}, {"qk_norm": True}, {"class_token": False}], ids=str)
def test_arguments_without_a_field_are_refused_by_name(arguments: dict[str, Any], tmp_path: Path) -> None:
    document = {"architecture": "vit_tiny_patch16_224", "model_args": {"num_classes": 4, **arguments}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    save_file(small().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(VitrailError, match=f"built with {next(iter(arguments))}="):
        load(tmp_path)


@pytest.mark.parametrize("name", ["vit_pe_core_tiny_patch16_384", "vit_relpos_small_patch16_224", "vit_tiny_patch16_x"])
def test_names_of_timm_that_we_do_not_have_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name}))
    save_file(small().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(VitrailError, match=f"{name} of timm, which vitrail does not have"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "pool"), [("swin_tiny_patch4_window7_224", "max"), ("cait_xxs24_224", "avg")])
def test_other_pools_are_refused(name: str, pool: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name, "global_pool": pool}))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(VitrailError, match=f"pools with '{pool}'"):
        load(tmp_path)


def test_heads_that_were_assumed_are_noted(tmp_path: Path) -> None:
    model = randomise(timm.create_model("vit_small_patch16_224", depth=1, num_heads=12, img_size=32, num_classes=4))
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    assumed = load(tmp_path / "x.safetensors")
    assert "num_heads 6 assumed, the usual one of width 384" in " ".join(assumed.info["adapted"])
    given = load(tmp_path / "x.safetensors", num_heads=12)
    assert "num_heads" not in " ".join(given.info["adapted"])
    assert_same(given.model, model)


@pytest.mark.parametrize("size", [(96, 32), (128, 32)], ids=["not square", "square by chance"])
def test_positions_of_images_that_were_not_square(size: tuple[int, int], tmp_path: Path) -> None:
    model = small(img_size=size)
    path = tmp_path / "x.safetensors"
    save_file(model.state_dict(), path)
    if size == (96, 32):  # 12 cells, and a class token: no square
        with pytest.raises(VitrailError, match=r"pass image_size=\(height, width\)"):
            load(path, **FACTS)
    else:  # 16 cells
        assert "image size 64×64 assumed, for 16 positions" in " ".join(load(path, **FACTS).info["adapted"])
    checkpoint = load(path, image_size=size, **FACTS)
    assert_same(checkpoint.model, model, size)
    assert "were taken as those of images of" in " ".join(checkpoint.info["adapted"])
    convert(path, tmp_path / "ours", image_size=size, **FACTS)
    assert_same(load(tmp_path / "ours").model, model, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_of_a_hybrid_in_alphabetical_order(channels: int, tmp_path: Path) -> None:
    name = "vit_small_r26_s32_224"
    theirs = randomise(timm.create_model(name, in_chans=channels, img_size=64, depth=1, num_classes=4))
    arguments = {"depth": 1, "img_size": [64, 64]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name, "model_args": arguments}))
    save_file(dict(sorted(theirs.state_dict().items())), tmp_path / "model.safetensors")  # the order of safetensors
    ours = load(tmp_path)
    assert ours.model.config.in_channels == channels
    assert_same(ours.model, theirs, (64, 64), channels)


def open_clip_folder(folder: Path, quick: bool) -> nn.Module:
    vision = {"image_size": 48, "patch_size": 16, "width": 32, "head_width": 8, "layers": 2, "mlp_ratio": 3.0}
    theirs = randomise(open_clip.CLIP(20, vision, OPEN_TEXT, quick_gelu=quick))
    model = {"embed_dim": 20, "vision_cfg": vision, "text_cfg": OPEN_TEXT, **({"quick_gelu": True} if quick else {})}
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "squash"}
    document = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    save_file(theirs.state_dict(), folder / "open_clip_model.safetensors")
    return theirs


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_of_open_clip(quick: bool, tmp_path: Path) -> None:
    theirs = open_clip_folder(tmp_path, quick)
    checkpoint = load(tmp_path)
    pixels, ids = torch.randn(2, 3, 48, 48), torch.randint(0, 50, (3, 12))
    with torch.no_grad():
        difference = checkpoint.model(pixels, ids) - theirs.get_logits(pixels, ids)[0]
    assert difference.abs().max() < 1e-4
    assert checkpoint.preprocess.stretch
    assert checkpoint.preprocess.std == (0.2, 0.3, 0.4)
    save(checkpoint, tmp_path / "ours")


def test_bare_weights_of_clip_need_the_activation(tmp_path: Path) -> None:
    open_clip_folder(tmp_path, quick=False)
    path = tmp_path / "open_clip_model.safetensors"
    with pytest.raises(VitrailError, match=r'"quick_gelu" \(OpenAI\'s models\) or "gelu"'):
        load(path, architecture="clip_vit_base_patch32")


def test_parts_of_open_clip_that_we_do_not_have(tmp_path: Path) -> None:
    document = {"model_cfg": {"embed_dim": 20, "vision_cfg": {"pool_type": "avg"}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    save_file({"a": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(VitrailError, match="pool_type='avg' in vision_cfg"):
        load(tmp_path)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_trained_positions_of_mae_are_refused(part: str, tmp_path: Path) -> None:
    theirs = reference()
    theirs.save_pretrained(tmp_path)
    assert load(tmp_path).model.config.embed_dim == 48
    table = theirs.vit.embeddings.position_embeddings if part == "encoder" else theirs.decoder.decoder_pos_embed
    table.data[0, 2] += 0.1
    theirs.save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match="of these weights is not what MAEConfig computes"):
        load(tmp_path)
