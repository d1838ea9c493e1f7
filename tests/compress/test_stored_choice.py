"""What a stored choice does not change: studies, begun folders of embeddings; interrupted and parallel searches."""

import json
import os
import warnings
from pathlib import Path

import pytest
import torch

import vitrail
from tests.evaluation.small_checkpoint import tiny_checkpoint, write_classes, write_image
from vitrail.cli.main import main
from vitrail.compress.images import read_test_images
from vitrail.compress.store import store, storing
from vitrail.data.open import open_source
from vitrail.engines.choice import (
    Choice,
    Setting,
    choice_folder,
    content_digest,
    machine_name,
    packages_of,
    stored_choice,
    write_choice,
)
from vitrail.engines.predictor import make_predictor
from vitrail.errors import VitrailError
from vitrail.evaluation.embed import write_embeddings
from vitrail.rewrites.registry import rewrite
from vitrail.rewrites.tokens import PruneTokens
from vitrail.study.attribution import AttributionOptions, evaluate_explanations
from vitrail.study.studied_model import studied_model

PRUNED = Setting(reduction=PruneTokens(keep=0.3, blocks=(0,)))


def choose(folder: Path, setting: Setting) -> Path:
    """Store a setting as `vitrail optimize` does."""
    checkpoint = vitrail.load(folder)
    choice = Choice(
        setting=setting,
        machine=machine_name(),
        packages=packages_of(setting.engine),
        content=content_digest(checkpoint),
        batch_size=8,
        speedup=2.0,
        drop=0.0,
    )
    return write_choice(folder, choice, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tiny_checkpoint()
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.normal_(std=0.4, generator=torch.Generator().manual_seed(parameter.numel()))
    vitrail.save(made, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_studies_run_the_model_of_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    samples = open_source(write_classes(tmp_path / "images", each=2)).samples
    checkpoint = vitrail.load(folder)
    before = studied_model(checkpoint, samples)
    choose(folder, PRUNED)
    assert make_predictor(checkpoint, engine="auto").preprocess.keeps_values  # commands run the choice
    after = studied_model(checkpoint, samples)
    assert after.predictor.preprocess == checkpoint.preprocess
    with torch.no_grad():
        pixels = torch.stack([checkpoint.preprocess.normalise(image) for image in before.fitted])
        expected = checkpoint.model(pixels)
    (found,) = after.predictor.outputs([torch.stack(list(after.fitted))])
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)  # in bfloat16 too; values of 0 to 255 would not


def test_attribution_is_scored_with_the_model_of_the_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_classes(tmp_path / "images", each=1)
    choose(folder, PRUNED)
    asked: list[str] = []

    def made(*given: object, engine: str = "auto", **rest: object) -> None:
        asked.append(engine)
        raise VitrailError("enough")

    monkeypatch.setattr("vitrail.study.attribution.make_predictor", made)
    with pytest.raises(VitrailError, match="enough"):
        evaluate_explanations(vitrail.load(folder), source, {}, AttributionOptions())
    assert asked == ["torch"]


def test_embeddings_are_not_continued_with_another_setting(folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", seed=number)
    parts = tmp_path / "parts"
    write_embeddings(folder, tmp_path / "in", parts, images_per_part=2)
    manifest = json.loads((parts / "manifest.json").read_text())
    assert manifest["engine"] == "torch"
    (parts / "manifest.json").write_text(json.dumps({**manifest, "engine": "auto"}))  # as earlier versions wrote
    choose(folder, PRUNED)
    (parts / "part-00001.npz").unlink()
    with pytest.raises(VitrailError, match=r"different are engine.* \(there: 'torch'\)"):
        write_embeddings(folder, tmp_path / "in", parts, images_per_part=2)
    assert write_embeddings(folder, tmp_path / "in", parts, images_per_part=2, engine="torch").images == 3
    write_embeddings(folder, tmp_path / "in", tmp_path / "pruned", images_per_part=2)
    assert "prune_tokens" in json.loads((tmp_path / "pruned" / "manifest.json").read_text())["engine"]
    # A checkpoint whose own rewrite has no tensors.
    checkpoint = vitrail.load(folder)
    fewer = vitrail.Checkpoint(
        rewrite(checkpoint.model, PruneTokens(keep=0.5, blocks=(0,))), checkpoint.class_names, checkpoint.preprocess
    )
    with pytest.raises(VitrailError, match="different are rewrites:"):
        write_embeddings(fewer, tmp_path / "in", parts, images_per_part=2)


def test_one_search_at_a_time(folder: Path) -> None:
    with storing(folder):
        with pytest.raises(VitrailError, match=f"is in use by process {os.getpid()} .*: wait until"), storing(folder):
            pytest.fail("the second search began")
        choose(folder, PRUNED)
    assert stored_choice(vitrail.load(folder)) is not None
    with storing(folder):
        store(vitrail.load(folder), folder, None, None, 8, replace_by_none=True)
    assert not (folder / "optimized").exists()


def test_a_folder_that_cannot_be_written_to_is_named_before_the_search(folder: Path) -> None:
    (folder / "optimized").write_text("in the way")
    with pytest.raises(VitrailError, match=r"cannot be written to \(.*\): copy the checkpoint"), storing(folder):
        pytest.fail("the search began")


def test_a_choice_survives_a_kill_between_two_renames(folder: Path) -> None:
    place = choose(folder, PRUNED)
    place.rename(place.with_name(f"{place.name}.old"))
    found = stored_choice(vitrail.load(folder))
    assert found is not None
    assert found[0].setting == PRUNED
    store(vitrail.load(folder), folder, None, None, 8, replace_by_none=True)  # nothing is faster any more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored_choice(vitrail.load(folder)) is None
    assert not list((folder / "optimized").iterdir())


def test_a_choice_of_a_package_that_is_missing_now(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(folder, Setting())
    monkeypatch.setattr("vitrail.engines.choice.packages_of", lambda engine: {})
    with pytest.warns(UserWarning, match="it was measured with torch .*, and torch is not installed here; run it"):
        assert stored_choice(vitrail.load(folder)) is None
    monkeypatch.undo()
    (choice_folder(folder) / "choice.json").write_text("{}")
    with pytest.warns(UserWarning, match="choice.json has 2 bytes of [0-9]+; run it again"):
        assert stored_choice(vitrail.load(folder)) is None


def test_why_no_image_can_be_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    with pytest.raises(VitrailError, match=r"no image of .* can be used \(.*a\.png: .*\): give other"):
        read_test_images(vitrail.load(folder), str(tmp_path / "in"), 10, 0)


def test_classes_of_an_optimised_checkpoint_can_be_renamed(folder: Path) -> None:
    choose(folder, PRUNED)
    first, *others = vitrail.load(folder).class_names
    with pytest.raises(SystemExit) as stop:
        main(["rename-classes", str(folder), f"{first}=new name"])
    assert not stop.value.code
    assert vitrail.load(folder).class_names == ("new name", *others)
