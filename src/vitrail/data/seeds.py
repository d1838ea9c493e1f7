"""Randomness as a function of what it is for, so that a run can stop and go on anywhere and stay the same."""

from hashlib import blake2b

import torch


def derive(seed: int, *keys: int | str) -> int:
    """A 63-bit seed for one purpose: `derive(seed, "augment", epoch, index)`. The same on every machine."""
    text = repr((seed, *keys)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def seed_cpu(seed: int) -> None:
    """Seed the generator that torchvision's transforms draw from; much cheaper than `torch.manual_seed`."""
    torch.random.default_generator.manual_seed(seed)


def permutation(count: int, seed: int) -> list[int]:
    """A random order of `range(count)`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
