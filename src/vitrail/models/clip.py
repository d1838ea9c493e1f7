"""CLIP (Radford et al., 2021, "Learning transferable visual models from natural language supervision").

A ViT with a norm before its blocks, and a text encoder with a causal mask; trained so that the vectors of an image and
its caption have a large cosine. The variants `vit_*_clip_*` are image encoders alone, for classification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from ..nn import (
    CausalMask,
    DualEncoder,
    EndOfText,
    Head,
    PerToken,
    ProjectionHead,
    ScaledCosine,
    TextEmbed,
    TextModel,
    VisionModel,
    init_vit,
)
from ..task_spec import CLASSIFICATION, EMBEDDING, TaskSpec
from .fields import BlockFields, PositionedFields, Size, ViTFields, shared_fields
from .parts import POOLS, activation_of, classifier, patch_embed, vit_embed, vit_encoder
from .text import DualFields, init_clip, text_encoder
from .words import Activation


@dataclass(frozen=True, kw_only=True, slots=True)
class CLIPVisionConfig(ViTFields, PositionedFields, BlockFields):
    """CLIP's image encoder: a ViT with a norm before the blocks, and no bias in the patch embedding.

    Attributes:
        activation: "quick_gelu" in OpenAI's models, "gelu" in the open releases.
        head_bias: False for a head that is the projection into the space shared with texts: its output is an embedding
        of `num_classes` numbers, as in the variants with the task EMBEDDING.
        pool: input of the classifier: the "class" token after a norm, or the "mean" over the patches without one
        (transformers' `CLIPForImageClassification`).
    """

    norm_eps: float = 1e-5
    activation: Activation = "gelu"
    head_bias: bool = True
    pool: Literal["class", "mean"] = "class"

    def resolve_task(self) -> TaskSpec:
        classifies = bool(self.num_classes) and self.head_bias
        return EMBEDDING if self.task.name == CLASSIFICATION.name and not classifies else self.task

    def classifier_changes(self) -> Mapping[str, Any]:
        return {"task": CLASSIFICATION, "head_bias": True} if self.task == EMBEDDING else {}

    def build(self) -> VisionModel["CLIPVisionConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self, bias=False)
        norm = PerToken(nn.LayerNorm(dim, eps=self.norm_eps))
        head = ProjectionHead if self.task == EMBEDDING else Head
        model = VisionModel(
            embed=vit_embed(self, patches, norm=norm),
            encoder=vit_encoder(self, activation=activation_of(self.activation), norm=self.pool == "class"),
            head=head(POOLS[self.pool](self), classifier(dim, self.num_classes, bias=self.head_bias)),
            config=self,
        )
        return model.apply(init_vit)


@dataclass(frozen=True, kw_only=True, slots=True)
class CLIPConfig(DualFields):
    """CLIP: image and text encoder, compared by their cosine (section 2.3).

    Attributes:
        joint_dim: width of the space that images and texts are projected into.
        other fields: fields of the image encoder, as in `CLIPVisionConfig`.
    """

    patch_size: Size = 32
    norm_eps: float = 1e-5
    activation: Activation = "quick_gelu"
    context_length: int = 77
    vocab_size: int = 49408
    text_dim: int = 512
    text_heads: int = 8
    joint_dim: int = 512

    def build(self) -> DualEncoder["CLIPConfig"]:
        return DualEncoder(self.image().build(), self.text(), ScaledCosine(scale=1 / 0.07), config=self)

    def image(self) -> CLIPVisionConfig:
        """Config of the image encoder, whose outputs are the dimensions of the joint space."""
        shared = {**shared_fields(self, CLIPVisionConfig), "task": EMBEDDING}
        return CLIPVisionConfig(num_classes=self.joint_dim, head_bias=False, **shared)

    def text(self) -> TextModel:
        """Build the text encoder, in which a token attends to those before it only (section 2.4)."""
        encoder = text_encoder(self, bias=CausalMask)
        init_clip(encoder)
        project = nn.Linear(self.text_dim, self.joint_dim, bias=False)
        nn.init.normal_(project.weight, std=self.text_dim**-0.5)
        return TextModel(TextEmbed(self.vocab_size, self.text_dim, self.context_length), encoder, EndOfText(), project)


MEDIUM: dict[str, Any] = {"embed_dim": 512, "num_heads": 8, "num_classes": 512}
LARGE: dict[str, Any] = {"patch_size": 14, "embed_dim": 1024, "depth": 24, "num_heads": 16}
HUGE: dict[str, Any] = {"patch_size": 14, "embed_dim": 1280, "depth": 32, "num_heads": 16}
GIANT: dict[str, Any] = {"patch_size": 14, "embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 48 / 11}
GIGANTIC: dict[str, Any] = {"patch_size": 14, "embed_dim": 1664, "depth": 48, "num_heads": 16, "mlp_ratio": 64 / 13}
# timm's variants of these widths output the projection into the space shared with texts, with a bias of zeros.
Projected = partial(CLIPVisionConfig, task=EMBEDDING)
Quick = partial(Projected, activation="quick_gelu")

IMAGE_VARIANTS = {
    "vit_xsmall_patch16_clip_224": Projected(embed_dim=256, depth=10, num_heads=4, num_classes=512),
    "vit_medium_patch32_clip_224": Projected(patch_size=32, **MEDIUM),
    "vit_medium_patch16_clip_224": Projected(**MEDIUM),
    "vit_betwixt_patch32_clip_224": Projected(patch_size=32, embed_dim=640, num_heads=10, num_classes=512),
    "vit_base_patch32_clip_224": CLIPVisionConfig(patch_size=32),
    "vit_base_patch32_clip_256": Projected(patch_size=32, image_size=256, num_classes=512),
    "vit_base_patch32_clip_384": CLIPVisionConfig(patch_size=32, image_size=384),
    "vit_base_patch32_clip_448": CLIPVisionConfig(patch_size=32, image_size=448),
    "vit_base_patch16_clip_224": CLIPVisionConfig(),
    "vit_base_patch16_clip_384": CLIPVisionConfig(image_size=384),
    "vit_base_patch16_plus_clip_240": Projected(image_size=240, embed_dim=896, num_heads=14, num_classes=640),
    "vit_large_patch14_clip_224": CLIPVisionConfig(**LARGE),
    "vit_large_patch14_clip_336": CLIPVisionConfig(image_size=336, **LARGE),
    "vit_huge_patch14_clip_224": CLIPVisionConfig(**HUGE),
    "vit_huge_patch14_clip_336": CLIPVisionConfig(image_size=336, **HUGE),
    "vit_huge_patch14_clip_378": Projected(image_size=378, num_classes=1024, **HUGE),
    "vit_giant_patch14_clip_224": Projected(num_classes=1024, **GIANT),
    "vit_gigantic_patch14_clip_224": Projected(num_classes=1280, **GIGANTIC),
    "vit_gigantic_patch14_clip_378": Projected(image_size=378, num_classes=1280, **GIGANTIC),
    "vit_base_patch32_clip_quickgelu_224": Quick(patch_size=32, num_classes=512),
    "vit_base_patch16_clip_quickgelu_224": Quick(num_classes=512),
    "vit_large_patch14_clip_quickgelu_224": Quick(num_classes=768, **LARGE),
    "vit_large_patch14_clip_quickgelu_336": Quick(image_size=336, num_classes=768, **LARGE),
    "vit_huge_patch14_clip_quickgelu_224": Quick(num_classes=1024, **HUGE),
    "vit_huge_patch14_clip_quickgelu_378": Quick(image_size=378, num_classes=1024, **HUGE),
    "vit_gigantic_patch14_clip_quickgelu_224": Quick(num_classes=1280, **GIGANTIC),
}

_LARGE: dict[str, Any] = {**LARGE, "text_dim": 768, "text_heads": 12, "joint_dim": 768}
_OPEN: dict[str, Any] = {"activation": "gelu", "text_dim": 1024, "text_heads": 16, "text_depth": 24, "joint_dim": 1024}
_OPEN_GIGANTIC: dict[str, Any] = {"text_dim": 1280, "text_heads": 20, "text_depth": 32, "joint_dim": 1280}

DUAL_VARIANTS = {
    "clip_vit_base_patch32": CLIPConfig(),
    "clip_vit_base_patch16": CLIPConfig(patch_size=16),
    "clip_vit_large_patch14": CLIPConfig(**_LARGE),
    "clip_vit_large_patch14_336": CLIPConfig(image_size=336, **_LARGE),
    "clip_vit_huge_patch14": CLIPConfig(**HUGE, **_OPEN),
    "clip_vit_giant_patch14": CLIPConfig(**GIANT, **_OPEN),
    "clip_vit_gigantic_patch14": CLIPConfig(activation="gelu", **GIGANTIC, **_OPEN_GIGANTIC),
}
VARIANTS = {**IMAGE_VARIANTS, **DUAL_VARIANTS}

PAPER_NAMES = (
    (r"clip", "clip_vit_large_patch14_336"),  # "results reported in this paper as CLIP use this model"
    (r"clip-(vit-)?<size>-<patch>", "clip_vit_{size}_patch{patch}"),
    (r"clip-(vit-)?<size>-<patch>-336(px)?", "clip_vit_{size}_patch{patch}_336"),
)
