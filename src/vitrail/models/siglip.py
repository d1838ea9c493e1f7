"""SigLIP (Zhai et al., 2023, "Sigmoid loss for language image pre-training") and SigLIP 2 (Tschannen et al., 2025).

A ViT without class token, pooled by a learned query, and a text encoder without a causal mask; each pair of image and
text is an independent binary classification. The variants `vit_*_siglip_*` are image encoders alone; those with `gap`
are pooled by the mean of the tokens.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    BiasedCosine,
    DualEncoder,
    Embedding,
    Head,
    LastToken,
    MeanPool,
    MultiHeadAttentionPool,
    PatchEmbed,
    TextEmbed,
    TextModel,
    VisionModel,
)
from ..task_spec import EMBEDDING
from .fields import BlockFields, ClassifierFields, PositionedFields, Size, pair, shared_fields
from .parts import activation_of, classifier, learned_positions, vit_encoder
from .text import DualFields, init_siglip, text_encoder
from .words import Activation


@dataclass(frozen=True, kw_only=True, slots=True)
class SigLIPVisionConfig(PositionedFields, BlockFields, ClassifierFields):
    """SigLIP's image encoder: a ViT without class token. Pixels after the last whole patch are cropped, as published.

    Attributes:
        activation: "gelu_tanh" as in training, or "gelu" as in timm's models of the first release.
        attention_pool: pool by a learned query; otherwise by the mean of the tokens.
    """

    patch_size: Size = 16
    num_classes: int = 0
    activation: Activation = "gelu"
    attention_pool: bool = True

    def build(self) -> VisionModel["SigLIPVisionConfig"]:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), crop=True)
        model = VisionModel(
            embed=Embedding(patches, positions=learned_positions(self, patches)),
            encoder=vit_encoder(self, activation=activation_of(self.activation)),
            head=Head(self.pool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_siglip)

    def pool(self) -> nn.Module:
        if not self.attention_pool:
            return MeanPool()
        dim = self.embed_dim
        mlp = MLP(dim, int(dim * self.mlp_ratio), activation=activation_of(self.activation))
        return MultiHeadAttentionPool(dim, self.num_heads, mlp, norm_eps=self.norm_eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class SigLIPConfig(DualFields):
    """SigLIP: image and text encoder; a logit is the scaled cosine plus a bias (section 3.2).

    Every text has `context_length` tokens, and is projected to the image's width.
    """

    patch_size: Size = 16
    activation: Activation = "gelu_tanh"
    context_length: int = 64
    vocab_size: int = 32000
    text_dim: int = 768
    text_heads: int = 12

    def build(self) -> DualEncoder["SigLIPConfig"]:
        return DualEncoder(self.image().build(), self.text(), BiasedCosine(scale=10.0, bias=-10.0), config=self)

    def image(self) -> SigLIPVisionConfig:
        """Config of the image encoder, whose pooled vector is compared with texts."""
        return SigLIPVisionConfig(**{**shared_fields(self, SigLIPVisionConfig), "task": EMBEDDING})

    def text(self) -> TextModel:
        """Build the text encoder: every token attends to every token, and the last one is projected."""
        embed = TextEmbed(self.vocab_size, self.text_dim, self.context_length)
        model = TextModel(embed, text_encoder(self), LastToken(), nn.Linear(self.text_dim, self.embed_dim))
        return model.apply(init_siglip)


LARGE: dict[str, Any] = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
SO400M: dict[str, Any] = {"embed_dim": 1152, "depth": 27, "num_heads": 16, "mlp_ratio": 3.7362}
GIANT: dict[str, Any] = {"embed_dim": 1536, "depth": 40, "num_heads": 16}
Tanh = partial(SigLIPVisionConfig, activation="gelu_tanh")

ATTENTION_VARIANTS = {
    "vit_base_patch32_siglip_256": Tanh(patch_size=32, image_size=256),
    "vit_base_patch16_siglip_224": SigLIPVisionConfig(),
    "vit_base_patch16_siglip_256": SigLIPVisionConfig(image_size=256),
    "vit_base_patch16_siglip_384": SigLIPVisionConfig(image_size=384),
    "vit_base_patch16_siglip_512": SigLIPVisionConfig(image_size=512),
    "vit_large_patch16_siglip_256": SigLIPVisionConfig(image_size=256, **LARGE),
    "vit_large_patch16_siglip_384": SigLIPVisionConfig(image_size=384, **LARGE),
    "vit_large_patch16_siglip_512": Tanh(image_size=512, **LARGE),
    "vit_so400m_patch14_siglip_224": SigLIPVisionConfig(patch_size=14, **SO400M),
    "vit_so400m_patch14_siglip_378": SigLIPVisionConfig(patch_size=14, image_size=378, **SO400M),
    "vit_so400m_patch14_siglip_384": SigLIPVisionConfig(patch_size=14, image_size=384, **SO400M),
    "vit_so400m_patch16_siglip_256": Tanh(image_size=256, **SO400M),
    "vit_so400m_patch16_siglip_384": Tanh(image_size=384, **SO400M),
    "vit_so400m_patch16_siglip_512": Tanh(image_size=512, **SO400M),
    "vit_giantopt_patch16_siglip_256": Tanh(image_size=256, **GIANT),
    "vit_giantopt_patch16_siglip_384": Tanh(image_size=384, **GIANT),
}
IMAGE_VARIANTS = ATTENTION_VARIANTS | {
    name.replace("siglip", "siglip_gap"): replace(row, attention_pool=False) for name, row in ATTENTION_VARIANTS.items()
}
IMAGE_VARIANTS |= {
    "vit_so400m_patch14_siglip_gap_448": replace(IMAGE_VARIANTS["vit_so400m_patch14_siglip_gap_224"], image_size=448),
    "vit_so400m_patch14_siglip_gap_896": replace(IMAGE_VARIANTS["vit_so400m_patch14_siglip_gap_224"], image_size=896),
}

_LARGE: dict[str, Any] = {**LARGE, "text_dim": 1024, "text_depth": 24, "text_heads": 16}
_TEXT: dict[str, Any] = {"text_dim": 1152, "text_depth": 27, "text_heads": 16, "text_mlp_ratio": 3.7362}
_SO400M: dict[str, Any] = {**SO400M, **_TEXT}
Two = partial(SigLIPConfig, vocab_size=256000)

DUAL_VARIANTS = {
    "siglip_base_patch16_224": SigLIPConfig(),
    "siglip_base_patch16_256": SigLIPConfig(image_size=256),
    "siglip_base_patch16_256_i18n": SigLIPConfig(image_size=256, vocab_size=250000),
    "siglip_base_patch16_384": SigLIPConfig(image_size=384),
    "siglip_base_patch16_512": SigLIPConfig(image_size=512),
    "siglip_large_patch16_256": SigLIPConfig(image_size=256, **_LARGE),
    "siglip_large_patch16_384": SigLIPConfig(image_size=384, **_LARGE),
    "siglip_so400m_patch14_224": SigLIPConfig(patch_size=14, context_length=16, **_SO400M),
    "siglip_so400m_patch14_384": SigLIPConfig(patch_size=14, image_size=384, **_SO400M),
    "siglip2_base_patch32_256": Two(patch_size=32, image_size=256),
    "siglip2_base_patch16_224": Two(),
    "siglip2_base_patch16_256": Two(image_size=256),
    "siglip2_base_patch16_384": Two(image_size=384),
    "siglip2_base_patch16_512": Two(image_size=512),
    "siglip2_large_patch16_256": Two(image_size=256, **_LARGE),
    "siglip2_large_patch16_384": Two(image_size=384, **_LARGE),
    "siglip2_large_patch16_512": Two(image_size=512, **_LARGE),
    "siglip2_so400m_patch14_224": Two(patch_size=14, **_SO400M),
    "siglip2_so400m_patch14_384": Two(patch_size=14, image_size=384, **_SO400M),
    "siglip2_so400m_patch16_256": Two(image_size=256, **_SO400M),
    "siglip2_so400m_patch16_384": Two(image_size=384, **_SO400M),
    "siglip2_so400m_patch16_512": Two(image_size=512, **_SO400M),
    "siglip2_giantopt_patch16_256": Two(image_size=256, **GIANT, **_TEXT),
    "siglip2_giantopt_patch16_384": Two(image_size=384, **GIANT, **_TEXT),
}
VARIANTS = IMAGE_VARIANTS | DUAL_VARIANTS

PAPER_NAMES = (
    (r"siglip-(vit-)?<size>(-<patch>)?(-<image>)?", "siglip_{size}_patch{patch:16}_{image:224}"),
    (r"siglip-?2-(vit-)?<size>(-<patch>)?(-<image>)?", "siglip2_{size}_patch{patch:16}_{image:224}"),
)
