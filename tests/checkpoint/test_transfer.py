"""Pickles become checkpoints, in a process of their own; hostile ones do not."""

import argparse
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vitrail
from vitrail.checkpoint.convert import LAYOUTS
from vitrail.checkpoint.convert.rename import to_theirs
from vitrail.checkpoint.transfer import convert
from vitrail.errors import VitrailError


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    model = vitrail.create_model("vit_tiny_patch16_224", depth=1, num_classes=2, image_size=32)
    return to_theirs(model.state_dict(), LAYOUTS[0], num_heads=3)


def test_a_pickle_of_a_training_script(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"model": weights, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, tmp_path / "x.pth")
    checkpoint = convert(tmp_path / "x.pth", tmp_path / "ours")
    again = vitrail.load(tmp_path / "ours")
    assert again.info["origin"] == checkpoint.info["origin"] == "x.pth"
    assert torch.equal(again.model.head.classify.weight, weights["head.weight"])


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('struck', 'w')",)


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(VitrailError, match="was rejected, and none of its code was run"):
        convert("x.pt", "ours")
    torch.save({"model": Hostile()}, "y.pt")
    with pytest.raises(VitrailError, match="was rejected, and none of its code was run"):
        convert("y.pt", "ours")
    assert not (tmp_path / "struck").exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.exhaustive  # a process that imports everything
def test_other_layouts_without_pickles(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "x.safetensors")
    command = "from pathlib import Path; from vitrail.cli.convert import Convert; import sys;"
    command += "Convert(sys.argv[1], Path(sys.argv[2])).run()"
    arguments = [tmp_path / "x.safetensors", tmp_path / "ours.safetensors"]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "custom, converted from" in done.stderr
    assert vitrail.load(tmp_path / "ours.safetensors").model.config.depth == 1


def test_a_pickle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="there is no file"):
        convert(tmp_path / "x.pt", tmp_path / "y")
