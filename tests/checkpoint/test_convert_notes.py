"""What `vitrail convert` prints about a checkpoint that was trained here."""

from dataclasses import replace
from pathlib import Path

import pytest

import vitrail
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.cli.convert import Convert
from vitrail.data.preprocess import Preprocess


@pytest.mark.parametrize(("trained_on", "before"), [("pets", "before its training: "), ("", "")])
def test_a_trained_head_is_not_reported_as_fresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained_on: str, before: str
) -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, embed_dim=24, num_classes=2)
    checkpoint = Checkpoint(model, ("cat", "dog"), Preprocess(image_size=(32, 32)))
    info = {
        **checkpoint.info,
        "architecture": "vit",
        "trained_on": trained_on,
        "adapted": ["a fresh head for 2 classes"],
    }
    save(replace(checkpoint, info=info), tmp_path / "run")
    Convert(weights=str(tmp_path / "run"), out=tmp_path / "converted").run()
    assert f"\n  {before}a fresh head for 2 classes\n" in capsys.readouterr().err
