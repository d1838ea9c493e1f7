"""What every test stands on: few threads, fixed seeds, no network, shapes and types checked at run time."""

import atexit
import faulthandler
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# No test reads or leaves anything in the user's cache.
os.environ["VITRAIL_CACHE"] = tempfile.mkdtemp(prefix="vitrail-tests-")
# Before anything imports huggingface_hub: a test that needs a hub brings its own server and its own process.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from jaxtyping import install_import_hook

# Before anything imports the room: every call in it is held against the shapes that its signature names. Not `Tokens`,
# memories and what models give, which as pytrees may hold whatever the leaves are mapped to.
SRC = Path(__file__).parents[1] / "src"
MODULES = [".".join(file.relative_to(SRC).with_suffix("").parts) for file in (SRC / "vitrail/nn").rglob("*.py")]
ROOM = [name for name in MODULES if not name.endswith((".__init__", ".tokens", ".cells", ".outputs", ".memory"))]
install_import_hook(ROOM, "beartype.beartype")

atexit.register(shutil.rmtree, os.environ["VITRAIL_CACHE"], ignore_errors=True)

# Tests that run side by side share the cores.
SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, os.cpu_count() or 1) // SIDE_BY_SIDE))


# Inherited by the processes that run tests side by side.
if "VITRAIL_TEST_FAULTS" not in os.environ:
    os.environ["VITRAIL_TEST_FAULTS"] = tempfile.mkdtemp(prefix="vitrail-faults-")
    atexit.register(shutil.rmtree, os.environ["VITRAIL_TEST_FAULTS"], ignore_errors=True)
FAULTS = Path(os.environ["VITRAIL_TEST_FAULTS"])


def pytest_sessionstart(session: pytest.Session) -> None:
    """A process of xdist's that crashes leaves the stack of its threads, which xdist does not show."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        faulthandler.enable((FAULTS / worker).open("w"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for file in sorted(FAULTS.glob("gw*")):
        if text := file.read_text():
            terminalreporter.section(f"stacks of {file.name}, which crashed")
            terminalreporter.write_line(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help='what the precision "auto" means in tests, whatever this processor can do',
    )


@pytest.fixture(autouse=True)
def same_precision_everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "auto" follows the processor, and an expected value does not: tests decide it, and can be run both ways."""
    fast = request.config.getoption("--precision") == "bfloat16"
    monkeypatch.setattr("vitrail.machine.devices.has_fast_bfloat16", lambda device: fast)


COSTS: dict[str, Any] = {}


@pytest.fixture(autouse=True, scope="session")
def one_plan_for_equal_runs() -> Iterator[None]:
    """What a run prints of its cost takes as long as a tiny run: it is planned once for equal models and recipes."""
    with pytest.MonkeyPatch.context() as patch:
        outline = importlib.import_module("vitrail.training.outline")
        planned = outline._cost_lines

        def known(setup: Any) -> Any:
            key = repr((setup.checkpoint.model.config, replace(setup.recipe, seed=0), setup.device))
            if key not in COSTS:
                COSTS[key] = planned(setup)
            return COSTS[key]

        patch.setattr(outline, "_cost_lines", known)
        yield


@pytest.fixture(autouse=True)
def seeded() -> int:
    """The same random numbers in every test, whatever ran before it."""
    torch.manual_seed(0)
    return 0
