"""Tables of releases that no library keeps the names of, against the names that the releases' modules give.

The lists below are what the modules of the repositories say, level by level: microsoft/CvT (lib/models/cls_cvt.py),
NVlabs/SegFormer (mmseg/models/backbones/mix_transformer.py, decode_heads/decode_head.py and segformer_head.py) and
facebookresearch/LeViT (levit.py).
"""

from typing import Any

import pytest
import torch

from vitrail.checkpoint.convert import recognise
from vitrail.checkpoint.convert.rename import to_ours, to_theirs
from vitrail.models.registry import model_config

from .references import on_meta

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def under(root: str, *names: str) -> list[str]:
    return [f"{root}.{name}" for name in names]


def layer(*roots: str) -> list[str]:
    """Weight and bias."""
    return [name for root in roots for name in under(root, "weight", "bias")]


def cvt() -> list[str]:
    names = [*layer("norm", "head"), "stage2.cls_token"]
    for stage, depth in enumerate(model_config("cvt_13_224").depths):
        names += layer(f"stage{stage}.patch_embed.proj", f"stage{stage}.patch_embed.norm")
        for block in range(depth):
            root = f"stage{stage}.blocks.{block}"
            names += layer(*under(root, "norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"))
            for part in "qkv":
                names += layer(f"{root}.attn.proj_{part}")
                names += [f"{root}.attn.conv_proj_{part}.conv.weight"]
                names += under(f"{root}.attn.conv_proj_{part}.bn", *BATCH_NORM)
    return names


def mit(prefix: str) -> list[str]:
    config, names = model_config("mit_b0"), []
    for stage, (depth, reduction) in enumerate(zip(config.depths, config.reductions, strict=True), start=1):
        names += layer(f"patch_embed{stage}.proj", f"patch_embed{stage}.norm", f"norm{stage}")
        for block in range(depth):
            root = f"block{stage}.{block}"
            names += layer(*under(root, "norm1", "norm2", "attn.q", "attn.kv", "attn.proj"))
            names += layer(*under(root, "mlp.fc1", "mlp.dwconv.dwconv", "mlp.fc2"))
            names += layer(*under(root, "attn.sr", "attn.norm")) if reduction > 1 else []
    return under(prefix, *names) if prefix else names


def segformer() -> list[str]:
    """The head's layers, and one that all heads of mmsegmentation have and this one does not use."""
    levels = under("decode_head", *(f"linear_c{level}.proj" for level in (1, 2, 3, 4)))
    fuse = ["decode_head.linear_fuse.conv.weight", *under("decode_head.linear_fuse.bn", *BATCH_NORM)]
    return [*mit("backbone"), *layer(*levels, "decode_head.linear_pred", "decode_head.conv_seg"), *fuse]


def with_norm(*roots: str) -> list[str]:
    """LeViT's layers without a bias, and a batch norm."""
    return [name for root in roots for name in [f"{root}.c.weight", *under(f"{root}.bn", *BATCH_NORM)]]


def levit(variant: str) -> list[str]:
    depths = model_config(variant).depths
    names = with_norm(*(f"patch_embed.{number}" for number in (0, 2, 4, 6)))
    for head in ("head", "head_dist"):
        names += [*under(f"{head}.bn", *BATCH_NORM), *layer(f"{head}.l")]
    place = 0
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            names += with_norm(*under(f"blocks.{place}.m", "qkv", "proj.1"))
            names += under(f"blocks.{place}.m", "attention_biases", "attention_bias_idxs")
            names += with_norm(*under(f"blocks.{place + 1}.m", "0", "2"))
            place += 2
        if stage + 1 < len(depths):
            names += with_norm(*under(f"blocks.{place}", "kv", "q.1", "proj.1"))
            names += under(f"blocks.{place}", "attention_biases", "attention_bias_idxs")
            names += with_norm(*under(f"blocks.{place + 1}.m", "0", "2"))
            place += 2
    return names


RELEASES: list[tuple[str, str, list[str]]] = [
    ("cvt_13_224", "official CvT", cvt()),
    ("mit_b0", "official PVT v2", [*mit(""), *layer("head")]),
    ("segformer_b0", "official SegFormer", segformer()),
    ("levit_128s", "official LeViT, depths (2, 3, 4)", levit("levit_128s")),
    ("levit_256", "official LeViT, depths (4, 4, 4)", levit("levit_256")),
]


@pytest.mark.parametrize(("variant", "layout", "names"), RELEASES, ids=[release[0] for release in RELEASES])
def test_every_name_is_accounted_for(variant: str, layout: str, names: list[str]) -> None:
    """Each of theirs is one of ours, or one that is known to be of no use; and nothing of ours is missing."""
    model = on_meta(model_config(variant).build)
    state: dict[str, Any] = {name: torch.empty(()) for name in names}
    assert len(state) == len(names)
    found = recognise(state)
    assert found.name == layout
    made = to_theirs(model.state_dict(), found, num_heads=1)
    unused = {name for name in names if name.endswith("bias_idxs") or "conv_seg" in name}
    assert made.keys() == found.strip(state).keys() - unused
    renamed = to_ours({**found.strip(state), **made}, found)
    assert (renamed.incomplete, renamed.unexpected) == ((), ())
    assert set(renamed.unused) == unused
    assert {name: tensor.shape for name, tensor in renamed.state.items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }
