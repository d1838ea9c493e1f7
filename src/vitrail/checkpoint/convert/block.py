"""The usual block of a transformer, by the names of any source."""

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
    """The rules of a block of attention and a MLP.

    Args:
        theirs: where their block stands; the other names of theirs are inside of it.
        norms, project, mlp: their two norms, the layer behind the attention, and the two of the MLP.
        qkv: one layer, or three that are stacked; none where they have rules of their own.
        ours: where our block stands.
        attention: where in its residual the `MultiHeadAttention` stands.
        norm: what of the residual their norm is: "norm" in front of the branch, or "scale" behind it (Swin V2).
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
