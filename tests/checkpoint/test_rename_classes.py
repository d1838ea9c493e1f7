"""Renaming classes: in place and in copies, with everything else unchanged."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint
from vitrail.checkpoint.atomic import verify_folder
from vitrail.checkpoint.contract import load, save
from vitrail.checkpoint.rename_classes import parse_renames, rename_classes, renamed
from vitrail.errors import VitrailError


def same_model(first: Path, second: Path) -> bool:
    one, other = load(first), load(second)
    tensors, others = one.model.state_dict(), other.model.state_dict()
    equal = all(torch.equal(tensors[name], others[name]) for name in tensors)
    return equal and (one.config, one.preprocess, one.info) == (other.config, other.preprocess, other.info)


@pytest.mark.parametrize("name", ["model", "model.safetensors"])
def test_a_checkpoint_is_renamed_in_place(name: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    for place in ("before", name):
        save(checkpoint, tmp_path / place)
    assert rename_classes(tmp_path / name, {"cat": "dog", "dog": "cat"}) == ("dog", "cat", "fox")
    assert load(tmp_path / name).class_names == ("dog", "cat", "fox")
    assert same_model(tmp_path / name, tmp_path / "before")


def test_a_run_keeps_all_but_the_names_of_its_best_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for part in ("best", "last"):
        save(tiny_checkpoint(), run / "checkpoints" / part, extra={"state.json": b"{}"})
    (run / "recipe.yaml").write_text("{}")
    rename_classes(run, ["fox=Fuchs"])
    assert load(run).class_names == ("cat", "dog", "Fuchs")
    assert load(run / "checkpoints" / "last").class_names == CLASSES
    verify_folder(run / "checkpoints" / "best")
    assert (run / "checkpoints" / "best" / "state.json").read_bytes() == b"{}"


def test_a_copy_leaves_the_checkpoint_as_it_is(tmp_path: Path) -> None:
    save(tiny_checkpoint(), tmp_path / "model")
    rename_classes(tmp_path / "model", ["cat=Katze"], tmp_path / "copy.safetensors")
    assert load(tmp_path / "model").class_names == CLASSES
    assert load(tmp_path / "copy.safetensors").class_names == ("Katze", "dog", "fox")
    assert same_model(tmp_path / "model", tmp_path / "copy.safetensors")


def test_a_failed_write_leaves_the_old_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tiny_checkpoint(), tmp_path / "model")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vitrail.checkpoint.native.save_file", full)
    with pytest.raises(OSError, match="no space"):
        rename_classes(tmp_path / "model", {"cat": "Katze"})
    assert load(tmp_path / "model").class_names == CLASSES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_errors_name_the_way_out(tmp_path: Path) -> None:
    for names, words in [
        ({"cta": "x"}, "no class 'cta': did you mean cat"),
        ({"cat": " "}, "the new name of 'cat' is empty"),
        ({"cat": "dog"}, "two classes would have the name 'dog'"),
    ]:
        with pytest.raises(VitrailError, match=words):
            renamed(CLASSES, names)
    with pytest.raises(VitrailError, match="write OLD=NEW"):
        parse_renames(CLASSES, ["cat"])
    with pytest.raises(VitrailError, match="renamed twice"):
        parse_renames(CLASSES, ["cat=a", "cat=b"])
    assert parse_renames(("a=b", "c"), ["a=b=d=e", "c=f"]) == {"a=b": "d=e", "c": "f"}


def test_weights_of_another_library_are_renamed_in_a_copy_only(tmp_path: Path) -> None:
    save(tiny_checkpoint(), tmp_path / "model")
    shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "bare.safetensors")
    with pytest.raises(VitrailError):
        rename_classes(tmp_path / "bare.safetensors", {"cat": "Katze"})
    assert (tmp_path / "bare.safetensors").read_bytes() == (tmp_path / "model" / "model.safetensors").read_bytes()
