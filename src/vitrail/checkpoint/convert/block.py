"""Rules for a standard transformer block, with the names of any source."""

from .rename import Rule, linear


def named_block(
    theirs: str,
    *,
    norms: tuple[str, str],
    project: str,
    mlp: tuple[str, str],
    qkv: tuple[str, ...] = (),
    ours: str = "encoder.blocks.{i}",
    attention: str = "branch",
    norm: str = "norm",
) -> tuple[Rule, ...]:
    """Rules for a block of attention and MLP.

    Args:
        theirs: path of their block, to which their other names are relative.
        norms, project, mlp: names of their two norms, the layer after the attention, and the two layers of the MLP.
        qkv: names of one layer, or of three that are stacked; empty if separate rules cover them.
        ours: path of our block.
        attention: path of the `MultiHeadAttention` in its residual.
        norm: name of their norm in our residual: "norm" before the branch, or "scale" after it (Swin V2).
    """
    inner = f"{ours}.attention.{attention}"
    joint = linear(f"{inner}.qkv", *(f"{theirs}.{name}" for name in qkv)) if qkv else None
    return (
        linear(f"{ours}.attention.{norm}", f"{theirs}.{norms[0]}"),
        *((joint,) if joint else ()),
        linear(f"{inner}.project", f"{theirs}.{project}"),
        linear(f"{ours}.mlp.{norm}", f"{theirs}.{norms[1]}"),
        linear(f"{ours}.mlp.branch.expand", f"{theirs}.{mlp[0]}"),
        linear(f"{ours}.mlp.branch.contract", f"{theirs}.{mlp[1]}"),
    )
