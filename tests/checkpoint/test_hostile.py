"""Hostile and damaged checkpoints: each ends in a sentence, or gives exactly what its description has."""

import copy
import json
import pickle
import random
import struct
import subprocess
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import vitrail
from vitrail.checkpoint import unpickle
from vitrail.checkpoint.atomic import MANIFEST, DamagedCheckpoint, verify_folder
from vitrail.checkpoint.build import blueprint, check_class_names, check_tensors
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.checkpoint.document import Stored, config_to_dict, from_json, to_json
from vitrail.checkpoint.native import tensors_digest
from vitrail.checkpoint.transfer import _isolated
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config

FAMILIES = (
    "vit_tiny_patch16_224", "compact_small_32", "swin_tiny_patch4_window7_224", "beit_base_patch16_224",
    "deit_tiny_distilled_patch16_224", "levit_128s", "mae_vit_base_patch16", "detr_resnet50",
    "videomae_small_patch16_224", "clip_vit_base_patch32",
)  # fmt: skip
HOSTILE = (
    None, True, -1, 0, 1, 2, 7, 10**9, 10**30, 2**63, -(10**400), 1.5, 1e-320, 1e308, -0.0, float("nan"), float("inf"),
    "", "x", "3", "../../x", "\ud800", "\x1b[2J", "a" * 10_000, [], [[]], [1], [1, 2, 3], [None], ["x"], [10**9] * 4,
    {}, {"name": "x"}, {"a": {"b": [1]}}, [[[[[[]]]]]], {"": 1}, [{"name": "fold_batch_norm", "x": 1}],
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as keys from the outside in."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, found in inner:
        yield from places(found, (*at, key))


def changed(document: Any, rng: random.Random) -> Any:
    """A copy with one to three values replaced, removed or added."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.choice(list(places(document)))
        holder = document
        for key in at[:-1]:
            holder = holder[key]
        kind = rng.randrange(4)
        if kind == 0 and isinstance(holder, dict):
            del holder[at[-1]]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(("x", "depth", "name", at[-1] + "s"))] = rng.choice(HOSTILE)
        else:
            holder[at[-1]] = rng.choice(HOSTILE)
        if not list(places(document)):
            break
    return document


def small() -> Checkpoint:
    sizes = {"image_size": 32, "num_classes": 3, "embed_dim": 32, "depth": 1, "num_heads": 2}
    model = vitrail.create_model("vit_tiny_patch16_224", **sizes).eval()
    return Checkpoint(model, ("a", "b", "c"), Preprocess(image_size=(32, 32), crop=1.0), {"license": "mit"})


def described() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Description and tensors of a small checkpoint."""
    checkpoint = small()
    state = checkpoint.model.state_dict()
    return json.loads(to_json(Stored(checkpoint.config, state, ("a", "b", "c"), checkpoint.preprocess))), state


def is_same(written: Any, found: Any) -> bool:
    """Whether values were read as they were written; fields may have been added."""
    if isinstance(written, dict) and isinstance(found, dict):
        return all(key in found and is_same(value, found[key]) for key, value in written.items())
    if isinstance(written, list) and isinstance(found, list):
        return len(written) == len(found) and all(map(is_same, written, found))
    return bool(written == found)


def read(document: Any, state: dict[str, torch.Tensor]) -> Stored | None:
    """What is read, or None if it is refused in a sentence."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            stored = from_json(json.dumps(document), state, "x")
        check_class_names(stored.class_names, stored.config)
        check_tensors(stored)
    except VitrailError as error:
        return None if 10 < len(str(error)) < 2000 else pytest.fail(str(error))
    own = ("config", "preprocess", "class_names", "rewrites")
    again = {**json.loads(to_json(Stored(stored.config, {}, stored.class_names, stored.preprocess)))}
    again["rewrites"] = [] if not stored.rewrites else document["rewrites"]
    assert is_same({key: document[key] for key in own if key in document}, again)
    missing = config_to_dict(stored.config).keys() - document["config"].keys() - {"task"}
    assert bool(said) == any(not key.startswith("block_") for key in missing)
    return stored


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FAMILIES)
def test_no_description_is_misread_or_ends_in_a_fault(name: str) -> None:
    config = model_config(name)
    state = blueprint(config).state_dict()
    document = json.loads(to_json(Stored(config, state, (), Preprocess(channels=config.in_channels))))
    assert read(document, state) is not None
    rng = random.Random(name)
    for _ in range(45):
        read(changed(document, rng), state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": {"depth": 10**9}}, "depth=1000000000: numbers must be finite and at most 1,000"),
        ({"config": {"image_size": 10**400}}, "a number of more than 60 digits, which does not fit"),
        ({"config": {"image_size": [32_000, 32_000]}}, "4,000,000 patches: use at most"),
        ({"config": {"norm_eps": float("nan")}}, "norm_eps is nan, which does not fit"),
        ({"config": {"norm_eps": -1.0}}, "a small number such as 1e-6"),
        ({"config": {"depth": True}}, "depth is True, which does not fit: it takes int"),
        ({"config": {"pool": "clas"}}, "did you mean class"),
        ({"config": {"task": {"name": ["x"]}}}, "it needs a name and options"),
        ({"preprocess": {"mean": [0.5]}}, "for 3 channels: give one for each"),
        ({"preprocess": {"std": [0.5, 0.5, 0.0]}}, "std from 1e-12"),
        ({"preprocess": {"image_size": [10**6, 32]}}, "from 1 to 32,768 pixels"),
        ({"preprocess": {"crop": 1e-9}}, "from 1 to 32,768 pixels"),
        ({"preprocess": {"channels": 1, "mean": [0.5], "std": [0.5]}}, "1 channels and the model 3"),
        ({"class_names": ["a", "b", 3]}, r"class_names\[2\] is 3, which does not fit: it takes str"),
        ({"class_names": ["a", "b", "\ud800"]}, "which does not fit"),
        ({"class_names": "abc"}, "which does not fit"),
        ({"rewrites": [{"name": ["x"]}]}, "there is no rewrite"),
        ({"rewrites": 3}, "which does not fit"),
        ({"version": 2.0}, "versions up to 2"),
        ({"adapted": "x"}, "which does not fit"),
    ],
)
def test_hostile_values_are_sentences(change: dict[str, Any], words: str) -> None:
    document, state = described()
    for key, value in change.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    with pytest.raises(VitrailError, match=words):
        from_json(json.dumps(document), state, "x")


def without(document: dict[str, Any], place: str, key: str) -> dict[str, Any]:
    return {**document, place: {name: value for name, value in document[place].items() if name != key}}


def test_a_missing_value_is_refused_or_said() -> None:
    document, state = described()
    for place, key in (("preprocess", "mean"), ("config", "type")):
        with pytest.raises(VitrailError, match=r"no mean|no config class ''"):
            from_json(json.dumps(without(document, place, key)), state, "x")
    del document["config"]["pool"], document["config"]["block_heads"]
    with pytest.warns(UserWarning, match="assumed, as model.json of an earlier version has none: pool='class'"):
        assert from_json(json.dumps(document), state, "x").info["adapted"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than 32 deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 32 deep"),
        ('{"format": "vitrail.checkpoint", "version": 2, "version": 1}', "has the key 'version' twice"),
        ("[]", "not a JSON object"),
        ("{", "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        ('{"format": ' + "1" * 5000 + "}", "not valid JSON"),
    ],
)
def test_hostile_json_is_a_sentence(text: str | bytes, words: str) -> None:
    with pytest.raises(VitrailError, match=words):
        from_json(text, {}, "x")


def rewritten(folder: Path, document: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(document))


def test_a_manifest_is_strict(tmp_path: Path) -> None:
    save(small(), tmp_path / "x")
    manifest = json.loads((tmp_path / "x" / MANIFEST).read_text())
    entry = manifest["files"]["model.json"]
    for change, words in (
        ({"files": {}}, "lists no files"),
        ({"files": {"../secret": entry}}, "not a file of this folder"),
        ({"files": {"a\\b": entry}}, "not a file of this folder"),
        ({"files": {"model.json": {"size": "3", "sha256": ""}}}, "which does not fit: it takes int"),
        ({"files": {"model.json": 3}}, "which does not fit"),
        ({"files": [["model.json", entry]]}, "which does not fit"),
        ({"format": "other"}, "other 1 and not vitrail.manifest 1"),
        ({"more": 1}, "no field more"),
    ):
        rewritten(tmp_path / "x", {**manifest, **change})
        with pytest.raises(DamagedCheckpoint, match=words):
            verify_folder(tmp_path / "x")
    rewritten(tmp_path / "x", {**manifest, "files": {"model.json": entry}})
    with pytest.raises(VitrailError, match=r"it has no model\.safetensors"):
        load(tmp_path / "x")  # the tensors are not under the manifest


def test_every_flip_in_the_header_of_a_file_is_found(tmp_path: Path) -> None:
    path, rng = tmp_path / "x.safetensors", random.Random(0)
    save(small(), path)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(60):
        at = rng.randrange(header)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(VitrailError):
            load(path)


def test_files_of_earlier_versions_have_a_digest_of_the_tensors(tmp_path: Path) -> None:
    document, state = described()
    save_file(state, tmp_path / "x.safetensors", {"vitrail": json.dumps(document), "sha256": tensors_digest(state)})
    assert load(tmp_path / "x.safetensors").class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    "card",
    [
        "[1]",
        "[" * 100_000,
        '{"architecture": 3}',
        '{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": 3}',
        '{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"input_size": 7}}',
        '{"architecture": "vit_tiny_patch16_224", "model_args": [1]}',
        '{"model_type": ["vit"]}',
        '{"model_type": "vit", "hidden_act": "gelu", "id2label": {"x": 1}}',
        '{"model_type": "vit", "hidden_act": "gelu", "image_size": "x"}',
        '{"model_type": "swin", "depths": 3}',
    ],
)
def test_hostile_cards_are_sentences(tmp_path: Path, card: str) -> None:
    (tmp_path / "config.json").write_text(card)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(VitrailError):
        load(tmp_path)


def test_a_pickle_is_read_without_the_modules_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argparse", "torch", "safetensors", "pickle", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('was_run', 'w')\nraise SystemExit")
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(_isolated(Path("x.pth"), tmp_path / "x.safetensors"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_file(tmp_path / "x.safetensors").keys() == model.state_dict().keys()
    assert not (tmp_path / "was_run").exists()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("x",)


def test_no_advice_to_load_a_pickle_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    (tmp_path / "y.pth").write_bytes(zlib.compress(b"x"))
    torch.save({"model": Payload()}, tmp_path / "z.pth")
    for name, words in (("x", "it holds a"), ("y", "damaged"), ("z", "it holds a")):
        assert unpickle.main(str(tmp_path / f"{name}.pth"), str(tmp_path / "out")) == unpickle.REFUSED
        said = capsys.readouterr().err
        assert words in said
        assert "weights_only" not in said
        assert said.count("\n") == 1
