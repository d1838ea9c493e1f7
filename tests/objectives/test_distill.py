"""Distillation: the loss against a float64 loop, tokens, teachers of every kind, stored logits."""

import math
import shutil
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_classes
from torch import nn

import vitrail
from vitrail.cli.main import main
from vitrail.data.augment_options import Augment
from vitrail.data.loader import Batch, OneView, TrainLoader
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.nn import DistilledLogits
from vitrail.objectives.class_losses import CrossEntropy
from vitrail.objectives.distill import DistillConfig, Distilled
from vitrail.objectives.objective import Moment
from vitrail.objectives.stored_logits import LogitFacts, StoredLogits, write_epoch, write_facts
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.objectives.teachers import Teacher, make_teacher, register_teacher
from vitrail.training.distill import changed_teacher
from vitrail.training.loop import Trainer
from vitrail.training.recipe import Recipe
from vitrail.training.run_facts import with_absolute_paths

PLAIN = Preprocess(image_size=(8, 8), crop=1.0)
GREY = Preprocess(image_size=(8, 8), crop=1.0, channels=1, mean=(0.0,), std=(1.0,))
SIZES = {"patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
SMALL = Recipe(
    model="vit_tiny_patch16_224",
    overrides=SIZES,
    image_size=8,
    start_size=1.0,
    batch_size=4,
    steps=4,
    precision="float32",
)


class Logits(nn.Module):
    """A model whose output is a tensor that was given."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, pixels):
        return self.output


def distilled(student, teacher, kind="soft", one_label=True, weight=0.3):
    options = {"mix": None, "one_label": one_label, "kind": kind, "temperature": 2.0, "weight": weight}
    return Distilled(Logits(student), CrossEntropy(), Teacher(Logits(teacher), PLAIN), **options)


def softmax(values):
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_loss_is_that_of_a_loop(kind, seeded):
    student, teacher = torch.randn(4, 3), 2 * torch.randn(4, 3)
    targets = torch.eye(3)[[0, 2, 1, 1]]
    found = distilled(student, teacher, kind)(Batch(torch.zeros(4, 1, 1, 1), targets), Moment(0))
    labels = taught = 0.0
    for row, truth, target in zip(student.tolist(), teacher.tolist(), targets.tolist(), strict=True):
        labels -= math.log(softmax(row)[target.index(1.0)]) / 4
        if kind == "hard":
            taught -= math.log(softmax(row)[truth.index(max(truth))]) / 4
        else:
            ours, theirs = (softmax([value / 2 for value in values]) for values in (row, truth))
            taught += 4 * sum(p * math.log(p / q) for p, q in zip(theirs, ours, strict=True)) / 4
    assert found.parts["labels"].item() == pytest.approx(labels, rel=1e-5)
    assert found.parts["teacher"].item() == pytest.approx(taught, rel=1e-5)
    assert found.total.item() == pytest.approx(0.7 * labels + 0.3 * taught, rel=1e-5)


def test_the_soft_loss_is_zero_for_equal_logits_of_several_labels_up_to_their_entropy(seeded):
    logits = torch.randn(5, 3, requires_grad=True)
    loss = distilled(logits, logits.detach(), one_label=False).difference(logits, logits.detach())
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_distillation_token_learns_from_the_teacher_and_the_class_token_from_labels(seeded):
    classes, second = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    objective = distilled(DistilledLogits(classes, second), torch.randn(4, 3))
    loss = objective(Batch(torch.zeros(4, 1, 1, 1), torch.eye(3)[[0, 1, 2, 0]]), Moment(0))
    for part, learns, not_touched in (("labels", classes, second), ("teacher", second, classes)):
        learned, other = torch.autograd.grad(
            loss.parts[part], (learns, not_touched), retain_graph=True, allow_unused=True
        )
        assert learned.abs().sum() > 0
        assert other is None


def test_a_teacher_sees_images_as_it_was_trained_and_its_classes_are_matched_by_name(seeded):
    checkpoint = tiny_checkpoint()
    checkpoint.preprocess = replace(checkpoint.preprocess, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    student = Preprocess(image_size=(8, 8), crop=1.0, mean=(0.4,) * 3, std=(0.2,) * 3)
    images = torch.rand(2, 3, 8, 8)
    vitrail.register_teacher("mine", checkpoint)
    teacher = make_teacher("mine", ("fox", "cat"), student)
    with torch.no_grad():
        expected = checkpoint.model(checkpoint.preprocess.normalise(images))[:, [2, 0]]
    torch.testing.assert_close(teacher(student.normalise(images)), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(VitrailError, match="the teacher mine does not know wolf: fine-tune it"):
        make_teacher("mine", ("fox", "wolf"), student)
    with pytest.raises(VitrailError, match=r"register it here too, with vitrail.register_teacher"):
        make_teacher("python:X", ("fox",), student)


def test_timm_by_name_with_a_file(tmp_path, seeded):
    theirs = timm.create_model("resnet10t", num_classes=3).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    teacher = make_teacher(f"timm:resnet10t:{tmp_path / 'weights.safetensors'}", CLASSES, PLAIN).eval()
    images = torch.rand(1, 3, 8, 8)
    card = theirs.pretrained_cfg
    large = nn.functional.interpolate(images, card["input_size"][1:], mode="bilinear", antialias=True)
    mean, std = (torch.tensor(card[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = theirs((large - mean) / std)
    torch.testing.assert_close(teacher(PLAIN.normalise(images)), expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(VitrailError, match="do not fit timm's resnet10t"):
        make_teacher(f"timm:resnet10t:{tmp_path / 'weights.safetensors'}", CLASSES[:2], PLAIN)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("images") / "animals", each=6)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher"
    torch.manual_seed(3)
    vitrail.save(tiny_checkpoint(), path)
    return path


@pytest.mark.exhaustive
def test_a_distilled_run_resumes_bit_for_bit(source, teacher, tmp_path, monkeypatch):
    recipe = replace(SMALL, objective=SupervisedConfig(cutmix=0.5, label_smoothing=0.05))
    run = vitrail.distill_from_teacher(teacher, None, source, recipe=recipe, out=tmp_path / "run")
    objective = run.path / "recipe.yaml"
    assert "cutmix: 0.5" in objective.read_text()
    assert '"train_teacher"' in (run.path / "metrics.jsonl").read_text()
    step = Trainer.step

    def stopped(self, batches):
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        vitrail.distill_from_teacher(teacher, None, source, recipe=recipe, out=tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "step", step)
    again = vitrail.resume(tmp_path / "stopped")
    for name in ("model.safetensors", "trainer.safetensors"):
        files = [path / "checkpoints/last" / name for path in (again.path, run.path)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_stored_logits_give_the_run_of_the_live_teacher(source, teacher, tmp_path):
    recipe = replace(SMALL, augment=Augment(crop="resized", flip=0.5), steps=8, seed=2)
    folder = vitrail.store_logits(teacher, source, tmp_path / "logits", epochs=2, recipe=recipe)
    live = vitrail.distill_from_teacher(teacher, None, source, recipe=replace(recipe, steps=6), out=tmp_path / "live")
    stored = vitrail.distill_from_teacher(folder, None, source, recipe=replace(recipe, steps=6), out=tmp_path / "disk")
    for one, other in zip(*(run.checkpoint.model.parameters() for run in (live, stored)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    with pytest.raises(VitrailError, match="are of other images than this run's"):
        vitrail.distill_from_teacher(folder, None, source, recipe=replace(recipe, seed=3), out=tmp_path / "other")
    mixed = replace(recipe, objective=SupervisedConfig(mixup=0.2))
    with pytest.raises(VitrailError, match=r"set objective.mixup=0 and objective.cutmix=0"):
        vitrail.distill_from_teacher(folder, None, source, recipe=mixed, out=tmp_path / "mixed")


def test_augmented_images_repeat_after_the_stored_epochs(seeded):
    images = torch.rand(4, 1, 8, 8)
    views = OneView(lambda image: image + torch.rand(1))
    loader = TrainLoader(lambda index: images[index], 4, None, views, GREY, batch_size=2, seed=1, cycle=3)
    batches = loader.batches()
    seen = {}
    for _ in range(5 * 2):
        batch = next(batches)
        for key, pixels in zip(batch.keys, batch.pixels, strict=True):
            assert torch.equal(seen.setdefault(key, pixels), pixels)
    assert len(seen) == 3 * 4
    assert loader.order(0) != loader.order(3)
    (whole,) = [torch.cat([batch.pixels for batch in loader.once(2)])]
    assert all(torch.equal(whole[index], seen[2, index, 0]) for index in range(4))


def test_the_mass_of_the_other_classes_is_exact_at_the_temperature(tmp_path, seeded):
    logits = 3 * torch.randn(5, 8)
    facts = LogitFacts(teacher="t", classes=tuple("abcdefgh"), images="", count=5, epochs=1, top_k=3, temperature=2.5)
    write_facts(tmp_path / "logits", facts)
    write_epoch(tmp_path / "logits", facts, 0, [logits[:3], logits[3:]])
    found = StoredLogits(tmp_path / "logits")(torch.zeros(1), [(0, index, 0) for index in range(5)])
    expected, kept = (logits.double() / 2.5).softmax(1), (found.double() / 2.5).softmax(1)
    places = logits.topk(3).indices
    torch.testing.assert_close(kept.gather(1, places), expected.gather(1, places), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.gather(1, places), logits.gather(1, places), atol=0, rtol=0)
    with pytest.raises(VitrailError, match="has logits of 1 epochs, not 2"):
        write_facts(tmp_path / "logits", replace(facts, epochs=2))


def test_a_module_from_python_is_a_teacher(source, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, pixels):
            return self.layer(pixels.mean(dim=(2, 3)))

    run = vitrail.distill_from_teacher(Net(), None, source, recipe=SMALL, out=tmp_path / "run", kind="hard")
    assert "teacher: python:Net" in (run.path / "recipe.yaml").read_text()
    state = vitrail.checkpoint.native.read_tensors(run.path / "checkpoints/last/trainer.safetensors")[0]
    assert "objective.teacher.model.layer.weight" in state


def test_without_a_teacher_is_a_sentence(source, tmp_path):
    with pytest.raises(VitrailError, match="objective distill needs a teacher"):
        vitrail.train(source, replace(SMALL, objective=DistillConfig()), out=tmp_path / "run")


def test_logits_are_not_written_into_a_folder_of_other_files(tmp_path):
    facts = LogitFacts(teacher="t", classes=("a", "b"), images="", count=1, epochs=2, top_k=2, temperature=3.0)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("")
    with pytest.raises(VitrailError, match="has other files, such as recipe"):
        write_facts(tmp_path / "run", facts)
    assert not (tmp_path / "run/logits.json").exists()
    write_facts(tmp_path / "logits", facts)
    write_facts(tmp_path / "logits", facts)
    with pytest.raises(VitrailError, match="logits of 2 epochs, not 3"):
        write_facts(tmp_path / "logits", replace(facts, epochs=3))
    with pytest.raises(VitrailError, match="another teacher"):
        write_facts(tmp_path / "logits", replace(facts, teacher="u"))


def test_logits_know_the_weights_of_their_teacher(source, tmp_path):
    recipe = replace(SMALL, augment=Augment(crop="resized", flip=0.5), steps=1)
    teacher, logits = tmp_path / "teacher", tmp_path / "logits"

    def store(seed, place):
        torch.manual_seed(seed)
        vitrail.save(tiny_checkpoint(), place)
        return vitrail.store_logits(place, source, logits, epochs=1, recipe=recipe)

    store(1, teacher)
    kept = (logits / "logits.json").read_bytes()
    store(1, tmp_path / "moved")
    assert (logits / "logits.json").read_bytes() == kept, "the same weights are the same teacher"
    assert changed_teacher(DistillConfig(teacher=str(logits))) == ""
    with pytest.raises(VitrailError, match=r"has logits of other weights than .*teacher has now"):
        store(2, teacher)
    said = []
    vitrail.distill_from_teacher(logits, None, source, recipe=recipe, out=tmp_path / "run", say=said.append)
    assert any("are of other weights than" in line for line in said)
    with pytest.raises(VitrailError, match="another teacher"):
        store(3, tmp_path / "other")
    shutil.rmtree(teacher)
    assert changed_teacher(DistillConfig(teacher=str(logits))) == "", "a teacher that is gone is not known"


def test_logits_of_an_earlier_version_are_continued_by_the_name_of_their_teacher(tmp_path):
    facts = LogitFacts(teacher="t", classes=("a", "b"), images="", count=1, epochs=2, top_k=2, temperature=3.0)
    write_facts(tmp_path / "logits", facts)
    write_facts(tmp_path / "logits", replace(facts, weights="1"))
    with pytest.raises(VitrailError, match="another teacher"):
        write_facts(tmp_path / "logits", replace(facts, teacher="u", weights="1"))


def test_options_of_training_are_not_ignored_by_store(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["distill", "digits", "--teacher", "t", "--store", str(tmp_path / "logits"), "--kind", "hard"])
    assert stop.value.code == 1
    assert "--kind is for training" in capsys.readouterr().err


def test_a_run_names_its_teacher_and_the_runs_beside_it_by_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("teacher", "run", "named", "file.safetensors"):
        (tmp_path / name).mkdir()
    register_teacher("named", torch.nn.Identity())
    given = ("teacher", "named", "timm:vit:file.safetensors", "timm:vit", "owner/hub-id")
    expected = (f"{tmp_path}/teacher", "named", f"timm:vit:{tmp_path}/file.safetensors", "timm:vit", "owner/hub-id")
    for name, absolute in zip(given, expected, strict=True):
        found = with_absolute_paths(Recipe(objective=DistillConfig(teacher=name), beside=("run",)))
        assert found.objective.teacher == absolute
        assert found.beside == (f"{tmp_path}/run",)
