"""ResNet as an embedding: pixels -> Tokens."""

import math
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens


class ResNetEmbed(nn.Module):
    """torchvision's ResNet of bottlenecks, then a 1×1 convolution to D channels: pixels (B, C, H, W) -> Tokens.

    Its batch norms are frozen: their statistics and factors are buffers, which training does not change
    (Carion et al., 2020, "DETR", section 4).

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        depths: number of bottlenecks of the four stages: (3, 4, 6, 3) is ResNet-50.
        dilated: the last stage keeps the grid and dilates its convolutions (DETR-DC5): a token has a side of 16 pixels,
        not 32.
    """

    def __init__(
        self, in_channels: int, embed_dim: int, depths: tuple[int, ...] = (3, 4, 6, 3), *, dilated: bool = False
    ) -> None:
        super().__init__()
        # Imported here because torchvision takes a second, which only this model should cost.
        from torchvision.models.resnet import Bottleneck, ResNet
        from torchvision.ops import FrozenBatchNorm2d

        whole = ResNet(
            Bottleneck,
            list(depths),
            norm_layer=FrozenBatchNorm2d,
            replace_stride_with_dilation=[False, False, dilated],
        )
        whole.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        parts = OrderedDict((name, part) for name, part in whole.named_children() if name not in ("avgpool", "fc"))
        self.body = nn.Sequential(parts)
        self.project = nn.Conv2d(whole.fc.in_features, embed_dim, 1)
        self.stride = 16 if dilated else 32

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return Tokens.from_map(self.project(self.body(pixels)))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of tokens (rows, columns) of an image of this size; any size works, halves are rounded up."""
        return math.ceil(image_size[0] / self.stride), math.ceil(image_size[1] / self.stride)
