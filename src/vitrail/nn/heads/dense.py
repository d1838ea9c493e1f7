"""Heads for dense prediction: Tokens -> maps."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..embed.stem import ConvUnit, ResidualConv
from ..tokens import Tokens
from .reading import CLASS_AND_PATCHES, PATCHES
from .segment import resize_map


class ClassReadout(nn.Module):
    """Project every patch token joined with the class token (Ranftl et al., 2021, "DPT", eq. 5). Tokens -> Tokens."""

    reads = CLASS_AND_PATCHES

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * dim, dim)
        self.activation = nn.GELU()

    def forward(self, tokens: Tokens) -> Tokens:
        joined = torch.cat([tokens.patches, tokens.x[:, :1].expand_as(tokens.patches)], dim=2)
        return tokens.without_prefix().with_x(self.activation(self.project(joined)))


class PatchMap(nn.Module):
    """The patch tokens as a map. Tokens -> (B, D, H, W)."""

    reads = PATCHES

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D H W"]:
        return tokens.map


class Reassemble(nn.Module):
    """Convert tokens to a map of another size (Ranftl et al., 2021, "DPT", section 3). Tokens -> (B, F, h, w).

    Args:
        dim: width of the tokens.
        width: channels of the map when it is resized.
        out_channels: channels F of the output.
        resize: (B, width, H, W) -> (B, width, h, w).
        read: Tokens -> Tokens of the patches; by default `ClassReadout`.
    """

    def __init__(
        self, dim: int, width: int, out_channels: int, resize: nn.Module, *, read: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.read = read or ClassReadout(dim)
        self.project = nn.Conv2d(dim, width, 1)
        self.resize = resize
        self.out = nn.Conv2d(width, out_channels, 3, padding=1, bias=False)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B F h w"]:
        return self.out(self.resize(self.project(self.read(tokens).map)))


class Fuse(nn.Module):
    """Add a finer map to a coarser one and double the size (Lin et al., 2017, "RefineNet").

    If the image has an odd number of patches, the finer map is smaller than the coarser, and is resampled.

    Args:
        admit: layers for the finer map, (B, F, h, w) -> (B, F, h, w).
        refine: layers for the sum, which double its size.
    """

    def __init__(self, admit: nn.Module, refine: nn.Module) -> None:
        super().__init__()
        self.admit = admit
        self.refine = refine

    def forward(self, coarse: Float[Tensor, "B F h w"], fine: Float[Tensor, "B F h2 w2"]) -> Float[Tensor, "B F H W"]:
        return self.refine(coarse + self.admit(resize_map(fine, coarse.shape[2:])))


class FusionDecoder(nn.Module):
    """Fuse several levels to one map, from the coarsest to the finest (Ranftl et al., 2021, "DPT", section 3).

    Args:
        reassemble: Tokens -> (B, F, h, w), one for each level, the finest first.
        start: layers for the coarsest map, which double its size.
        fuse: (coarser, finer) -> map of twice the coarser's size, one for each other level, the second coarsest first.
    """

    def __init__(self, reassemble: Iterable[nn.Module], start: nn.Module, fuse: Iterable[nn.Module]) -> None:
        super().__init__()
        self.reassemble = nn.ModuleList(reassemble)
        self.start = start
        self.fuse = nn.ModuleList(fuse)

    def forward(self, levels: tuple[Tokens, ...]) -> Float[Tensor, "B F H W"]:
        *finer, coarsest = (part(level) for part, level in zip(self.reassemble, levels, strict=True))
        image = self.start(coarsest)
        for fuse, level in zip(self.fuse, reversed(finer), strict=True):
            image = fuse(image, level)
        return image


class Upsampling(nn.Module):
    """Upsample one level by alternating doubling and convolution. Tokens -> (B, F, 2ⁿ H, 2ⁿ W).

    Zheng et al. (2021), "Rethinking semantic segmentation from a sequence-to-sequence perspective", section 3.2.

    Args:
        dim: width of the tokens.
        out_channels: channels F of the output.
        doublings: number n of doublings.
    """

    reads = PATCHES

    def __init__(self, dim: int, out_channels: int, doublings: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(dim, out_channels, 1)
        steps = (nn.Sequential(upsample(2), ConvUnit(out_channels, out_channels, nn.ReLU)) for _ in range(doublings))
        self.steps = nn.Sequential(*steps)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B F h w"]:
        return self.steps(self.project(tokens.map))


class DepthHead(nn.Module):
    """Decode tokens to a map and predict one number for each pixel: Tokens -> (B, H, W)."""

    def __init__(self, decode: nn.Module, predict: nn.Module) -> None:
        super().__init__()
        self.decode = decode
        self.predict = predict

    def forward(self, tokens: Tokens | tuple[Tokens, ...]) -> Float[Tensor, "B H W"]:
        return self.predict(self.decode(tokens)).squeeze(1)


class SegmentationHead(nn.Module):
    """Decode tokens to a map, classify its cells and upsample: Tokens -> (B, K, H, W).

    Args:
        decode: Tokens, or a tuple of levels, -> (B, F, h, w).
        smooth: layers before the classifier, (B, F, h, w) -> (B, F, h, w).
        classify: (B, F, h, w) -> (B, K, h, w).
        enlarge: upsampling to the image's size.
    """

    def __init__(self, decode: nn.Module, smooth: nn.Module, classify: nn.Module, enlarge: nn.Module) -> None:
        super().__init__()
        self.decode = decode
        self.smooth = smooth
        self.classify = classify
        self.enlarge = enlarge

    def forward(self, tokens: Tokens | tuple[Tokens, ...]) -> Float[Tensor, "B K H W"]:
        return self.enlarge(self.classify(self.smooth(self.decode(tokens))))


def refinement(dim: int, *, norm: bool) -> ResidualConv:
    """Residual with two activations and 3×3 convolutions; with `norm`, a batch norm follows each convolution."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1, bias=not norm)]
        layers.append(nn.BatchNorm2d(dim) if norm else nn.Identity())
    return ResidualConv(nn.Sequential(*layers))


def upsample(factor: int | tuple[float, ...], *, corners: bool = False) -> nn.Module:
    """Bilinear upsampling by `factor`; with `corners` the corner pixels keep their place."""
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=corners)
