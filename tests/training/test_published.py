"""What a run publishes: the whole model card, its words as plain text, and nothing of this machine's folders."""

import csv
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from killable_runs import SMALL, make_pictures
from markdown_it import MarkdownIt
from safetensors.torch import save_file

import vitrail
from vitrail.checkpoint.origin import origin_words, public_name
from vitrail.data.augment_options import Augment
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.data.survey import Survey
from vitrail.errors import VitrailError
from vitrail.objectives.distill import DistillConfig
from vitrail.objectives.mae import MAEObjectiveConfig
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.training.folder import RunFolder
from vitrail.training.publish.cautions import (
    chosen_by_words,
    first_epoch_words,
    rare_class_words,
    round_up,
    sample_words,
    way_out,
)
from vitrail.training.publish.next_steps import next_steps
from vitrail.training.publish.results import _objective_words, curves_beside
from vitrail.training.recipe import Card, Recipe
from vitrail.training.recipe_file import recipe_from_dict, recipe_to_dict, recipe_to_yaml, set_fields

NASTY = "[x](javascript:alert(6))"
ONE_STEP = replace(
    SMALL, epochs=None, steps=1, ema=0.0, drop_path=0.0, dropout=0.0, augment=Augment(crop="none"), objective=None
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    """A run of one step, on a folder with an odd class, a rare class and an image with two labels."""
    secret = tmp_path_factory.mktemp("ada-lovelace")
    photos = make_pictures(secret / "photos")
    (photos / "class 0").rename(photos / NASTY)
    for image in sorted((photos / "class 2").iterdir())[4:]:
        image.unlink()
    shutil.copy(sorted((photos / "class 1").iterdir())[0], photos / "class 2" / "same.png")
    recipe = replace(ONE_STEP, card=Card(license="mit", author="Ada *King*"))
    return vitrail.train(photos.resolve(), recipe, out=secret / "runs" / "flowers")


def test_the_whole_card(published: vitrail.Run) -> None:
    card = (published.path / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["license"] == "mit"
    assert values["model-index"][0]["results"][0]["dataset"] == {"name": "photos", "type": "photos"}
    shown = shown_text(body)
    assert "trained from random weights on photos with vitrail. By Ada *King*." in shown
    assert f"Its output for an image is one of 3 classes: {NASTY}, class 1, class 2." in shown
    assert "top-1 accuracy (95 % interval)" in shown
    assert "class 2 (" in shown
    assert "will hardly be recognised: add images, or give all classes the same weight" in shown
    assert "1 step, each on" in shown
    assert "objectivesupervised" in shown
    assert "equal images with different labels1 groups, see conflicts.csv" in shown
    assert "The numbers hold for images like those of the evaluation." in shown
    for paragraph in re.sub("```.*?```", "", body, flags=re.DOTALL).split("\n\n"):
        assert paragraph.startswith(("#", "|", "*")) or "\n" not in paragraph.strip(), "no line ends within"


def shown_text(markdown: str) -> str:
    """Text of Markdown as it is shown; there must be no link and no HTML in it."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    inner = [child for token in tokens for child in (token.children or [token])]
    assert {token.type for token in inner} & {"link_open", "html_inline", "html_block", "image"} == set()
    return "".join(token.content if token.type != "softbreak" else "\n" for token in inner)


def test_no_folder_of_this_machine_is_published(published: vitrail.Run) -> None:
    for name in ("README.md", "report.html", "checkpoints/best/model.json"):
        text = (published.path / name).read_text(encoding="utf-8")
        assert "ada-lovelace" not in text, name
    info = published.checkpoint.info
    assert (info["license"], info["author"], info["trained_on"]) == ("mit", "Ada *King*", "photos")
    assert origin_words(info) == "trained from random weights on photos"


def test_terminal_report_and_card_say_the_same_about_the_result(published: vitrail.Run) -> None:
    found = json.loads((published.path / "evaluation.json").read_text(encoding="utf-8"))
    sentences = found["cautions"]
    assert any(sentence.startswith("The result is measured on") for sentence in sentences)
    assert any("fewer than 10 training images" in sentence for sentence in sentences)
    terminal = next_steps(published.path, published.metrics)
    report = html.unescape((published.path / "report.html").read_text(encoding="utf-8"))
    card = shown_text((published.path / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2])
    for sentence in sentences:
        assert f"note: {sentence}" in terminal
        assert sentence in card
        assert sentence in report
    accuracy = dict(found["facts"])["top-1 accuracy (95 % interval)"]
    assert all(accuracy in text for text in (terminal, report, card))


def test_equal_images_with_different_labels_are_listed(published: vitrail.Run) -> None:
    rows = list(csv.DictReader((published.path / "conflicts.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["group"], row["label"]) for row in rows} == {("1", "class 1"), ("1", "class 2")}
    assert any(row["path"].endswith("same.png") for row in rows)
    report = (published.path / "report.html").read_text(encoding="utf-8")
    assert "Equal images with different labels" in report
    assert "same.png" in report


def test_a_run_that_learned_nothing_is_told_how_long_it_needs() -> None:
    timed = replace(ONE_STEP, steps=None, minutes=3)
    assert way_out(timed, 0.4, 180) == "The run was too short: give it more time, --minutes 40."  # 12.5 times
    assert way_out(timed, 4.0, 180) == "The run was too short: give it more time, --minutes 30."  # ten times
    assert way_out(replace(ONE_STEP, steps=40), 2.0, 60.0) == (
        "The run was too short: train longer, --epochs 20, which takes about 10 minutes at this run's speed."
    )
    reading = way_out(replace(ONE_STEP, steps=40), 2.0, 60.0, once=30.0)
    assert "about 10 minutes" in reading, "half a minute and ten times the other half are 5.5 minutes, rounded up"
    assert "about 2 minutes" in way_out(replace(ONE_STEP, steps=40), 2.0, 60.0, once=54.0)
    assert "check the labels" in way_out(timed, 31, 180)
    fitted = way_out(replace(ONE_STEP, solver="lbfgs"), 1.0, 60.0)
    assert "more epochs change nothing" in fitted, "the solver has one optimum"
    assert "--recipe lora or finetune" in fitted
    assert [round_up(value) for value in (0.2, 1.01, 12.5, 37.5, 99, 101, 260)] == [1, 2, 15, 40, 100, 150, 300]
    assert first_epoch_words(0.41) == ["The run ended after 0.41 epochs: 59% of the training images were never used."]
    assert chosen_by_words("test") == []
    (sentence,) = chosen_by_words("val")
    assert "by which the best checkpoint was chosen" in sentence
    assert first_epoch_words(0.999) == first_epoch_words(1.0) == []


def test_a_sample_of_the_source_is_said() -> None:
    whole = Survey(Source("photos", (), ()), (), ())
    assert sample_words(whole) == []
    (sentence,) = sample_words(replace(whole, total=200_000, read=5_120))
    assert sentence == "5,120 of 200,000 images of the source were used, drawn at random."


def test_rare_classes_are_named() -> None:
    samples = tuple(Sample("", (label,), None, FileAt("")) for label in [0] * 30 + [1] * 3 + [2] * 9)
    (sentence,) = rare_class_words(samples, ("daisy", "rose", "tulip"))
    assert sentence.startswith("rose (3), tulip (9) have fewer than 10 training images")
    assert "balance" not in rare_class_words(samples, ("daisy", "rose", "tulip"), balanced=True)[0]
    assert rare_class_words(samples[:30], ("daisy",)) == []


def test_the_origin_is_worded_once_for_all_checkpoints() -> None:
    assert origin_words({"origin": "", "trained_on": "digits"}) == "trained from random weights on digits"
    assert origin_words({"origin": "timm/x", "trained_on": "digits"}) == "fine-tuned from timm/x on digits"
    assert origin_words({"origin": "timm/x"}) == "converted from timm/x"
    # as earlier versions stored it
    assert origin_words({"origin": "trained from fresh weights on digits"}) == "trained from random weights on digits"
    assert origin_words({"origin": "fine-tuned from timm/x on digits"}) == "fine-tuned from timm/x on digits"
    assert origin_words({"origin": "fine-tuned from /home/ada/x on /data/photos"}) == "fine-tuned from x on photos"


def test_the_card_of_a_run_that_starts_from_private_weights(tmp_path: Path) -> None:
    """Weights of another library, converted to a checkpoint."""
    secret = tmp_path / "ada-lovelace"
    photos = make_pictures(secret / "photos")
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2)
    save_file(vitrail.export_state_dict(model, "timm"), secret / "vit.safetensors")
    converted = vitrail.convert(secret / "vit.safetensors", secret / "converted")
    assert converted.info["origin"] == "vit.safetensors"
    recipe = replace(ONE_STEP, model=None, weights=str(secret / "converted"), overrides={})
    run = vitrail.train(photos.resolve(), recipe, out=secret / "runs" / "flowers")
    for path in (run.path / "README.md", run.path / "report.html", run.path / "checkpoints/best/model.json"):
        assert "ada-lovelace" not in path.read_text(encoding="utf-8"), path.name
    card = shown_text((run.path / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2])
    assert "A Vision Transformer, converted, fine-tuned from converted on photos with vitrail." in card


def test_public_names(tmp_path: Path) -> None:
    assert public_name(f"{tmp_path}/photos/") == "photos"
    assert public_name(str(tmp_path)) == tmp_path.name
    assert public_name("../ada/photos") == "photos"
    assert [public_name(name) for name in ("digits", "timm/vit_tiny", "shards/*.tar")] == [
        "digits",
        "timm/vit_tiny",
        "shards/*.tar",
    ]


def test_the_card_is_a_part_of_the_recipe() -> None:
    recipe = set_fields(vitrail.Recipe(), ["card.license=apache-2.0", "card.author=Ada King"])
    assert recipe.card == Card(license="apache-2.0", author="Ada King")
    assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
    assert recipe_from_dict({"epochs": 2}).card == Card(), "recipes of earlier versions"
    with pytest.raises(VitrailError, match="the recipe has no field licence: did you mean license"):
        set_fields(vitrail.Recipe(), ["card.licence=mit"])


def test_curves_beside_have_losses_only_of_the_same_kind_and_names_that_differ(tmp_path):
    row = {"epoch": 1.0, "val_loss": 2.0, "val_top1": 0.5}
    objectives = {"a/run": SupervisedConfig(), "b/run": MAEObjectiveConfig(), "c/other": None}
    for name, objective in objectives.items():
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir(parents=True)
        folder.write_rows([row])
        if objective is not None:
            folder.write("recipe.yaml", recipe_to_yaml(Recipe(objective=objective)))
    runs = [str(tmp_path / name) for name in objectives]
    without = {"epoch": 1.0, "val_top1": 0.5}
    found = curves_beside([*runs, f"{runs[0]}/"], DistillConfig(teacher="t"))
    assert found == {"a/run": [row], "b/run": [without], "other": [without]}


def test_a_student_is_published_with_its_teacher() -> None:
    assert _objective_words(DistillConfig(teacher="/home/ada/runs/large/")) == "distill, teacher large"
    assert _objective_words(MAEObjectiveConfig()) == "mae"
