"""Building blocks of Vision Transformers: embeddings, attention, heads, and what joins them, in one flat list."""

from .activation import QuickGELU
from .attention.attend import ATTENDS, AnyAttend, Attend, TalkingHeadsAttend, attention_scores, attention_weights
from .attention.class_attention import ClassAttention, PrefixOnly
from .attention.cosine import CosineScores
from .attention.levit import CoarseQueries, DistanceBias, NormedProjection, ShrinkingAttention, coarser
from .attention.linear import EluFeatures, LinearAttend, LinearAttention, RandomFeatures
from .attention.multi_head import CrossAttention, MultiHeadAttention, NoBias, NoRefinement
from .attention.packing import PackedAttention, SegmentMask, pack, pack_tokens, unpack
from .attention.pattern import Grid, Groups, Pattern
from .attention.places import Places, numbers
from .attention.projections import (
    ConvLinear,
    ConvProjection,
    JointProjection,
    JointProjectionWithoutKeyBias,
    PlacedProjection,
    ReducedProjection,
    ScaledQueries,
)
from .attention.refine import QKNorm, RotaryPositions
from .attention.relative import (
    AnyGridBias,
    ContinuousRelativeBias,
    RelativeBias,
    RelativeBiasWithClass,
    RelativePositionAttention,
    offset_index,
    spread_offsets,
)
from .attention.space_time import FrameAttention, MeanOverFrames, PrefixForEachFrame, SpaceAttention, TimeAttention
from .attention.sparse import AxialAttention, GroupedAttend, GroupsOf, MaskOf, NeighbourhoodAttention, SparseAttention
from .attention.windows import LocalAttention, NoMask, ShiftMask
from .batch_norm import ConvNorm, LinearNorm, NormLinear
from .convolution import DepthwiseConv, GlobalResponseNorm, OnMap
from .dual import BiasedCosine, DualEncoder, ScaledCosine, TextModel
from .embed.adaptive import AdaptivePatchEmbed
from .embed.bit import BiTResNet, Bottleneck, PoolSame, StandardisedConv
from .embed.fit import CheckMultiple, CropToMultiple, PadToMultiple
from .embed.flexi import FlexiPatchEmbed, PositionalPatchEmbed, resize_patch_weights
from .embed.patches import Embedding, HybridPatchEmbed, MapEmbed, OverlappingPatchEmbed, PatchEmbed, TubeletEmbed
from .embed.positions import (
    AxisPositions,
    LearnedPositions,
    SinCosPositions,
    SinusoidalPositions,
    resample_positions,
    sincos_positions,
    sinusoidal_positions,
)
from .embed.prefix import PrefixTokens, RegisterTokens
from .embed.quadtree import entropy, quadtree, variance
from .embed.resnet import ResNetEmbed
from .embed.sine import SinePositions
from .embed.stem import ConvStem, ConvUnit, ResidualConv, Stages, StridedConvs, StridedStem
from .embed.text import CausalMask, EndOfText, LastToken, TextEmbed
from .encoder import (
    HOLDERS,
    BiasedBlock,
    Block,
    Encoder,
    Levels,
    PerToken,
    SharedBiasEncoder,
    Stage,
    checkpoint_activations,
)
from .heads.decoder import DecoderBlock, Memory, QueryCrossAttention, QueryDecoder, QuerySelfAttention
from .heads.dense import (
    ClassReadout,
    DepthHead,
    Fuse,
    FusionDecoder,
    Reassemble,
    SegmentationHead,
    Upsampling,
    enlarge,
    refinement,
)
from .heads.detection import DetectionHead
from .heads.head import ClassAndMean, DistilledHead, FirstToken, Head, MeanPool, MLPHead, PatchHead, PooledDistilledHead
from .heads.multitask import TaskHeads
from .heads.outputs import Detections, TaskOutputs
from .heads.pool import AttentionWeightedPool, JoinedTokens, MultiHeadAttentionPool
from .heads.prototypes import PrototypeHead, Prototypes, UnitLength
from .heads.segment import AllMLPHead
from .init import (
    init_convnext,
    init_convolutions,
    init_lecun,
    init_mae,
    init_vit,
    init_xavier,
    init_zero,
    shrink_by_depth,
)
from .masking import MaskedAutoencoder, MaskedEmbedding, MaskedImageModel, PatchDecoder, Reconstruction
from .mixing import TokenMLP
from .mlp import MLP, ConvMLP, SwiGLU
from .model import AnyVisionModel, VisionModel
from .reduce import ConvMerging, NormedPatchMerging, PatchMerging, PooledReduction, Reembed, StridedReduction
from .residual import DropPath, LayerScale, Parallel, Residual, Sum, linear_rates
from .tokens import NO_TOKEN, Tokens, fold, sizes

__all__ = [
    "ATTENDS",
    "HOLDERS",
    "MLP",
    "NO_TOKEN",
    "AdaptivePatchEmbed",
    "AllMLPHead",
    "AnyAttend",
    "AnyGridBias",
    "AnyVisionModel",
    "Attend",
    "AttentionWeightedPool",
    "AxialAttention",
    "AxisPositions",
    "BiTResNet",
    "BiasedBlock",
    "BiasedCosine",
    "Block",
    "Bottleneck",
    "CausalMask",
    "CheckMultiple",
    "ClassAndMean",
    "ClassAttention",
    "ClassReadout",
    "CoarseQueries",
    "ContinuousRelativeBias",
    "ConvLinear",
    "ConvMLP",
    "ConvMerging",
    "ConvNorm",
    "ConvProjection",
    "ConvStem",
    "ConvUnit",
    "CosineScores",
    "CropToMultiple",
    "CrossAttention",
    "DecoderBlock",
    "DepthHead",
    "DepthwiseConv",
    "DetectionHead",
    "Detections",
    "DistanceBias",
    "DistilledHead",
    "DropPath",
    "DualEncoder",
    "EluFeatures",
    "Embedding",
    "Encoder",
    "EndOfText",
    "FirstToken",
    "FlexiPatchEmbed",
    "FrameAttention",
    "Fuse",
    "FusionDecoder",
    "GlobalResponseNorm",
    "Grid",
    "GroupedAttend",
    "Groups",
    "GroupsOf",
    "Head",
    "HybridPatchEmbed",
    "JoinedTokens",
    "JointProjection",
    "JointProjectionWithoutKeyBias",
    "LastToken",
    "LayerScale",
    "LearnedPositions",
    "Levels",
    "LinearAttend",
    "LinearAttention",
    "LinearNorm",
    "LocalAttention",
    "MLPHead",
    "MapEmbed",
    "MaskOf",
    "MaskedAutoencoder",
    "MaskedEmbedding",
    "MaskedImageModel",
    "MeanOverFrames",
    "MeanPool",
    "Memory",
    "MultiHeadAttention",
    "MultiHeadAttentionPool",
    "NeighbourhoodAttention",
    "NoBias",
    "NoMask",
    "NoRefinement",
    "NormLinear",
    "NormedPatchMerging",
    "NormedProjection",
    "OnMap",
    "OverlappingPatchEmbed",
    "PackedAttention",
    "PadToMultiple",
    "Parallel",
    "PatchDecoder",
    "PatchEmbed",
    "PatchHead",
    "PatchMerging",
    "Pattern",
    "PerToken",
    "PlacedProjection",
    "Places",
    "PoolSame",
    "PooledDistilledHead",
    "PooledReduction",
    "PositionalPatchEmbed",
    "PrefixForEachFrame",
    "PrefixOnly",
    "PrefixTokens",
    "PrototypeHead",
    "Prototypes",
    "QKNorm",
    "QueryCrossAttention",
    "QueryDecoder",
    "QuerySelfAttention",
    "QuickGELU",
    "RandomFeatures",
    "Reassemble",
    "Reconstruction",
    "ReducedProjection",
    "Reembed",
    "RegisterTokens",
    "RelativeBias",
    "RelativeBiasWithClass",
    "RelativePositionAttention",
    "ResNetEmbed",
    "Residual",
    "ResidualConv",
    "RotaryPositions",
    "ScaledCosine",
    "ScaledQueries",
    "SegmentMask",
    "SegmentationHead",
    "SharedBiasEncoder",
    "ShiftMask",
    "ShrinkingAttention",
    "SinCosPositions",
    "SinePositions",
    "SinusoidalPositions",
    "SpaceAttention",
    "SparseAttention",
    "Stage",
    "Stages",
    "StandardisedConv",
    "StridedConvs",
    "StridedReduction",
    "StridedStem",
    "Sum",
    "SwiGLU",
    "TalkingHeadsAttend",
    "TaskHeads",
    "TaskOutputs",
    "TextEmbed",
    "TextModel",
    "TimeAttention",
    "TokenMLP",
    "Tokens",
    "TubeletEmbed",
    "UnitLength",
    "Upsampling",
    "VisionModel",
    "attention_scores",
    "attention_weights",
    "checkpoint_activations",
    "coarser",
    "enlarge",
    "entropy",
    "fold",
    "init_convnext",
    "init_convolutions",
    "init_lecun",
    "init_mae",
    "init_vit",
    "init_xavier",
    "init_zero",
    "linear_rates",
    "numbers",
    "offset_index",
    "pack",
    "pack_tokens",
    "quadtree",
    "refinement",
    "resample_positions",
    "resize_patch_weights",
    "shrink_by_depth",
    "sincos_positions",
    "sinusoidal_positions",
    "sizes",
    "spread_offsets",
    "unpack",
    "variance",
]
