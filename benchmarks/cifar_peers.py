"""Peers of the recipe `speedrun`: CCT-7/3x1 and a ResNet-18 for 32 px, as published, their schedules in the given time.

    python benchmarks/cifar_peers.py cct FOLDER --minutes 30
    python benchmarks/cifar_peers.py resnet18 FOLDER --minutes 30

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg. CCT is vit-pytorch's, trained by the authors' file for CIFAR-10 and
300 epochs: AdamW, RandAugment, mixup and CutMix (timm's), cosine. The ResNet is torchvision's with a first convolution
of 3×3 and without the first pool, trained by SGD with shifted and mirrored images, cosine. Images are in memory, loaded
by two processes, bfloat16 where it is fast. Beside them: `vitrail train FOLDER --recipe speedrun --minutes 30`.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from timm.data import Mixup, create_transform
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from vit_pytorch.cct import CCT

from vitrail.machine.allocator import keep_freed_memory
from vitrail.machine.devices import has_fast_bfloat16

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PLAIN = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
SHIFTED = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), PLAIN])
EVALUATION_MINUTES = 1.0


def at_least_one_bit(image: Image.Image, bits: int, posterize: Callable = ImageOps.posterize) -> Image.Image:
    """Pillow's function, which refuses the 0 bits that timm's RandAugment asks for."""
    return posterize(image, max(1, bits))


ImageOps.posterize = at_least_one_bit  # type: ignore[assignment]


class Images(Dataset):
    """(image, class) of the files below a folder, in memory."""

    def __init__(self, folder: Path, transform: Callable[[Image.Image], Tensor]) -> None:
        classes = sorted(path.name for path in folder.iterdir())
        files = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
        self.pixels = [np.asarray(Image.open(path).convert("RGB")) for path, _ in files]
        self.labels = [label for _, label in files]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Peer:
    """A model with its augmentation, optimiser and schedule: part of the time -> learning rate."""

    def __init__(self, name: str) -> None:
        self.mixup: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        if name == "cct":
            self.model: nn.Module = CCT(
                img_size=32,
                embedding_dim=256,
                n_conv_layers=1,
                kernel_size=3,
                stride=1,
                padding=1,
                num_layers=7,
                num_heads=4,
                mlp_ratio=2,
                num_classes=10,
                positional_embedding="learnable",
            )
            self.transform = create_transform(
                32,
                is_training=True,
                scale=(0.8, 1.0),
                auto_augment="rand-m9-mstd0.5-inc1",
                interpolation="random",
                mean=MEAN,
                std=STD,
            )
            self.mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=10)
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=0.06)
            self.rate = partial(cosine, peak=55e-5, least=1e-5, warmup=10 / 300)
        else:
            self.model = models.resnet18(num_classes=10)
            self.model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.model.maxpool = nn.Identity()
            self.transform = SHIFTED
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
            self.rate = partial(cosine, peak=0.1, least=0.0, warmup=0.0)


def cosine(part: float, *, peak: float, least: float, warmup: float) -> float:
    if part < warmup:
        return least + (peak - least) * part / warmup
    return least + (peak - least) * (1 + math.cos(math.pi * (part - warmup) / (1 - warmup))) / 2


def endless(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def train(peer: Peer, loader: DataLoader, minutes: float, bfloat16: bool) -> int:
    """Train until the time is over, and return the number of steps."""
    peer.model.to(memory_format=torch.channels_last).train()
    started, steps, batches = time.monotonic(), 0, endless(loader)
    while (part := (time.monotonic() - started) / (60 * minutes)) < 1:
        pixels, labels = next(batches)
        if peer.mixup:
            pixels, labels = peer.mixup(pixels, labels)
        for group in peer.optimizer.param_groups:
            group["lr"] = peer.rate(part)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = peer.model(pixels.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), labels)
        peer.optimizer.zero_grad()
        loss.backward()
        peer.optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"step {steps}, {100 * part:.0f} % of the time, loss {loss.item():.3f}", flush=True)
    return steps


@torch.inference_mode()
def accuracy(model: nn.Module, loader: DataLoader, bfloat16: bool) -> tuple[float, float]:
    """Accuracy without and with mirrored images."""
    model.eval()
    right = torch.zeros(2)
    for pixels, labels in loader:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            plain, mirrored = model(pixels).float(), model(pixels.flip(-1)).float()
        right += torch.stack([(logits.argmax(1) == labels).sum() for logits in (plain, plain + mirrored)])
    return tuple((right / len(loader.dataset)).tolist())  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["cct", "resnet18"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    keep_freed_memory()  # as vitrail does
    bfloat16 = has_fast_bfloat16(torch.device("cpu"))
    peer = Peer(given.peer)
    training, test = Images(given.folder / "train", peer.transform), Images(given.folder / "test", PLAIN)
    loader = DataLoader(training, batch_size=128, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
    steps = train(peer, loader, given.minutes - EVALUATION_MINUTES, bfloat16)
    plain, mirrored = accuracy(peer.model, DataLoader(test, batch_size=500), bfloat16)
    epochs, parameters = steps / len(loader), sum(p.numel() for p in peer.model.parameters()) / 1e6
    trained = f"{given.peer}: {steps} steps, {epochs:.1f} epochs, {parameters:.1f} M parameters"
    print(f"{trained}; top-1 {100 * plain:.2f} %, with mirrored images {100 * mirrored:.2f} %")


if __name__ == "__main__":
    main()
