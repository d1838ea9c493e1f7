"""A plan as rows of a table."""

from .budget import format_bytes
from .cost import Plan


def plan_rows(plan: Plan) -> list[list[str]]:
    """Return rows of (quantity, value)."""
    batch = plan.batch_size
    frames = "" if plan.frames is None else f"{plan.frames} frames of "
    rows = [
        ("image", f"{frames}{plan.in_channels} × {plan.image_size[0]} × {plan.image_size[1]}"),
        ("classes", f"{plan.num_classes:,}" if plan.num_classes else "none"),
        ("parameters", f"{plan.parameters:,}"),
        ("GFLOPs an image (multiply + add = 2)", f"{plan.flops / 1e9:.2f}"),
        ("multiply-adds an image, billions", f"{plan.multiply_adds / 1e9:.2f}"),
        ("", ""),
        (f"training, batch {batch}, {plan.precision}, {plan.device}", ""),
        ("  weights", format_bytes(plan.weights)),
        ("  gradients", format_bytes(plan.gradients)),
        ("  optimizer", format_bytes(plan.optimizer)),
        ("  average of the weights", format_bytes(plan.ema)),
        ("  activations and batch", format_bytes(plan.activations)),
        ("  all tensors, at the peak", format_bytes(plan.training_bytes)),
        *_process_rows(plan, plan.training_bytes, plan.training_process_bytes),
        ("", ""),
        (f"inference, batch {batch}, {plan.precision}, {plan.device}", ""),
        ("  all tensors, at the peak", format_bytes(plan.inference_bytes)),
        *_process_rows(plan, plan.inference_bytes, plan.inference_process_bytes),
    ]
    if plan.largest_training_batch is not None:
        rows += [
            ("", ""),
            ("largest batch within the budget, training", f"{plan.largest_training_batch:,}"),
            ("largest batch within the budget, inference", f"{plan.largest_inference_batch:,}"),
        ]
    return [list(row) for row in rows]


def part_rows(plan: Plan) -> list[list[str]]:
    """Return rows of (part, GFLOPs, share of them, weights, activations kept for the backward pass)."""
    return [
        [
            part.name,
            f"{part.flops / 1e9:.3f}",
            f"{100 * part.flops / max(1, plan.flops):.1f} %",
            format_bytes(part.weights),
            format_bytes(part.activations),
        ]
        for part in plan.parts
    ]


PART_HEADERS = ["part", "GFLOPs", "share", "weights", "kept for backward"]


def _process_rows(plan: Plan, tensors: int, process: int) -> list[tuple[str, str]]:
    runtime = format_bytes(plan.runtime_bytes)
    if plan.device != "cpu":
        return [("  CUDA context (roughly)", runtime), ("  GPU", format_bytes(process))]
    return [
        ("  Python and PyTorch", runtime),
        ("  lost between tensors in the heap (roughly)", format_bytes(process - tensors - plan.runtime_bytes)),
        ("  process", format_bytes(process)),
    ]
