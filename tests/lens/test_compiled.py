"""Compiled models are observed, edited and explained like those that are not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vitrail.lens.edit import edit_features
from vitrail.lens.naming import find_module
from vitrail.lens.observe import observe_features


def test_features_of_a_compiled_module_are_seen_and_changed() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    compiled, x = torch.compile(model, backend="eager"), torch.randn(4, 3)
    with torch.no_grad():
        before = compiled(x)
        assert find_module(compiled, "2") == "2"
        with observe_features(compiled, "0") as seen:
            assert torch.equal(compiled(x), before)
        assert torch.equal(seen["0"], model[0](x))
        with edit_features(compiled, {"0": torch.zeros_like}):
            assert torch.equal(compiled(x), model[2].bias.expand(4, 2))
        assert torch.equal(compiled(x), before)


@pytest.mark.exhaustive
def test_compiled_models_in_a_process_of_their_own() -> None:
    subprocess.run([sys.executable, Path(__file__).with_name("compiled.py")], check=True)
