"""Models compiled by `torch.compile`: hooks need their original modules, run without compilation."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile(model)` wraps, with the same weights; any other module itself."""
    return dict(model.named_children()).get("_orig_mod", model)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Context manager in which compiled models and modules run without compilation.

    Compiled code does not call hooks that were registered after it was compiled: an observation would see nothing, and
    an edit would change nothing, without an error.
    """
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import would take seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
