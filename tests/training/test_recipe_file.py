import pytest

from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.training.recipe import RECIPES, Recipe
from vitrail.training.recipe_file import read_recipe, recipe_to_yaml, set_fields


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_round_trip(name, tmp_path):
    recipe = set_fields(RECIPES[name], ["image_size=[64, 96]", "augment.mixup=0.2", "overrides.depth=3"])
    (tmp_path / "recipe.yaml").write_text(recipe_to_yaml(recipe), encoding="utf-8")
    assert read_recipe(str(tmp_path / "recipe.yaml")) == recipe
    assert read_recipe(str(tmp_path)) == recipe


def test_set_takes_dotted_names_and_scientific_numbers():
    recipe = set_fields(Recipe(), ["recipe.lr=1e-3", "augment.flip=0", "freeze=[embed.*]", "steps=null"])
    assert recipe == Recipe(lr=1e-3, augment=Augment(flip=0.0), freeze=("embed.*",))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lerning_rate=3", "no field of the recipe"),
        ("augment.mixupp=3", "did you mean mixup"),
        ("epochs=many", "takes float or null"),
        ("optimizer=sgd", "adamw or muon"),
        ("lr", "has no value"),
        ("augment.flip=2", "not between 0 and 1"),
        ("batch_size=0", "at least 1"),
        ("val=0.95", "less than a tenth"),
        ("batch_size=[", "not readable"),
    ],
)
def test_wrong_settings_are_sentences(setting, words):
    with pytest.raises(VitrailError, match=words):
        set_fields(Recipe(), [setting])


def test_wrong_files_are_sentences(tmp_path):
    with pytest.raises(VitrailError, match="no recipe 'fintune': did you mean finetune"):
        read_recipe("fintune")
    file = tmp_path / "bad.yaml"
    for text, words in [
        ("- 1", "holds no recipe"),
        ("a: [", "not readable"),
        ("epoch: 3", "did you mean epochs"),
    ]:
        file.write_text(text)
        with pytest.raises(VitrailError, match=words):
            read_recipe(str(file))
