"""How fast a training step is, beside timm, transformers and vit-pytorch, in one process, in turn.

    python benchmarks/train_step.py [--rounds 15] [--dtype auto]

Two settings: ViT of width 192, depth 9, 3 heads at 32 px, patch 4, batch 256; and ViT-Ti/16 at 224 px, batch 32. A step
is forward, cross entropy, backward and AdamW. vitrail is given the weights of timm and transformers and must give their
logits; vit-pytorch's embedding has two more norms, so it is timed but not compared.

Quote the ratios: absolute times drift.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
import transformers
import vit_pytorch
from torch import nn

from vitrail import create_model
from vitrail.machine.allocator import keep_freed_memory
from vitrail.machine.devices import has_fast_bfloat16

SETTINGS = {
    "32 px, patch 4, dim 192, depth 9, batch 256": (32, 4, 9, 10, 256),
    "ViT-Ti/16 at 224 px, batch 32": (224, 16, 12, 1000, 32),
}
DIM, HEADS = 192, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fast = has_fast_bfloat16(torch.device("cpu"))
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(
        options.dtype, torch.bfloat16 if fast else torch.float32
    )
    keep_freed_memory()  # the whole process: the peers gain from it too
    versions = f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}"
    print(f"{versions}, {options.threads} threads, {str(dtype).removeprefix('torch.')} (fast bfloat16: {fast})")
    for title, setting in SETTINGS.items():
        compare(title, *setting, dtype=dtype, rounds=options.rounds)


def compare(
    title: str,
    size: int,
    patch: int,
    depth: int,
    classes: int,
    batch: int,
    *,
    dtype: torch.dtype,
    rounds: int,
) -> None:
    torch.manual_seed(0)
    models = build(size, patch, depth, classes)
    pixels, labels = torch.randn(batch, 3, size, size), torch.randint(classes, (batch,))
    check_same(models, pixels[:4])
    steps = {name: train_step(model, pixels, labels, dtype) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if done >= 2:
                times[name].append(time.perf_counter() - start)
    print(f"\n{title}")
    print(f"{'':14}{'images/s':>10}{'min–max':>16}   vitrail is faster by (median of rounds)")
    for name, seconds in times.items():
        speeds = [batch / s for s in seconds]
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds, times["vitrail"], strict=True))
        print(f"{name:14}{statistics.median(speeds):10.1f}{min(speeds):8.0f}–{max(speeds):<7.0f}   {ratio:.2f}×")


def build(size: int, patch: int, depth: int, classes: int) -> dict[str, nn.Module]:
    ours = create_model("vit_tiny_patch16_224", image_size=size, patch_size=patch, depth=depth, num_classes=classes)
    theirs = timm.models.VisionTransformer(
        img_size=size, patch_size=patch, embed_dim=DIM, depth=depth, num_heads=HEADS, num_classes=classes
    )
    config = transformers.ViTConfig(
        hidden_size=DIM,
        num_hidden_layers=depth,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        image_size=size,
        patch_size=patch,
        num_labels=classes,
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    hugging = transformers.ViTForImageClassification(config)
    plain = vit_pytorch.ViT(
        image_size=size,
        patch_size=patch,
        num_classes=classes,
        dim=DIM,
        depth=depth,
        heads=HEADS,
        mlp_dim=4 * DIM,
        dim_head=DIM // HEADS,
    )
    return {"vitrail": ours, "timm": theirs, "transformers": hugging, "vit-pytorch": plain}


def check_same(models: dict[str, nn.Module], pixels: torch.Tensor) -> None:
    """vitrail's logits with the peers' weights are the peers' logits."""
    from vitrail import convert_state_dict

    ours = models["vitrail"].eval()
    for name in ("transformers", "timm"):
        peer = models[name].eval()
        ours.load_state_dict(convert_state_dict(peer.state_dict(), ours))
        with torch.no_grad():
            error = (logits(peer(pixels)) - ours(pixels)).abs().max().item()
        assert error < 1e-4, f"{name} gives other logits: {error}"


def train_step(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype) -> Callable[[], None]:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(logits(model(pixels)).float(), labels)
        loss.backward()
        optimizer.step()

    return step


def logits(output: object) -> torch.Tensor:
    return getattr(output, "logits", output)


if __name__ == "__main__":
    main()
