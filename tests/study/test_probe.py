"""The probe study on a tiny model: scores against scikit-learn, and which images are scored."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from vitrail.checkpoint.contract import load, save
from vitrail.data.facts_cache import digest
from vitrail.data.open import open_source, read_image
from vitrail.errors import VitrailError
from vitrail.evaluation.probe import knn
from vitrail.lens.probe.layers import layer_features
from vitrail.models.registry import create_model
from vitrail.pages.files import check_output, results_page, write_results
from vitrail.study.probe import LayerFeatures, ProbeOptions, study_probe
from vitrail.study.probe_table import files, notes, table

from ..evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_classes, write_image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint():
    found = tiny_checkpoint()
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.normal_(std=0.4)
    return found


def write_colours(root, classes=CLASSES, **parts):
    """Classes of noisy images of one colour each, in parts."""
    for part, each in parts.items():
        for row, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(each):
                noise = np.random.default_rng([row, number, each]).integers(0, 160, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(noise + np.eye(3, dtype=np.uint8)[row] * 90).save(folder / f"{number}.png")
    return root


def values(source):
    return {score.name: score.value for score in source.scores}


def test_scores_are_those_of_scikit_learn_on_the_embeddings(checkpoint, tmp_path):
    root = write_colours(tmp_path / "colours", train=8, test=4)
    study = study_probe(checkpoint, [str(root)], ProbeOptions(device="cpu", precision="float32"))
    (source,) = study.sources
    assert (source.train, source.test, study.width, source.metric) == (24, 12, 16, "accuracy")
    found = {}
    for part in ("train", "test"):
        samples = [s for s in open_source(root).samples if s.split == part]
        pixels = torch.stack([checkpoint.preprocess(read_image(sample, 3)) for sample in samples])
        with torch.no_grad():
            vectors = torch.nn.functional.normalize(checkpoint.model.embed_images(pixels), dim=1)
        found[part] = vectors.numpy(), [sample.labels[0] for sample in samples]

    def weights(distances):
        return np.exp((1 - distances**2 / 2) / knn.TEMPERATURE)

    model = KNeighborsClassifier(10, weights=weights).fit(*found["train"])
    assert values(source)["kNN, k = 10"] == pytest.approx(model.score(*found["test"]))
    assert values(source)["majority class"] == pytest.approx(1 / 3)
    assert values(source)["linear"] > 0.8
    assert values(source)["kNN, k = 100"] is None
    assert values(source)["25 images a class"] is None
    assert "25 images a class: too few images: cat has 8 to fit on" in notes(study)


def test_a_second_study_computes_no_features(checkpoint, tmp_path, monkeypatch):
    root = str(write_colours(tmp_path / "colours", train=4, test=3))
    first = study_probe(checkpoint, [root])
    monkeypatch.setattr(checkpoint.model, "embed_images", None)
    assert study_probe(checkpoint, [root]).sources == first.sources


def test_layers_are_pooled_as_asked(checkpoint, tmp_path):
    pixels = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = layer_features(checkpoint.model, pixels)["encoder.blocks.0"]
    for pool, key in (("auto", "class"), ("class", "class"), ("mean", "mean")):
        with torch.no_grad():
            found = LayerFeatures(checkpoint.model, "encoder.blocks.0", pool)(pixels)
        torch.testing.assert_close(found, expected[key])
    root = str(write_colours(tmp_path / "colours", train=2, test=2))
    assert study_probe(checkpoint, [root], ProbeOptions(layer="blocks.0")).features.startswith("encoder.blocks.0")
    with pytest.raises(VitrailError, match=r"no module 'blocks\.7'"):
        study_probe(checkpoint, [root], ProbeOptions(layer="blocks.7"))


def test_several_sources_are_columns_with_their_mean(checkpoint, tmp_path):
    sources = [
        str(write_colours(tmp_path / name, classes, train=4, test=3))
        for name, classes in (("one", CLASSES), ("two", ("red", "green")))
    ]
    study = study_probe(checkpoint, sources)
    headers, rows = table(study)
    assert headers == ["probe", "one", "two", "mean"]
    linear = [values(source)["linear"] for source in study.sources]
    assert next(row for row in rows if row[0] == "linear")[-1] == f"{50 * sum(linear):.1f} %"
    out = tmp_path / "out"
    write_results(out, files(study, "runs/mine"))
    with (out / "probe.csv").open() as file:
        found = {(row["source"], row["probe"]): row for row in csv.DictReader(file)}
    assert float(found[sources[1], "linear"]["value"]) == pytest.approx(linear[1], rel=1e-5)
    assert found[sources[0], "25 images a class"]["value"] == ""
    page = (out / "probe.html").read_text()
    assert "Probes of mine" in page
    assert "Few images" in page


def test_models_without_labels_are_probed_on_any_image(checkpoint, tmp_path):
    """A masked autoencoder that was pre-trained on the same images, whose splits.csv has no labels."""
    root = write_classes(tmp_path / "images", each=8)
    sizes = {"image_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
    decoder = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
    model = create_model("mae_vit_base_patch16", **sizes, **decoder).eval()
    save(replace(checkpoint, model=model, class_names=()), tmp_path / "run" / "checkpoints" / "best")
    rows = "".join(f"{path},{number},train,\n" for number, path in enumerate(root.rglob("*.png")))
    (tmp_path / "run" / "splits.csv").write_text("name,digest,split,label\n" + rows)
    study = study_probe(load(tmp_path / "run" / "checkpoints" / "best"), [str(root)])
    assert "24 of 24 images" in study.sources[0].note
    assert "halved" in study.sources[0].note


def test_a_labelled_run_is_not_scored_on_what_it_learned_from(checkpoint, tmp_path):
    root, other = write_classes(tmp_path / "images", each=6), tmp_path / "other"
    for number in range(12):
        write_image(other / ("owl", "yak")[number % 2] / f"{number}.png", seed=1000 + number)
    samples = open_source(root).samples
    parts = ["train", "train", "train", "test", "test", "val"] * 3
    rows = [f"{s.name},{digest(s.location.read())},{part},x\n" for s, part in zip(samples, parts, strict=True)]
    save(checkpoint, tmp_path / "run" / "checkpoints" / "best")
    (tmp_path / "run" / "splits.csv").write_text("name,digest,split,label\n" + "".join(rows))
    study = study_probe(load(tmp_path / "run" / "checkpoints" / "best"), [str(root), str(other)])
    assert "fitted on 9 images and scored on 6 of 6 images" in study.sources[0].note
    assert "halved" in study.sources[1].note


def test_a_train_part_alone_is_halved(checkpoint, tmp_path):
    root = write_colours(tmp_path / "colours", train=6)
    (source,) = study_probe(checkpoint, [str(root)]).sources
    assert (source.train, source.test) == (9, 9)
    assert "halved" in source.note


def test_many_labels_are_scored_by_mean_average_precision(checkpoint, tmp_path):
    write_colours(tmp_path, train=5, test=4)
    lines = ["path,split,red,green"]
    for part, each in (("train", 5), ("test", 4)):
        for row, name in enumerate(CLASSES):
            lines += [f"{part}/{name}/{number}.png,{part},{int(row != 1)},{int(row == 1)}" for number in range(each)]
    (tmp_path / "many.csv").write_text("\n".join(lines) + "\n")
    study = study_probe(checkpoint, [str(tmp_path / "many.csv")])
    (source,) = study.sources
    assert source.metric == "mean average precision"
    assert not any("a class" in score.name for score in source.scores)
    assert 0 < values(source)["linear"] <= 1


def test_what_cannot_be_probed_is_a_sentence(checkpoint, tmp_path):
    write_classes(tmp_path / "one", ("cat", "dog"), each=1)
    (tmp_path / "numbers.csv").write_text("path,age\none/cat/0.png,3\none/dog/0.png,4.5\n")
    with pytest.raises(VitrailError, match="labelled for regression"):
        study_probe(checkpoint, [str(tmp_path / "numbers.csv")])
    with pytest.raises(VitrailError, match="two classes"):
        study_probe(checkpoint, [str(tmp_path / "one")])
    with pytest.raises(VitrailError, match="at least one source"):
        study_probe(checkpoint, [])
    for out, words in (
        (tmp_path / "a.txt", "ends in .txt"),
        (tmp_path / "numbers.csv" / "a.csv", "is a file: name another folder"),
    ):
        with pytest.raises(VitrailError, match=words):
            check_output(out)


def test_a_pool_without_a_layer_is_an_error(tmp_path):
    with pytest.raises(VitrailError, match="pool class is for the tokens of a layer"):
        study_probe(tiny_checkpoint(), ["digits"], ProbeOptions(pool="class"))


def test_the_page_names_sources_apart_and_no_folder_of_this_machine(checkpoint, tmp_path):
    sources = [str(write_classes(tmp_path / name / "images", each=12)) for name in ("one", "two")]
    page = results_page(files(study_probe(checkpoint, sources, ProbeOptions(device="cpu")), "runs/mine"))
    assert str(tmp_path) not in page
    assert "<h3>images</h3>" in page
    assert "<h3>images (2)</h3>" in page
