"""The parts of a ResNet, as torchvision and timm name them, and as transformers does."""

from .rename import Rule

UNITS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("downsample.0", "downsample.1"))
"""Convolutions and norms of a block in torchvision and timm: two or three, and the way around them."""


def transformers_resnet(stem: str, stages: tuple[str, ...], theirs: str, kinds: str) -> tuple[Rule, ...]:
    """transformers' own ResNet, which counts from 0, and has names for what torchvision numbers.

    Args:
        stem, stages: where ours stand, with the names of torchvision inside.
        theirs: what stands in front of their names.
        kinds: of a norm's tensors, "b" or "f" (see `rename`).
    """
    pairs = [(f"{stem}.conv1", f"{stem}.bn1", f"{theirs}embedder.embedder")]
    for number, stage in enumerate(stages):
        block = f"{theirs}encoder.stages.{number}.layers.{{i}}"
        units = (*(f"{block}.layer.{index}" for index in range(3)), f"{block}.shortcut")
        ours = f"{stage}.{{i}}"
        pairs += [(f"{ours}.{conv}", f"{ours}.{norm}", unit) for (conv, norm), unit in zip(UNITS, units, strict=True)]
    return tuple(
        Rule(f"{ours}.{{{kinds}}}", (f"{unit}.{part}.{{{kinds}}}",))
        for conv, norm, unit in pairs
        for ours, part in ((conv, "convolution"), (norm, "normalization"))
    )
