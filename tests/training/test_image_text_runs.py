"""Runs on images with captions: resumed bit for bit, with the tokenizer in every checkpoint; and commands on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import vitrail
from vitrail.cli.main import main
from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.objectives.registry import objective_config
from vitrail.study.retrieval import RetrievalOptions, study_retrieval
from vitrail.tasks.retrieval_metrics import RetrievalEvaluation
from vitrail.training.loop import Trainer
from vitrail.training.recipe import Recipe

SOURCE = "scenes:size=32,train=48,val=12,test=12,objects=2-3"
RECIPE = Recipe(
    task="image-text",
    overrides={"stem": [[8], [16]], "embed_dim": 16, "num_heads": 2, "depth": 1, "text_dim": 16, "text_depth": 1},
    steps=3,
    batch_size=16,
    evaluate_every=1,
    ema=0.5,
    dropout=0.1,
    augment=Augment(crop="shift", color_jitter=0.2, flip=0.0),
    precision="float32",
    save_minutes=1e-6,
)
SAVED = ("model.safetensors", "trainer.safetensors", "tokenizer.json")


def recipe(name: str) -> Recipe:
    return replace(RECIPE, objective=objective_config(name)())


@pytest.fixture(scope="module", params=["clip", pytest.param("siglip", marks=pytest.mark.exhaustive)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    return vitrail.train(SOURCE, recipe(request.param), out=tmp_path_factory.mktemp("runs") / request.param)


def outcome(path: Path) -> dict[str, bytes]:
    names = [*(f"checkpoints/last/{name}" for name in SAVED), "metrics.jsonl", "checkpoints/best/model.safetensors"]
    return {name: (path / name).read_bytes() for name in names}


def test_a_stopped_run_resumes_bit_for_bit(run: vitrail.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def stopped(self: Trainer, batches: Any) -> None:
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        vitrail.train(SOURCE, recipe(run.path.name), out=tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "step", step)
    assert outcome(run.path) == outcome(vitrail.resume(tmp_path / "stopped").path)


def test_the_checkpoint_has_its_tokenizer_and_a_trained_scale(run: vitrail.Run, tmp_path: Path) -> None:
    checkpoint = run.checkpoint
    assert checkpoint.tokenizer == (run.path / "checkpoints/best/tokenizer.json").read_text(encoding="utf-8")
    fresh = checkpoint.config.build().compare.log_scale
    assert checkpoint.model.compare.log_scale != fresh
    for target in (tmp_path / "folder", tmp_path / "one.safetensors"):
        vitrail.save(checkpoint, target)
        assert vitrail.load(target).tokenizer == checkpoint.tokenizer
    damaged = tmp_path / "folder" / "tokenizer.json"
    damaged.write_text(damaged.read_text(encoding="utf-8").replace("circle", "square"), encoding="utf-8")
    with pytest.raises(VitrailError, match="damaged"):
        vitrail.load(tmp_path / "folder")


def test_eval_is_the_evaluation_of_the_run_and_of_the_study(run: vitrail.Run) -> None:
    found = vitrail.evaluate(run.path, SOURCE, device="cpu", precision="float32")
    assert isinstance(found, RetrievalEvaluation)
    assert found.quality == pytest.approx(
        (run.metrics["test_image_to_text_r1"] + run.metrics["test_text_to_image_r1"]) / 2
    )
    assert found.loss == pytest.approx(run.metrics["test_loss"], rel=1e-5)
    study = study_retrieval(run.checkpoint, SOURCE, RetrievalOptions(device="cpu", precision="float32"))
    assert {one.query: one.recall for one in study.directions} == {"image": found.by_image, "caption": found.by_text}
    few = study_retrieval(run.checkpoint, SOURCE, RetrievalOptions(device="cpu", among=2))
    assert all(one.candidates == 2 and one.recall[1] >= found.quality - 0.5 for one in few.directions)
    every = study_retrieval(run.checkpoint, SOURCE, RetrievalOptions(device="cpu", split="test"))
    assert len(every.found) == 12


def test_texts_that_are_also_true_are_no_wrong_candidates(run: vitrail.Run) -> None:
    with pytest.raises(VitrailError, match="no image has 1 wrong candidates"):
        study_retrieval(
            run.checkpoint, SOURCE, RetrievalOptions(device="cpu", among=2), also_true=lambda sample, text: True
        )


def test_report_and_card_show_retrieval(run: vitrail.Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "image → text R@1" in page
    assert "Worst mistakes" in page
    assert " of a " in page or " above a " in page  # captions under the images of a batch
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: zero-shot-image-classification" in card
    assert 'vitrail predict . photos/ --classes "a cat;a dog"' in card


def test_commands_on_the_run(run: vitrail.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ran(*words: object) -> str:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert not end.value.code, told.err
        return told.out + told.err

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("{}\n{} left of a red star\n", encoding="utf-8")
    table = tmp_path / "table.csv"
    said = ran(
        *("predict", run.path, SOURCE, "--classes", "a red circle;a blue wolf", "--prompts", prompts),
        *("-o", table, "--device", "cpu", "--limit", 3),
    )
    assert "does not know the words wolf" in said
    assert len(table.read_text(encoding="utf-8").splitlines()) == 4
    assert "caption" in ran(
        "study", "retrieval", run.path, SOURCE, "--among", 4, "-o", tmp_path / "out", "--device", "cpu"
    )
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"retrieval.html", "retrieval.csv", "images.csv"}
    ran("embed", run.path, SOURCE, "-o", tmp_path / "vectors.npz", "--device", "cpu")
    assert "R@1" in ran("eval", run.path, SOURCE, "--device", "cpu")


def test_a_locked_image_tower_stays_as_it_was(run: vitrail.Run, tmp_path: Path) -> None:
    """Zhai et al. (2022), "LiT": only the text encoder learns."""
    locked = replace(
        recipe(run.path.name), overrides={}, weights=str(run.path), freeze=("image.*",), ema=0.0, steps=1, dropout=0.0
    )
    tuned = vitrail.train(SOURCE, locked, out=tmp_path / "tuned").checkpoint
    before, after = run.checkpoint, tuned
    assert after.tokenizer == before.tokenizer
    for name, tensor in before.model.image.state_dict().items():
        assert torch.equal(tensor, after.model.image.state_dict()[name]), name
    words = "text.embed.words.weight"
    assert not torch.equal(before.model.state_dict()[words], after.model.state_dict()[words])


@pytest.mark.exhaustive
def test_a_classifier_becomes_the_image_tower(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"stem": ((8,), (16,)), "embed_dim": 16, "num_heads": 2, "depth": 1, "image_size": 32}
    classifier = vitrail.create_model("compact_tiny_16", num_classes=3, **fields)
    checkpoint = vitrail.Checkpoint(classifier, ("cat", "dog", "fox"), vitrail.Preprocess(image_size=(32, 32)))
    vitrail.save(checkpoint, tmp_path / "classifier")
    changes = {"overrides": {}, "weights": str(tmp_path / "classifier"), "ema": 0.0, "dropout": 0.0, "steps": 1}
    for name in ("clip", "siglip"):
        locked = replace(recipe(name), freeze=("image.embed.*", "image.encoder.*"), **changes)
        found = vitrail.train(SOURCE, locked, out=tmp_path / name).checkpoint
        state = found.model.state_dict()
        for key, tensor in classifier.state_dict().items():
            if not key.startswith("head."):
                assert torch.equal(tensor, state[f"image.{key}"]), key
        assert found.class_names == ()
        assert found.tokenizer is not None
        assert "a fresh text encoder was put beside" in " ".join(found.info["adapted"])


def test_a_locked_vit_is_the_image_tower_of_a_run(tmp_path: Path) -> None:
    vit = vitrail.create_model("vit_tiny_patch16_224", image_size=32, embed_dim=16, num_heads=2, depth=1)
    vitrail.save(vitrail.Checkpoint(vit, (), vitrail.Preprocess(image_size=(32, 32))), tmp_path / "vit")
    changes = {"overrides": {"text_dim": 16, "text_depth": 1}, "weights": str(tmp_path / "vit"), "ema": 0.0}
    locked = replace(recipe("siglip"), freeze=("image.embed.*", "image.encoder.*"), **changes)
    run = vitrail.train(SOURCE, locked, out=tmp_path / "run")
    state = run.checkpoint.model.state_dict()
    for name, tensor in vit.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, state[f"image.{name}"]), name
    assert state["text.embed.words.weight"].shape[1] == 16
    again = vitrail.load(run.path)
    assert again.model.state_dict().keys() == state.keys()
    assert next(vitrail.predict(again, SOURCE, classes=["a red circle", "a blue star"])).classes


def test_labels_that_are_no_captions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="digits has classes, and --task image-text needs texts"):
        vitrail.train("digits", RECIPE, out=tmp_path / "run")
    with pytest.raises(VitrailError, match="objective clip needs labels for image-text"):
        vitrail.train("digits", replace(recipe("clip"), task=None), out=tmp_path / "run")


def test_one_caption_for_all_images_is_refused(tmp_path: Path) -> None:
    for name, grey in (("a", 10), ("b", 200)):
        Image.new("RGB", (8, 8), (grey, 0, grey)).save(tmp_path / f"{name}.png")
    table = tmp_path / "pairs.csv"
    table.write_text("path,caption\na.png,a cat\nb.png,a cat\n")
    with pytest.raises(VitrailError, match="has the caption 'a cat' only: there is nothing to learn"):
        vitrail.train(str(table), RECIPE, out=tmp_path / "run")
