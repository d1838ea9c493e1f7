"""A model, a logger and recipes of the user's own, from Python."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from killable_runs import SMALL, make_pictures
from torch.utils.data import Dataset

import vitrail
from vitrail.checkpoint.origin import origin_words
from vitrail.errors import VitrailError
from vitrail.models.compact import CompactViTConfig
from vitrail.training.loggers import make_loggers, require_loggers

QUICK = replace(SMALL, model=None, overrides={}, epochs=1, save_minutes=5.0, precision="float32")
TINY = CompactViTConfig(image_size=16, stem=((8,), (16,)), embed_dim=16, num_heads=2, depth=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("images") / "three kinds")


def test_a_config_is_built_for_the_data(source, tmp_path):
    run = vitrail.train(source, QUICK, model=TINY, out=tmp_path / "run")
    config = run.checkpoint.model.config
    assert config == replace(TINY, num_classes=3, image_size=(16, 16), drop_path=0.3, dropout=0.1)
    assert vitrail.resume(run.path).metrics == run.metrics


def test_a_model_starts_with_its_own_weights(source, tmp_path):
    model = replace(TINY, num_classes=3).build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = vitrail.train(source, replace(QUICK, lr=1e-12, muon_lr=1e-12), model=model, out=tmp_path / "run")
    after = run.checkpoint.model.state_dict()
    for name, param in model.named_parameters():
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=1e-5)
        assert torch.equal(param, before[name]), "the model that was given is not changed"


def test_a_pre_training_variant_is_trained_on_labels_without_its_head(source, tmp_path):
    sizes = {"depth": 1, "embed_dim": 24, "num_heads": 2, "patch_size": 8}
    for name in ("dino_vits16_pretraining", "mae_vit_base_patch16"):
        run = vitrail.train(source, replace(QUICK, model=name, overrides=sizes, steps=1), out=tmp_path / name)
        assert type(run.checkpoint.model.config).__name__ == "ViTConfig"
        assert run.checkpoint.model.config.num_classes == 3
    with pytest.raises(VitrailError, match="is for masked-image-modelling, and classification needs a model for"):
        vitrail.train(source, replace(QUICK, model="beit_base_patch16_224_pretraining"), out=tmp_path / "beit")


def test_a_recipe_by_name_with_weights(source, tmp_path):
    start = vitrail.train(source, QUICK, model=TINY, out=tmp_path / "start")
    recipe = replace(vitrail.Recipe(), steps=1)
    tuned = vitrail.train(source, recipe, weights=start.path, out=tmp_path / "tuned")
    assert origin_words(tuned.checkpoint.info) == f"fine-tuned from start on {source.name}"
    assert set(vitrail.list_recipes()) >= {"default", "finetune", "probe", "imagenet-deit", "mae"}


class Noise(Dataset):
    """Twenty-four images of noise in two classes."""

    classes = ("dark", "light")

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        values = torch.randint(0, 128, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        return values + 100 * (index % 2), index % 2


def test_a_dataset_is_trained_on_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = vitrail.train(Noise(), QUICK, model=TINY)
    assert run.path == Path("runs/dataset-1")
    same = vitrail.train(vitrail.source_from_dataset(Noise()), QUICK, model=TINY)
    assert run.checkpoint.class_names == ("dark", "light")
    assert run.metrics == same.metrics
    with pytest.raises(VitrailError, match="trained with a source from Python"):
        vitrail.resume(run.path)
    assert vitrail.resume(run.path, source=Noise()).metrics == run.metrics
    note = vitrail.evaluate(run.path, Noise()).note
    assert (
        note == "2 images: dataset, without 20 that the run was trained on and 2 that it chose its best checkpoint by"
    )
    assert len(list(vitrail.predict(run.path, Noise(), split="train"))) == 20


class Alone(Noise):
    """The images without labels."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index)[0]


def test_a_dataset_of_images_alone_is_pretrained_on(tmp_path):
    sizes = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    decoder = {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
    recipe = vitrail.Recipe(model="mae_vit_base_patch16", overrides={**sizes, **decoder}, steps=1, batch_size=8)
    run = vitrail.pretrain(Alone(), recipe, out=tmp_path / "run")
    assert len((run.path / "splits.csv").read_text().splitlines()) == 1 + 24
    with pytest.raises(VitrailError, match=r"item 0 of the dataset is a Tensor, but \(image, label\) is needed"):
        vitrail.train(Alone(), QUICK, out=tmp_path / "labelled")


class Notes:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.closed = 0

    def log(self, row) -> None:
        self.rows.append(dict(row))

    def close(self) -> None:
        self.closed += 1


def test_a_logger_gets_every_row_and_is_closed(source, tmp_path):
    notes = Notes()
    run = vitrail.train(source, replace(QUICK, epochs=2), model=TINY, loggers=[notes], out=tmp_path / "run")
    assert [row["epoch"] for row in notes.rows] == [1.0, 2.0]
    assert (
        notes.rows[-1]["val_loss"] == pytest.approx(run.checkpoint.info["metrics"]["val_loss"]) or len(notes.rows) == 2
    )
    assert notes.closed == 1


def test_wandb_and_mlflow_are_called_as_their_documentation_has_it(tmp_path, monkeypatch):
    calls: list[tuple] = []

    def note(name):
        return lambda *args, **options: calls.append((name, args, options))

    wandb, mlflow = ModuleType("wandb"), ModuleType("mlflow")
    run = SimpleNamespace(log=note("log"), finish=note("finish"))
    wandb.init = lambda **options: calls.append(("init", (), options)) or run
    for name in ("start_run", "log_params", "log_metrics", "end_run"):
        setattr(mlflow, name, note(name))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    loggers = make_loggers(["wandb", "mlflow"], tmp_path / "flowers-1", {"lr": 0.1})
    for logger in loggers:
        logger.log({"step": 7, "epoch": 0.5, "val_top1": 0.25})
        logger.close()
    assert calls == [
        ("init", (), {"id": "flowers-1", "name": "flowers-1", "dir": str(tmp_path / "flowers-1"),
                      "config": {"lr": 0.1}, "resume": "allow"}),
        ("start_run", (), {"run_name": "flowers-1"}),
        ("log_params", ({"lr": "0.1"},), {}),
        ("log", ({"epoch": 0.5, "val_top1": 0.25},), {"step": 7}),
        ("finish", (), {}),
        ("log_metrics", ({"epoch": 0.5, "val_top1": 0.25},), {"step": 7}),
        ("end_run", (), {}),
    ]  # fmt: skip


def test_a_logger_that_is_not_there_is_a_sentence():
    with pytest.raises(VitrailError, match="no logger 'tensorbord': did you mean tensorboard"):
        require_loggers(["tensorbord"])
    with pytest.raises(VitrailError, match=r'pip install "vitrail\[wandb\]"'):
        require_loggers(["wandb"])
