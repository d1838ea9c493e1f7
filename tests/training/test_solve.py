"""Recipe probe: the last layer by L-BFGS on features that are computed once, as a run like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from killable_runs import SMALL, make_pictures
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.data.seeds import derive
from vitrail.errors import VitrailError
from vitrail.evaluation.probe.logistic import choose_strength
from vitrail.evaluation.probe.ridge import fit_best_ridge
from vitrail.models.registry import create_model
from vitrail.objectives.distill import DistillConfig
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.rewrites.lora import LoRA
from vitrail.training import finish
from vitrail.training.recipe_file import read_recipe
from vitrail.training.recipes import RECIPES

PROBE = replace(RECIPES["probe"], batch_size=8, precision="float32", device="cpu")
SIZES = {"image_size": 16, "patch_size": 8, "embed_dim": 16, "num_heads": 2, "depth": 1}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "three kinds")


def pretrained(path, variant="vit_tiny_patch16_224", **fields):
    torch.manual_seed(0)
    model = create_model(variant, **{**SIZES, "num_classes": 5, **fields}).eval()
    names = tuple(f"old {number}" for number in range(model.config.num_outputs))
    save(Checkpoint(model, names, Preprocess(image_size=(16, 16), crop=1.0)), path)
    return str(path)


def train_part(run, source):
    """Pixels and labels of the training images, in the order of splits.csv."""
    lines = [line.split(",") for line in (run / "splits.csv").read_text().splitlines()[1:]]
    rows = [(name, label) for name, _, split, label in lines if split == "train"]
    preprocess = load(run).preprocess
    pixels = torch.stack([preprocess(Image.open(source / name)) for name, _ in rows])
    return pixels, [label for _, label in rows]


def test_the_head_is_a_logistic_regression_on_the_embeddings(source, tmp_path):
    said = []
    weights = pretrained(tmp_path / "old")
    run = vitrail.train(source, PROBE, weights=weights, out=tmp_path / "run", say=said.append)
    old, new = load(weights).model, run.checkpoint.model
    for name, tensor in old.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, new.state_dict()[name]), name
    pixels, labels = train_part(run.path, source)
    with torch.no_grad():
        features = old.embed_images(pixels)
    kinds = torch.tensor([int(label.removeprefix("class ")) for label in labels])
    ones = torch.nn.functional.one_hot(kinds, 3).float()
    strength = choose_strength(features, ones, seed=derive(0, "solver", "head.classify"))
    scaler = StandardScaler().fit(features.double())
    model = LogisticRegression(C=1 / (strength * len(features)), tol=1e-10, max_iter=5000)
    expected = model.fit(scaler.transform(features.double()), kinds).predict_proba(scaler.transform(features.double()))
    with torch.no_grad():
        found = new(pixels).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)
    (row,) = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert (row["epoch"], row["step"]) == (1.0, 1)
    assert row["train_loss"] == pytest.approx(torch.nn.functional.cross_entropy(found.log(), kinds).item(), abs=1e-3)
    assert "never used" not in (run.path / "README.md").read_text()
    assert any("L-BFGS" in line for line in said)


def test_it_resumes_and_repeats_bit_for_bit(source, tmp_path, monkeypatch):
    weights = pretrained(tmp_path / "old")
    whole = vitrail.train(source, PROBE, weights=weights, out=tmp_path / "whole")

    def killed(*arguments):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(finish, "HeadSolver", killed)
        with pytest.raises(RuntimeError):
            vitrail.train(source, PROBE, weights=weights, out=tmp_path / "stopped")
    resumed = vitrail.resume(tmp_path / "stopped")
    again = vitrail.train(source, read_recipe(str(whole.path)), out=tmp_path / "again")
    for name in ("metrics.jsonl", "checkpoints/best/model.safetensors"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert vitrail.resume(tmp_path / "stopped").metrics == whole.metrics  # it has ended already


def test_regression_is_ridge(tmp_path):
    random = np.random.default_rng(0)
    lines = ["path,age"]
    for number in range(40):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{random.normal(40, 9):.3f}")
    (tmp_path / "ages.csv").write_text("\n".join(lines) + "\n")
    weights = pretrained(tmp_path / "old")
    recipe = replace(PROBE, objective=None)
    run = vitrail.train(tmp_path / "ages.csv", recipe, weights=weights, out=tmp_path / "run")
    pixels, labels = train_part(run.path, tmp_path)
    numbers = np.array([[float(label)] for label in labels])
    targets = (numbers - numbers.mean()) / numbers.std()
    with torch.no_grad():
        features = load(weights).model.embed_images(pixels).double()
        found = run.checkpoint.model(pixels).numpy()
    _, strength = fit_best_ridge(features, torch.tensor(targets), seed=derive(0, "solver", "head.classify"))
    scaled = StandardScaler().fit_transform(features)
    expected = Ridge(alpha=strength * len(features)).fit(scaled, targets).predict(scaled)
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-3)


def test_each_classifier_of_a_distilled_model_is_fitted_on_its_own_token(source, tmp_path):
    weights = pretrained(tmp_path / "old", "deit_tiny_distilled_patch16_224")
    run = vitrail.train(source, PROBE, weights=weights, out=tmp_path / "run")
    old, new = load(weights).model, run.checkpoint.model
    pixels, labels = train_part(run.path, source)
    kinds = torch.tensor([int(label.removeprefix("class ")) for label in labels])
    with torch.no_grad():
        tokens, output = old.forward_features(pixels).x, new(pixels)
    for place, (name, logits) in enumerate((("classify", output.classes), ("distill", output.distilled))):
        ones = torch.nn.functional.one_hot(kinds, 3).float()
        strength = choose_strength(tokens[:, place], ones, seed=derive(0, "solver", f"head.{name}"))
        scaled = StandardScaler().fit_transform(tokens[:, place].double())
        model = LogisticRegression(C=1 / (strength * len(scaled)), tol=1e-10, max_iter=5000).fit(scaled, kinds)
        np.testing.assert_allclose(logits.softmax(dim=1).numpy(), model.predict_proba(scaled), atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ema": 0.9}, "moving average"),
        ({"objective": SupervisedConfig(mixup=0.2)}, "mixup"),
        ({"objective": SupervisedConfig(sampler="balanced")}, "sampler"),
        ({"objective": DistillConfig(teacher="t")}, "a teacher"),
        ({"lora": LoRA()}, "LoRA"),
        ({"weights": None}, "no weights"),
    ],
)
def test_what_it_does_not_do_is_a_sentence(changes, words, source, tmp_path):
    recipe = replace(PROBE, **{"weights": pretrained(tmp_path / "old"), **changes})
    with pytest.raises(VitrailError, match=f"{words}.*--set solver=steps"):
        vitrail.train(source, recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["steps", "epochs"])
def test_it_has_one_step(name):
    with pytest.raises(VitrailError, match=rf"recipe\.{name} is 20.*leave {name} out"):
        replace(PROBE, **{name: 20})
    assert replace(SMALL, solver="steps").solver == "steps"
