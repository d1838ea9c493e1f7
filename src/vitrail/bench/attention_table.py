"""The attention benchmark as text: a line of settings and a table."""

from .attention import AttentionBench


def circumstances(found: AttentionBench) -> str:
    """Return the settings of the benchmark in a line."""
    what = "forward and backward" if found.training else "forward"
    words = (
        f"{what}, {found.batch_size} × N × {found.dim} in {found.num_heads} heads, {found.precision}, "
        f"{found.device} with {found.threads} threads, PyTorch {found.torch}"
    )
    return f"{words}; {found.note}" if found.note else words


def bench_table(found: AttentionBench) -> tuple[list[str], list[list[str]]]:
    """Header and rows: milliseconds for each length, with the speed-up over plain attention."""
    plain = found.variants[0]
    rows = []
    for variant in found.variants:
        cells = [
            f"{own:.2f} ({other / own:.2f}×)"
            for own, other in zip(variant.milliseconds, plain.milliseconds, strict=True)
        ]
        start = f"N = {variant.faster_from}" if variant.faster_from else f"never up to {found.lengths[-1]}"
        rows.append([variant.name, *cells, "" if variant is plain else start])
    return ["attention", *(f"N = {length}" for length in found.lengths), "faster from"], rows
