"""Renaming classes: in place and in copies, with everything else unchanged."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint
from vitrail.checkpoint.atomic import verify_folder
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.checkpoint.native import write_native
from vitrail.checkpoint.rename_classes import parse_renames, rename_classes
from vitrail.cli.main import main
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import create_model
from vitrail.task_spec import TaskSpec
from vitrail.training.run_lock import RunLock


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


PARTS = ("best", "last", "previous")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with all its checkpoints."""
    for part in PARTS:
        save(tiny_checkpoint(), tmp_path / "run" / "checkpoints" / part, extra={"state.json": part.encode()})
    (tmp_path / "run" / "recipe.yaml").write_text("{}")
    return tmp_path / "run"


def names_of(run: Path) -> list[tuple[str, ...]]:
    return [load(run / "checkpoints" / part).class_names for part in PARTS]


def test_all_checkpoints_of_a_run_are_renamed_and_keep_everything_else(run: Path) -> None:
    rename_classes(run, ["fox=Fuchs"])
    assert load(run).class_names == ("cat", "dog", "Fuchs")
    assert names_of(run) == [("cat", "dog", "Fuchs")] * 3
    for part in PARTS:
        verify_folder(run / "checkpoints" / part)
        assert (run / "checkpoints" / part / "state.json").read_bytes() == part.encode()


def test_an_interrupted_renaming_is_repeated(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def stops(stored: Any, path: Path, extra: Any) -> None:
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        write_native(stored, path, extra)

    monkeypatch.setattr("vitrail.checkpoint.rename_classes.write_native", stops)
    with pytest.raises(KeyboardInterrupt):
        rename_classes(run, ["fox=Fuchs"])
    assert names_of(run) == [CLASSES, CLASSES, ("cat", "dog", "Fuchs")]
    monkeypatch.undo()
    rename_classes(run, ["fox=Fuchs"])
    assert names_of(run) == [("cat", "dog", "Fuchs")] * 3


def test_a_damaged_state_is_left_as_it_is(run: Path) -> None:
    weights = run / "checkpoints" / "last" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    before = weights.read_bytes()
    rename_classes(run, ["fox=Fuchs"])
    assert weights.read_bytes() == before
    assert load(run).class_names == load(run / "checkpoints" / "previous").class_names == ("cat", "dog", "Fuchs")


def test_a_run_that_goes_on_is_not_renamed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for report in ("report.html", "README.md"):
        (run / report).write_text("cat, dog, fox")

    def command() -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(["rename-classes", str(run), "fox=Fuchs"])
        return int(end.value.code or 0), capsys.readouterr().err

    with RunLock(run):
        status, err = command()
    assert (status, names_of(run)) == (1, [CLASSES] * 3)
    assert "is in use by process" in err
    status, err = command()
    assert (status, names_of(run)) == (0, [("cat", "dog", "Fuchs")] * 3)
    assert "report.html, README.md have the old names until `vitrail train --resume" in err


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
    save(tiny_checkpoint(), tmp_path / "model")
    for names, words in [
        ({"cta": "x"}, "no class 'cta': did you mean cat"),
        ({"cat": " "}, "the new name of 'cat' is empty"),
        ({"cat": "dog"}, "two classes would have the name 'dog'"),
    ]:
        with pytest.raises(VitrailError, match=words):
            rename_classes(tmp_path / "model", names)
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


def test_a_class_of_several_tasks_is_renamed_in_each(tmp_path: Path) -> None:
    names = {"object_names": ["cat", "dog"], "pixel_names": ["dog"]}
    task = TaskSpec.of("universal", tasks=["detection", "segmentation"], **names)
    fields = {"stem": ((4, 2), (8, 2), (16, 2)), "embed_dim": 16, "num_heads": 2, "depth": 1, "image_size": 32}
    heads = {"tasks": ("detection", "segmentation"), "object_classes": 2, "pixel_classes": 1}
    model = create_model("compact_universal_small_128", **fields, **heads, dense_dim=8, pyramid_dim=8, task=task)
    save(Checkpoint(model, (), Preprocess()), tmp_path / "model")
    assert rename_classes(tmp_path / "model", ["dog=Hund"]) == ("cat", "Hund")
    options = dict(load(tmp_path / "model").config.task.options)
    assert (options["object_names"], options["pixel_names"]) == (("cat", "Hund"), ("Hund",))
    with pytest.raises(VitrailError, match="no class 'dog'"):
        rename_classes(tmp_path / "model", ["dog=Hund"])
