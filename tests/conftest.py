"""What every test stands on: few threads, fixed seeds, no network, shapes and types checked at run time."""

import os
import pkgutil
import tempfile
from pathlib import Path

# No test reads or leaves anything in the user's cache.
os.environ["VITRAIL_CACHE"] = tempfile.mkdtemp(prefix="vitrail-tests-")
# Before anything imports huggingface_hub: a test that needs a hub brings its own server and its own process.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from jaxtyping import install_import_hook

# Before anything imports the room: every call in it is held against the shapes that its signature names. Not `Tokens`
# and what models give, which as pytrees may hold whatever the leaves are mapped to.
NN = Path(__file__).parents[1] / "src/vitrail/nn"
ROOM = [
    f"vitrail.nn.{module.name}"
    for module in pkgutil.iter_modules([str(NN)])
    if module.name not in ("tokens", "outputs")
]
install_import_hook(ROOM, "beartype.beartype")

# Tests that run side by side share the cores.
SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, os.cpu_count() or 1) // SIDE_BY_SIDE))


@pytest.fixture(autouse=True)
def seeded() -> int:
    """The same random numbers in every test, whatever ran before it."""
    torch.manual_seed(0)
    return 0
