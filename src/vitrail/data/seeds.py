"""Seeds derived from their purpose, so that a run that stops and resumes draws the same random numbers."""

from hashlib import blake2b

import torch


def derive(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one purpose: `derive(seed, "augment", epoch, index)`; the same on every machine."""
    text = repr((seed, *keys)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def seed_cpu(seed: int) -> None:
    """Seed the generator that torchvision's transforms draw from; much cheaper than `torch.manual_seed`."""
    torch.random.default_generator.manual_seed(seed)


def permutation(count: int, seed: int) -> list[int]:
    """A random order of `range(count)`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
