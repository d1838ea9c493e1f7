"""Heads of DPT (Ranftl et al., 2021, section 3): maps of four sizes from the tokens of four blocks, fused by
convolutions."""

from collections.abc import Callable

from torch import nn

from ..nn import ClassReadout, DepthHead, Fuse, FusionDecoder, Reassemble, SegmentationHead, refinement, upsample


def dpt_decoder(
    dim: int,
    widths: tuple[int, ...],
    fusion_dim: int,
    *,
    norm: bool = False,
    read: Callable[[], nn.Module] | None = None,
) -> FusionDecoder:
    """Decoder: four Tokens -> (B, fusion_dim, 8 H, 8 W) for a grid of H × W.

    Args:
        dim: width of the tokens.
        widths: channels of the four maps when they are resized to 4, 2, 1 and 1/2 times the grid.
        fusion_dim: channels of the maps in the fusion.
        norm: use batch norms in the fusion.
        read: constructor of what makes patch tokens of all tokens; by default the class token is joined to each.
    """
    first, second, _, fourth = widths
    resizes = (
        nn.ConvTranspose2d(first, first, 4, stride=4),
        nn.ConvTranspose2d(second, second, 2, stride=2),
        nn.Identity(),
        nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
    )
    levels = zip(widths, resizes, strict=True)
    return FusionDecoder(
        [
            Reassemble(dim, width, fusion_dim, resize, read=read() if read else ClassReadout(dim))
            for width, resize in levels
        ],
        start=_doubling(fusion_dim, norm=norm),
        fuse=[Fuse(refinement(fusion_dim, norm=norm), _doubling(fusion_dim, norm=norm)) for _ in widths[1:]],
    )


def dpt_depth(decoder: FusionDecoder, dim: int) -> DepthHead:
    """Head for inverse depth, (B, 16 H, 16 W), around a decoder whose maps have `dim` channels."""
    predict = nn.Sequential(
        nn.Conv2d(dim, dim // 2, 3, padding=1),
        upsample(2, corners=True),
        nn.Conv2d(dim // 2, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 1),
        nn.ReLU(),
    )
    return DepthHead(decoder, predict)


def dpt_segmentation(decoder: FusionDecoder, dim: int, num_classes: int, *, dropout: float) -> SegmentationHead:
    """Head for logits of the pixels, (B, num_classes, 16 H, 16 W), around a decoder whose maps have `dim` channels."""
    smooth = nn.Sequential(
        nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(), nn.Dropout(dropout)
    )
    return SegmentationHead(decoder, smooth, nn.Conv2d(dim, num_classes, 1), upsample(2, corners=True))


def _doubling(dim: int, *, norm: bool) -> nn.Module:
    return nn.Sequential(refinement(dim, norm=norm), upsample(2, corners=True), nn.Conv2d(dim, dim, 1))
