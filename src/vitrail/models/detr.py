"""DETR (Carion et al., 2020, "End-to-end object detection with transformers").

The cells of a ResNet's map are the tokens of a post-norm transformer encoder; learned queries of a decoder attend to
them, and each predicts one object or "no object". There are no anchors and no suppression of duplicates.
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from ..nn import (
    MLP,
    Block,
    DecoderBlock,
    DetectionHead,
    Detections,
    Embedding,
    Encoder,
    PlacedProjection,
    QueryCrossAttention,
    QueryDecoder,
    QuerySelfAttention,
    ResNetEmbed,
    SinePositions,
    VisionModel,
    init_xavier,
    linear_rates,
)
from ..task_spec import DETECTION, TaskSpec
from .fields import BlockFields, BlockWidths, ClassifierFields, EncoderFields, Size
from .parts import post_norm, vit_attention


@dataclass(frozen=True, kw_only=True, slots=True)
class DETRConfig(BlockFields, ClassifierFields):
    """DETR: ResNet, transformer encoder, decoder with object queries. The output is `Detections`.

    Attributes:
        image_size: usual image size; any size works.
        num_classes: number of classes K; the logits have one more, for "no object".
        depths: number of bottlenecks in each of the ResNet's four stages.
        dilated: the ResNet's last stage keeps its grid (DC5), for twice the tokens in each direction.
        depth, decoder_depth: number of blocks of the encoder and of the decoder, whose blocks are equal.
        num_queries: largest number of objects in an image.
        dropout: rate of dropout after every branch and inside the MLPs; 0.1 in the paper.
    """

    task: TaskSpec = DETECTION
    image_size: Size = 800
    num_classes: int = 91
    depths: tuple[int, ...] = (3, 4, 6, 3)
    dilated: bool = False
    embed_dim: int = 256
    depth: int = 6
    decoder_depth: int = 6
    num_heads: int = 8
    mlp_ratio: float = 8.0
    num_queries: int = 100
    norm_eps: float = 1e-5

    @property
    def unnamed_outputs(self) -> int:
        return 1

    def build(self) -> VisionModel["DETRConfig", Detections]:
        dim, positions = self.embed_dim, SinePositions(self.embed_dim)
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [self.block(positions, rate, self.block_widths(index)) for index, rate in enumerate(rates)]
        return VisionModel(
            embed=Embedding(ResNetEmbed(self.in_channels, dim, self.depths, dilated=self.dilated)),
            encoder=Encoder(blocks).apply(init_xavier),
            head=DetectionHead(query_decoder(self, self.decoder_depth, self.num_queries), dim, self.num_classes),
            config=self,
        )

    def block(self, positions: nn.Module, drop_path: float, widths: BlockWidths) -> Block:
        dim, heads, head_dim = self.embed_dim, widths.num_heads, widths.head_dim
        residual = partial(post_norm, dim, drop_path=drop_path, norm_eps=self.norm_eps)
        qkv = PlacedProjection(dim, heads, positions, head_dim=head_dim)
        hidden = widths.mlp_dim or int(dim * self.mlp_ratio)
        return Block(
            attention=residual(vit_attention(dim, heads, head_dim, qkv=qkv, dropout=self.dropout)),
            mlp=residual(MLP(dim, hidden, activation=nn.ReLU, dropout=self.dropout)),
        )


def query_decoder(config: EncoderFields, depth: int, num_queries: int) -> QueryDecoder:
    """Build DETR's decoder: equal blocks of the encoder's width, and a norm."""
    dim, heads, dropout = config.embed_dim, config.num_heads, config.dropout

    def block(drop_path: float) -> DecoderBlock:
        residual = partial(post_norm, dim, drop_path=drop_path, norm_eps=config.norm_eps)
        return DecoderBlock(
            attention=residual(QuerySelfAttention(dim, heads, dropout=dropout)),
            cross=residual(QueryCrossAttention(dim, heads, dropout=dropout)),
            mlp=residual(MLP(dim, int(dim * config.mlp_ratio), activation=nn.ReLU, dropout=dropout)),
        )

    blocks = [block(rate) for rate in linear_rates(config.drop_path, depth)]
    norm = nn.LayerNorm(dim, eps=config.norm_eps)
    return QueryDecoder(num_queries, dim, SinePositions(dim), blocks, norm).apply(init_xavier)


RESNET101 = (3, 4, 23, 3)

VARIANTS = {
    "detr_resnet50": DETRConfig(),
    "detr_resnet101": DETRConfig(depths=RESNET101),
    "detr_resnet50_dc5": DETRConfig(dilated=True),
    "detr_resnet101_dc5": DETRConfig(depths=RESNET101, dilated=True),
}

PAPER_NAMES = (
    (r"detr", "detr_resnet50"),
    (r"detr-r(esnet-?)?<number>", "detr_resnet{number}"),
    (r"detr-dc5-r(esnet-?)?<number>", "detr_resnet{number}_dc5"),
    (r"detr-r(esnet-?)?<number>-dc5", "detr_resnet{number}_dc5"),
)
