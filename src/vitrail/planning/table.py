"""A plan as rows for people."""

from .budget import format_bytes
from .cost import Plan


def plan_rows(plan: Plan) -> list[list[str]]:
    """What and how much, a row each."""
    batch, device = plan.batch_size, "process" if plan.device == "cpu" else "GPU"
    runtime = "Python and PyTorch" if plan.device == "cpu" else "CUDA context (roughly)"
    rows = [
        ("image", f"{plan.in_channels} × {plan.image_size[0]} × {plan.image_size[1]}"),
        ("classes", f"{plan.num_classes:,}"),
        ("parameters", f"{plan.parameters:,}"),
        ("GFLOPs an image (multiply + add = 2)", f"{plan.flops / 1e9:.2f}"),
        ("", ""),
        (f"training, batch {batch}, {plan.precision}, {plan.device}", ""),
        ("  weights", format_bytes(plan.weights)),
        ("  gradients", format_bytes(plan.gradients)),
        ("  optimizer", format_bytes(plan.optimizer)),
        ("  average of the weights", format_bytes(plan.ema)),
        ("  activations and batch", format_bytes(plan.activations)),
        ("  all tensors, at the peak", format_bytes(plan.training_bytes)),
        (f"  {runtime}", format_bytes(plan.runtime_bytes)),
        (f"  {device}", format_bytes(plan.training_bytes + plan.runtime_bytes)),
        ("", ""),
        (f"inference, batch {batch}, {plan.precision}, {plan.device}", ""),
        ("  all tensors, at the peak", format_bytes(plan.inference_bytes)),
        (f"  {runtime}", format_bytes(plan.runtime_bytes)),
        (f"  {device}", format_bytes(plan.inference_bytes + plan.runtime_bytes)),
    ]
    if plan.largest_training_batch is not None:
        rows += [
            ("", ""),
            ("largest batch within the budget, training", f"{plan.largest_training_batch:,}"),
            ("largest batch within the budget, inference", f"{plan.largest_inference_batch:,}"),
        ]
    return [list(row) for row in rows]
