"""Hostile and damaged recipes: each ends in a sentence, or gives exactly what the file has."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.plain import parse_yaml, to_yaml
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import read_recipe, recipe_to_dict, recipe_to_yaml, set_fields
from vitrail.training.recipes import RECIPES

HOSTILE = (
    None, True, -1, 0, 3, 10**9, 10**30, -(10**400), 1.5, 1e-320, 1e308, float("nan"), float("inf"), "", "x", "1e-3",
    "../x", "a" * 5_000, [], [1, 2], [[1]], ["x"], {}, {"name": "mae"}, {"name": ["x"]}, {"x": 1}, {1: 2}, [None] * 3,
)  # fmt: skip

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(path: Path, text: str | bytes) -> Recipe | None:
    """What is read from a file of this text, or None if it is refused in a sentence."""
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        return read_recipe(str(path))
    except VitrailError as error:
        return None if 10 < len(str(error)) < 1500 else pytest.fail(str(error)[:300])


def is_within(given: Any, found: Any) -> bool:
    """Whether plain values are among those found, with numbers as they are."""
    if isinstance(given, dict) and isinstance(found, dict):
        return all(key in found and is_within(value, found[key]) for key, value in given.items())
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(is_within, given, found))
    return str(given) == "nan" == str(found) or (given == found and isinstance(given, bool) == isinstance(found, bool))


@pytest.mark.exhaustive
def test_no_recipe_is_misread_or_ends_in_a_fault(tmp_path: Path) -> None:
    rng, base = random.Random(0), recipe_to_dict(RECIPES["imagenet-deit"])
    base["overrides"] = {"depth": 2, "pool": "mean"}
    taken = 0
    for _ in range(250):
        values = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
        for _ in range(rng.choice((1, 1, 2, 3))):
            holder = rng.choice([values, *(value for value in values.values() if isinstance(value, dict) and value)])
            holder[rng.choice([*holder, "x"] if rng.random() < 0.95 else [1])] = rng.choice(HOSTILE)
        recipe = read(tmp_path / "recipe.yaml", to_yaml(values))
        if recipe is None:
            continue
        taken += 1
        assert is_within(values, recipe_to_dict(recipe))
        with suppress(VitrailError):
            model_config("vit_tiny_patch16_224", **recipe.overrides)
    assert 5 < taken < 150


@pytest.mark.exhaustive
def test_damaged_text_is_a_sentence_or_a_recipe(tmp_path: Path) -> None:
    rng, whole = random.Random(1), recipe_to_yaml(RECIPES["imagenet-deit"]).encode()
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] ^= 1 << rng.randrange(8)
            else:
                data[at : at + rng.randrange(9)] = rng.choice((b"", b"\0", b"*a", b"&a ", b"{", b"- ", b"\xff", b"\n"))
        recipe = read(tmp_path / "recipe.yaml", bytes(data))
        if recipe is not None:
            assert read(tmp_path / "again.yaml", recipe_to_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, r"uses the YAML alias \*a: write the values out"),
        ("a: &a [*a]", r"alias \*a"),
        ("lr: 0.1\nlr: 0.2", "has the key 'lr' twice"),
        ("augment: {flip: 0.1, flip: 0.2}", "has the key 'flip' twice"),
        ("a: " + "[" * 5_000, "nested more than 32 deep"),
        ("x: " + "a" * 300_000, "more than 65,536 bytes"),
        ("!!python/object/apply:os.system ['echo x']", "not valid YAML"),
        ("lr: 0.1\n---\nlr: 0.2", "not valid YAML"),
        ("epochs: .nan", "recipe.epochs is nan, which does not fit"),
        ("steps: " + "9" * 5_000, "not valid YAML"),
        ("objective: {name: [x]}", "there is no objective"),
        ("loggers: {a: 1}", "which does not fit"),
        ("overrides: {1: 2}", "which does not fit"),
        ("1: 2", "recipe has no field 1"),
        ("betas: [0.9]", "which does not fit"),
        ("optimizer: true", "which does not fit: it takes adamw or muon"),
        ("patience: true", "which does not fit"),
        ("seed: 2020-01-01", "which does not fit"),
    ],
)
def test_hostile_recipes_are_sentences(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(VitrailError, match=words) as raised:
        read_recipe(str(tmp_path / "r.yaml"))
    assert len(str(raised.value)) < 500


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("lr: 1e-3\nweight_decay: 5E-2\nepochs: 2.e1")
    assert read_recipe(str(tmp_path / "r.yaml")) == Recipe(lr=1e-3, weight_decay=0.05, epochs=20.0)
    assert parse_yaml(to_yaml(["1e-3", 1e-3, "1"])) == ["1e-3", 1e-3, "1"]
    assert parse_yaml("[1e3, -.5e+1, e5, 1e, 0x1e2]") == [1000.0, -5.0, "e5", "1e", 0x1E2]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lr.x=1", "lr.x is {'x': 1}, which does not fit|lr.x"),
        ("seed.x=1", "seed.x is not a field: seed has no fields of its own"),
        ("epochs=nan", "epochs is 'nan', which does not fit"),
        ("overrides.depth.x=1", "overrides"),
    ],
)
def test_settings_of_what_has_no_fields(setting: str, words: str) -> None:
    with pytest.raises(VitrailError, match=words):
        set_fields(Recipe(overrides={"depth": 2}), [setting])
