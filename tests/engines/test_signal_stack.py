"""Graphs of OpenVINO that come and go leave no signal stack that is freed, on which the next signal would crash."""

import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vitrail.engines.openvino_convert import to_openvino
from vitrail.engines.openvino_graph import OpenVINOGraph
from vitrail.engines.program import to_program
from vitrail.machine.signal_stack import DISABLED, same_signal_stack, signal_stack

openvino = pytest.importorskip("openvino")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")


def is_usable() -> bool:
    """Whether this thread has no alternative stack, or one whose memory is there."""
    found = signal_stack()
    assert found is not None
    if found.flags == DISABLED:
        return True
    ranges = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
    return any(int(low, 16) <= (found.address or 0) < int(high, 16) for low, high in ranges)


def graph() -> OpenVINOGraph:
    return OpenVINOGraph(to_openvino(to_program(nn.Linear(2, 2).eval(), torch.zeros(2, 2))))


def test_graphs_that_go_in_the_order_they_came() -> None:
    first, second = graph(), graph()
    del first
    gc.collect()
    del second
    gc.collect()
    assert is_usable()
    former = signal.signal(signal.SIGCHLD, lambda *_: None)  # as PyTorch's loader does
    try:
        assert subprocess.run([sys.executable, "-c", ""]).returncode == 0
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_cores_of_other_libraries_leave_nothing_behind() -> None:
    with same_signal_stack():
        cores = [openvino.Core() for _ in range(2)]
        for place in range(2):
            cores[place].get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
        while cores:
            cores.pop(0)
            gc.collect()
    assert is_usable()
