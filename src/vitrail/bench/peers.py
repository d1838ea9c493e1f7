"""Models of other libraries with the architecture and the weights of a model of vitrail.

timm, transformers and torchvision are imported by name, when a peer is built; all of them are optional.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from ..checkpoint.export import export_state_dict
from ..errors import VitrailError
from ..models.convnext import ConvNeXtConfig
from ..models.families import known_variants
from ..models.fields import ModelConfig, pair
from ..models.swin import SwinConfig
from ..models.vit import ViTConfig
from ..nn import BaseVisionModel

_TIMM_NAMES = {"image_size": "img_size", "in_channels": "in_chans"}
_TIMM_FIELDS = ("image_size", "in_channels", "patch_size", "embed_dim", "depth", "depths", "num_heads", "mlp_ratio")
"""Fields of our configs that timm's `create_model` takes, most under the same name."""


class Logits(nn.Module):
    """A classifier of transformers whose output is the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Any:
        return self.model(pixel_values=pixels).logits


def installed(library: str) -> bool:
    """Whether a library can be imported."""
    return find_spec(library) is not None


def build_peer(library: str, model: BaseVisionModel[ModelConfig], architecture: str) -> nn.Module:
    """The same model of another library, in evaluation mode on the CPU.

    Args:
        library: one of `PEERS`.
        model: where the weights are from.
        architecture: name of its variant.

    Raises:
        VitrailError: the library has no such model, or its tensors are others.
    """
    try:
        return PEERS[library](model, architecture).eval()
    except VitrailError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VitrailError(f"{library} cannot build this model: {reason[:200]}") from error


def _timm(model: BaseVisionModel[ModelConfig], architecture: str) -> nn.Module:
    timm = import_module("timm")
    config = model.config
    rows = {name: row for name, row in known_variants().items() if type(row) is type(config) and timm.is_model(name)}
    if not rows:
        raise VitrailError(f"timm has no model like {architecture}")
    nearest = architecture if architecture in rows else min(rows, key=lambda name: len(_changes(config, rows[name])))
    arguments = _timm_arguments(config, rows[nearest])
    try:
        theirs = timm.create_model(nearest, pretrained=False, **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        del arguments["img_size"]  # of a model that takes any size
        theirs = timm.create_model(nearest, pretrained=False, **arguments)
    return _filled(theirs, export_state_dict(model, "timm"))


def _timm_arguments(config: ModelConfig, row: ModelConfig) -> dict[str, Any]:
    """Arguments for the fields that differ from those of the variant that timm builds, and the number of classes."""
    changed = {name: value for name, value in _changes(config, row).items() if name in _TIMM_FIELDS}
    wanted = {**changed, "num_classes": config.num_outputs}
    if isinstance(config, ConvNeXtConfig) and wanted.pop("embed_dim", None):
        wanted["dims"] = _widths(config)
    return {_TIMM_NAMES.get(name, name): value for name, value in wanted.items()}


def _changes(config: ModelConfig, row: ModelConfig) -> dict[str, Any]:
    """Name -> value of the fields in which a config differs from that of a variant."""
    theirs = asdict(row)
    return {name: value for name, value in asdict(config).items() if theirs[name] != value}


def _transformers(model: BaseVisionModel[ModelConfig], architecture: str) -> nn.Module:
    config = model.config
    if type(config) not in _TRANSFORMERS:
        raise VitrailError(f"this benchmark builds no transformers model for {type(config).__name__}")
    family, prefix, arguments = _TRANSFORMERS[type(config)]
    transformers = import_module("transformers")
    shared = {"num_channels": config.in_channels, "num_labels": config.num_outputs, "image_size": config.image_size}
    card = getattr(transformers, f"{family}Config")(**shared, **arguments(config))
    theirs = getattr(transformers, f"{family}ForImageClassification")(card)
    return Logits(_filled(theirs, export_state_dict(model, "transformers", prefix=prefix)))


def _vit_card(config: Any) -> dict[str, Any]:
    _require_plain_vit(config, "transformers")
    return {
        "patch_size": config.patch_size,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": int(config.embed_dim * config.mlp_ratio),
        "layer_norm_eps": config.norm_eps,
    }


def _swin_card(config: Any) -> dict[str, Any]:
    return {
        "patch_size": config.patch_size,
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "num_heads": list(config.num_heads),
        "window_size": config.window_size,
        "mlp_ratio": config.mlp_ratio,
        "layer_norm_eps": config.norm_eps,
    }


def _convnext_card(config: Any) -> dict[str, Any]:
    return {
        "patch_size": config.patch_size,
        "hidden_sizes": _widths(config),
        "depths": list(config.depths),
        "layer_norm_eps": config.head_norm_eps,
        "layer_scale_init_value": config.layer_scale,
    }


_TRANSFORMERS: Mapping[type, tuple[str, str, Callable[[Any], dict[str, Any]]]] = {
    ViTConfig: ("ViT", "vit.", _vit_card),
    SwinConfig: ("Swin", "swin.", _swin_card),
    ConvNeXtConfig: ("ConvNext", "convnext.", _convnext_card),
}
"""Our config -> the family's name there, the prefix of its weights, and further fields of its config."""


def _torchvision(model: BaseVisionModel[ModelConfig], architecture: str) -> nn.Module:
    config = model.config
    if type(config) not in _TORCHVISION:
        raise VitrailError(f"this benchmark builds no torchvision model for {type(config).__name__}")
    if config.in_channels != 3:
        raise VitrailError(f"torchvision's models take 3 channels, not {config.in_channels}")
    theirs = _TORCHVISION[type(config)](import_module("torchvision.models"), config)
    return _filled(theirs, export_state_dict(model, "torchvision"))


def _vision_transformer(models: Any, config: Any) -> nn.Module:
    _require_plain_vit(config, "torchvision")
    found: nn.Module = models.VisionTransformer(
        image_size=pair(config.image_size)[0],
        patch_size=config.patch_size,
        num_layers=config.depth,
        num_heads=config.num_heads,
        hidden_dim=config.embed_dim,
        mlp_dim=int(config.embed_dim * config.mlp_ratio),
        num_classes=config.num_outputs,
    )
    return found


def _swin(models: Any, config: Any) -> nn.Module:
    found: nn.Module = models.SwinTransformer(
        patch_size=list(pair(config.patch_size)),
        embed_dim=config.embed_dim,
        depths=list(config.depths),
        num_heads=list(config.num_heads),
        window_size=[config.window_size] * 2,
        mlp_ratio=config.mlp_ratio,
        num_classes=config.num_outputs,
    )
    return found


def _convnext(models: Any, config: Any) -> nn.Module:
    widths = _widths(config)
    block = models.convnext.CNBlockConfig
    stages = [block(*each) for each in zip(widths, [*widths[1:], None], config.depths, strict=True)]
    found: nn.Module = models.ConvNeXt(stages, num_classes=config.num_outputs)
    return found


_TORCHVISION: Mapping[type, Callable[[Any, Any], nn.Module]] = {
    ViTConfig: _vision_transformer,
    SwinConfig: _swin,
    ConvNeXtConfig: _convnext,
}

PEERS: Mapping[str, Callable[[BaseVisionModel[ModelConfig], str], nn.Module]] = {
    "timm": _timm,
    "transformers": _transformers,
    "torchvision": _torchvision,
}
"""Library -> function (our model, name of its variant) -> its module with our weights."""


def _widths(config: ConvNeXtConfig) -> list[int]:
    return [config.embed_dim * 2**stage for stage in range(len(config.depths))]


def _require_plain_vit(config: ViTConfig, library: str) -> None:
    """Raise VitrailError if a ViT has parts that the library's class lacks."""
    plain = config.pool == "class" and config.layer_scale is None and config.positions == "learned"
    if not (plain and config.class_position and config.head == "linear"):
        raise VitrailError(f"{library}'s ViT has a class token, learned positions and no layer scale: not this model's")


def _filled(theirs: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A module with these parameters; buffers that it computes itself may be missing."""
    parameters = dict(theirs.named_parameters())
    shaped = {}
    for name, tensor in state.items():
        # Layer scales and pointwise layers have further axes of length 1 in some classes.
        wanted = parameters[name].shape if name in parameters else tensor.shape
        shaped[name] = tensor.reshape(wanted) if tensor.numel() == wanted.numel() else tensor
    found = theirs.load_state_dict(shaped, strict=False)
    if strange := [*found.unexpected_keys, *(name for name in found.missing_keys if name in parameters)]:
        raise VitrailError(f"its model has other tensors than ours, such as {strange[0]}")
    return theirs
