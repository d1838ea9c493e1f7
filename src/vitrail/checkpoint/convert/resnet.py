"""Names of the parts of a ResNet in torchvision, timm and transformers."""

from .rename import Rule

UNITS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("downsample.0", "downsample.1"))
"""Names of a block's two or three convolutions and norms, and of its shortcut, in torchvision and timm."""


def transformers_resnet(stem: str, stages: tuple[str, ...], theirs: str, kinds: str) -> tuple[Rule, ...]:
    """Rules for transformers' own ResNet, which counts from 0 and has other names than torchvision.

    Args:
        stem, stages: paths of ours, with torchvision's names inside.
        theirs: prefix of their names.
        kinds: wildcard of a norm's tensors, "b" or "f" (see `rename`).
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
