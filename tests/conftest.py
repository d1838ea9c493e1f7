"""What every test stands on: few threads, fixed seeds, no network, shapes and types checked at run time."""

import os
import tempfile

# No test reads or leaves anything in the user's cache.
os.environ["VITRAIL_CACHE"] = tempfile.mkdtemp(prefix="vitrail-tests-")
# Before anything imports huggingface_hub: a test that needs a hub brings its own server and its own process.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from jaxtyping import install_import_hook

# Before anything imports the room: every call in it is held against the shapes that its signature names.
install_import_hook("vitrail.nn", "beartype.beartype")

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def seeded() -> int:
    """The same random numbers in every test, whatever ran before it."""
    torch.manual_seed(0)
    return 0
