"""Embeddings: the vectors are the model's own, files hold them to the last bit, a killed run goes on."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pyarrow import parquet
from torch import Tensor, nn

from tests.evaluation.small_checkpoint import tiny_checkpoint, write_image
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.open import open_source, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.evaluation.embed import embed, write_embeddings
from vitrail.models.registry import create_model
from vitrail.nn import EmbeddingModel

SMALL = {"image_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2}
SWIN = {"image_size": 32, "depths": (1, 1), "embed_dim": 16, "num_heads": (2, 2), "window_size": 4}


@pytest.fixture
def folder(tmp_path):
    for index in range(7):
        write_image(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in" / "3.png").write_bytes(b"no image")
    return tmp_path / "in"


def classifier_input(model: nn.Module, pixels: Tensor) -> Tensor:
    """What the last linear layer of a classifier reads."""
    seen = []
    last = [module for name, module in model.head.named_modules() if isinstance(module, nn.Linear)][-1]
    handle = last.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    model(pixels)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("vit_tiny_patch16_224", SMALL),
        ("beit_base_patch16_224", SMALL),
        ("cait_xxs24_224", SMALL),
        ("compact_tiny_16", {}),
        ("convnext_tiny", {"image_size": 32}),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("resnet18", {"image_size": 32}),
    ],
)
def test_a_classifiers_vector_is_what_its_last_layer_reads(name, overrides):
    model = create_model(name, **overrides).eval()
    pixels = torch.randn(2, *model.config.pixels_shape)
    with torch.inference_mode():
        vectors = EmbeddingModel(model)(pixels)
        assert torch.equal(vectors, classifier_input(model, pixels))
    assert vectors.ndim == 2


def test_two_classifiers_on_two_tokens_give_the_mean_of_the_tokens():
    model = create_model("deit_tiny_distilled_patch16_224", **SMALL).double().eval()
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        x = model.forward_features(pixels).x
        torch.testing.assert_close(EmbeddingModel(model)(pixels), x[:, :2].mean(1), rtol=1e-12, atol=0)


def test_two_classifiers_on_one_pool_give_what_both_read():
    model = create_model("levit_128s").eval()
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        tokens = model.forward_features(pixels)
        torch.testing.assert_close(EmbeddingModel(model)(pixels), tokens.x.sum(1) / tokens.x.shape[1])


def test_models_without_a_vector_give_the_mean_over_patches():
    for name in ("mae_vit_base_patch16", "segformer_b0"):
        overrides = SMALL if name.startswith("mae") else {"image_size": 64}
        model = create_model(name, **overrides).eval()
        pixels = torch.randn(2, *model.config.pixels_shape)
        with torch.inference_mode():
            features = model.forward_features(pixels)
            last = features[-1] if isinstance(features, tuple) else features
            rows = last.x.shape[1] - last.prefix
            expected = last.x[:, last.prefix :].sum(dim=1) / rows
            torch.testing.assert_close(EmbeddingModel(model)(pixels), expected)


def test_a_model_of_several_tasks_gives_what_its_classifier_reads():
    overrides = {**SMALL, "decoder_depth": 1, "dense_dim": 8}
    model = create_model("universal_vit_tiny_patch16_224", **overrides).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        vectors, outputs = EmbeddingModel(model)(pixels), model(pixels)
        torch.testing.assert_close(model.head["classification"].classify(vectors), outputs.classification)
        assert torch.equal(vectors, model.only("classification").embed_images(pixels))


def test_an_image_towers_projection_and_the_token_before_prototypes():
    pixels = torch.randn(2, 3, 32, 32)
    texts = {"text_dim": 32, "text_heads": 2, "joint_dim": 24}
    clip = create_model("clip_vit_base_patch16", **SMALL, **texts).eval()
    dino = create_model("dino_vits16_pretraining", **SMALL, num_classes=10, hidden_dim=8, bottleneck_dim=4).eval()
    with torch.inference_mode():
        vectors = EmbeddingModel(clip)(pixels)
        torch.testing.assert_close(nn.functional.normalize(vectors), clip.encode_image(pixels))
        assert vectors.shape == (2, 24)
        assert torch.equal(vectors, clip.embed_images(pixels))
        both = clip.image.forward_all(pixels)
        assert torch.equal(both.embedding, vectors)
        assert torch.equal(both.logits, vectors)
        assert torch.equal(EmbeddingModel(dino)(pixels), dino.forward_features(pixels).x[:, 0])


def test_vectors_in_order_equal_float64_and_bad_files_are_rows(folder, tmp_path):
    checkpoint = tiny_checkpoint()
    found = embed(checkpoint, [folder, tmp_path / "gone.png"], batch_size=2, precision="float32", device="cpu")
    samples = open_source(folder, labelled=False).samples
    assert found.paths == (*(sample.name for sample in samples), str(tmp_path / "gone.png"))
    assert [error is not None for error in found.errors] == [index in (3, 7) for index in range(8)]
    assert found.vectors.shape == (8, 16)
    checkpoint.model.double()
    for index, sample in enumerate(samples):
        if index == 3:
            assert found.vectors[index].isnan().all()
            continue
        pixels = checkpoint.preprocess(read_image(sample, 3)).double()
        with torch.inference_mode():
            expected = classifier_input(checkpoint.model, pixels[None])[0]
        torch.testing.assert_close(found.vectors[index].double(), expected, rtol=1e-4, atol=1e-5)


def test_every_file_format_holds_the_same(folder, tmp_path):
    checkpoint = tiny_checkpoint()
    expected = embed(checkpoint, folder)
    for suffix in (".npz", ".parquet", ".csv"):
        written = write_embeddings(checkpoint, folder, tmp_path / f"out{suffix}")
        assert (written.images, written.failed, written.width) == (7, 1, 16)
    errors = [error or "" for error in expected.errors]
    good = [index for index in range(7) if index != 3]
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["vectors"], expected.vectors.numpy())
        assert (arrays["paths"].tolist(), arrays["errors"].tolist()) == (list(expected.paths), errors)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("vector").type).startswith("fixed_size_list<")
    vectors = table["vector"].to_pylist()
    assert vectors[3] is None
    assert [vectors[index] for index in good] == expected.vectors[good].tolist()
    assert table["error"].to_pylist() == list(expected.errors)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", *(f"v{column}" for column in range(1, 17)), "error"]
    assert (rows[3]["v1"], rows[3]["error"]) == ("", errors[3])
    read = torch.tensor([[float(rows[index][f"v{column}"]) for column in range(1, 17)] for index in good])
    assert torch.equal(read, expected.vectors[good])  # nine digits give a float32 back


def test_odd_names_survive(tmp_path):
    odd = os.fsencode(tmp_path) + b"/gr\xf6\xdfe.png"
    write_image(tmp_path / "a.png", seed=0)
    os.rename(tmp_path / "a.png", odd)
    for suffix in ("npz", "csv", "parquet"):
        write_embeddings(tiny_checkpoint(), os.fsdecode(odd), tmp_path / f"out.{suffix}")
    with np.load(tmp_path / "out.npz") as arrays:
        assert os.fsencode(arrays["paths"].tolist()[0]) == odd


KILLED = """
import os, signal, sys, torch
from vitrail.evaluation import embedding_files, embed
write, calls = embedding_files._header, []
def header(*arguments):
    calls.append(arguments)
    if len(calls) == 7:  # three arrays a part: in the middle of the third
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments)
embedding_files._header = header
torch.set_num_threads(int(sys.argv[4]))  # sums over threads differ in their last digits
embed.write_embeddings(sys.argv[1], sys.argv[2], sys.argv[3], images_per_part=2, device="cpu", precision="float32")
"""


@pytest.mark.exhaustive
def test_a_killed_run_goes_on_and_gives_the_same(folder, tmp_path):
    checkpoint, settings = tmp_path / "model", {"images_per_part": 2, "device": "cpu", "precision": "float32"}
    save(tiny_checkpoint(), checkpoint)
    command = [sys.executable, "-c", KILLED, str(checkpoint), str(folder), str(tmp_path / "parts")]
    command.append(str(torch.get_num_threads()))
    assert subprocess.run(command).returncode == -signal.SIGKILL
    kept = sorted((tmp_path / "parts").glob("part-*.npz"))
    assert [part.name for part in kept] == ["part-00000.npz", "part-00001.npz"]
    stamps = [part.stat().st_mtime_ns for part in kept]
    kept[1].write_bytes(kept[1].read_bytes()[:-40])  # and the disk was full: a part that is cut short is done again
    written = write_embeddings(checkpoint, folder, tmp_path / "parts", **settings)
    assert (written.images, written.failed) == (7, 1)
    assert kept[0].stat().st_mtime_ns == stamps[0]
    write_embeddings(checkpoint, folder, tmp_path / "one go", **settings)
    parts = [sorted((tmp_path / name).glob("*")) for name in ("parts", "one go")]
    assert [[path.name for path in group] for group in parts] == [
        ["manifest.json", *(f"part-0000{index}.npz" for index in range(4))]
    ] * 2
    for resumed, whole in zip(*parts, strict=True):
        assert resumed.read_bytes() == whole.read_bytes()
    vectors = []
    for path in parts[0][1:]:
        with np.load(path) as arrays:
            vectors.append(arrays["vectors"])
    assert [len(part) for part in vectors] == [2, 2, 2, 1]
    expected = embed(checkpoint, folder, batch_size=2, device="cpu", precision="float32").vectors.numpy()
    np.testing.assert_allclose(np.concatenate(vectors), expected, rtol=1e-5, atol=1e-6)


def test_a_folder_of_parts_belongs_to_one_model_and_one_set_of_images(folder, tmp_path):
    checkpoint = tiny_checkpoint()
    run = {"images_per_part": 3, "precision": "float32"}
    write_embeddings(checkpoint, folder, tmp_path / "parts", **run)
    manifest = json.loads((tmp_path / "parts" / "manifest.json").read_text())
    assert (manifest["images"], manifest["width"], manifest["precision"]) == (7, 16, "float32")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert write_embeddings(checkpoint, folder, tmp_path / "parts", batch_size=1, **run).failed == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()} == stamps
    with pytest.raises(VitrailError, match="different are precision:"):
        write_embeddings(checkpoint, folder, tmp_path / "parts", images_per_part=3, precision="bfloat16")
    with pytest.raises(VitrailError, match="different are images_per_part:"):
        write_embeddings(checkpoint, folder, tmp_path / "parts", images_per_part=4, precision="float32")
    cropped = replace(checkpoint, preprocess=replace(checkpoint.preprocess, crop=0.5))
    with pytest.raises(VitrailError, match="different are preprocess:"):
        write_embeddings(cropped, folder, tmp_path / "parts", **run)
    write_image(folder / "9.png", seed=9)
    with pytest.raises(VitrailError, match="different are images, images_digest:"):
        write_embeddings(checkpoint, folder, tmp_path / "parts", **run)
    (folder / "9.png").unlink()
    with torch.no_grad():
        next(checkpoint.model.parameters()).add_(1)
    with pytest.raises(VitrailError, match="different are model: name a new folder"):
        write_embeddings(checkpoint, folder, tmp_path / "parts", **run)


@pytest.mark.parametrize("name", ["out.npz", "out.csv", "parts"])
def test_the_folder_of_the_output_is_made(folder, tmp_path, name):
    written = write_embeddings(tiny_checkpoint(), folder, tmp_path / "new" / "deep" / name, limit=2)
    assert written.images == 2
    assert (tmp_path / "new" / "deep" / name).exists()


def test_mistakes_are_sentences(folder, tmp_path):
    checkpoint = tiny_checkpoint()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "a file").write_text("mine")
    for out, words in (
        (tmp_path / "out.h5", r"ends in .h5: use .npz, .parquet, .csv, or no suffix"),
        (tmp_path / "full", "other files than embeddings"),
        (tmp_path / "a file", "is a file"),
        (tmp_path / "a file" / "out.npz", "a file is a file: name another folder"),
        (tmp_path / "a file" / "parts", "a file is a file: name another folder"),
    ):
        with pytest.raises(VitrailError, match=words):
            write_embeddings(checkpoint, folder, out)
    with pytest.raises(VitrailError, match="none of the images could be read"):
        write_embeddings(checkpoint, folder / "3.png", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
    with pytest.raises(VitrailError, match="none of the images"):
        embed(checkpoint, folder / "3.png")
    with pytest.raises(VitrailError, match="none of the 1 images"):
        write_embeddings(checkpoint, folder / "3.png", tmp_path / "parts")
    with pytest.raises(VitrailError, match="0 images per part"):
        write_embeddings(checkpoint, folder, tmp_path / "parts", images_per_part=0)
    with pytest.raises(VitrailError, match="limit 0"):
        embed(checkpoint, folder, limit=0)
    video = create_model("timesformer_base_patch16_224", depth=1, embed_dim=32, num_heads=2)
    with pytest.raises(VitrailError, match=r"3\.png: not an image"):  # the images of the folder are frames of one clip
        embed(Checkpoint(video, (), Preprocess()), folder)


def test_limit_and_precision(folder):
    checkpoint = tiny_checkpoint()
    assert embed(checkpoint, folder, limit=2).paths == embed(checkpoint, folder).paths[:2]
    half, full = (embed(checkpoint, folder, limit=2, precision=word, device="cpu") for word in ("bfloat16", "float32"))
    assert half.vectors.dtype == torch.float32
    gap = (half.vectors - full.vectors).abs().max()
    assert 0 < gap < 0.1
