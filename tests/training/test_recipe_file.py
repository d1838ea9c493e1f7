import pytest

from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.objectives.mae import MAEObjectiveConfig
from vitrail.objectives.regression import RegressionConfig
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.plain import parse_yaml, to_yaml
from vitrail.task_spec import TaskSpec
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import pretraining_recipe, read_recipe, recipe_from_dict, recipe_to_yaml, set_fields
from vitrail.training.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_round_trip(name, tmp_path):
    recipe = set_fields(RECIPES[name], ["image_size=[64, 96]", "augment.flip=0.2", "overrides.depth=3"])
    (tmp_path / "recipe.yaml").write_text(recipe_to_yaml(recipe), encoding="utf-8")
    assert read_recipe(str(tmp_path / "recipe.yaml")) == recipe
    assert read_recipe(str(tmp_path)) == recipe


def test_set_takes_dotted_names_and_scientific_numbers():
    recipe = set_fields(Recipe(), ["recipe.lr=1e-3", "augment.flip=0", "freeze=[embed.*]", "steps=null"])
    assert recipe == Recipe(lr=1e-3, augment=Augment(flip=0.0), freeze=("embed.*",))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lerning_rate=3", "the recipe has no field lerning_rate"),
        ("augment.fliip=3", "did you mean flip"),
        ("objective.mixupp=3", "objective supervised has no field mixupp: did you mean mixup"),
        ("objective.name=supervise", "no objective 'supervise': did you mean supervised"),
        ("objective.delta=2", "objective supervised has no field delta"),
        ("warmup=5 days", "write a fraction of the steps such as 0.1, 5 epochs, or 1000 steps"),
        ("augment.randaugment=rand-m9-q3", "'q3' is not readable"),
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


def test_options_of_an_objective_are_those_of_the_inferred_task():
    asked = []

    def infer() -> TaskSpec:
        asked.append(1)
        return TaskSpec("regression")

    recipe = set_fields(Recipe(), ["lr=1e-3", "objective.loss=quantile", "objective.quantile=0.9"], infer)
    assert recipe.objective == RegressionConfig(loss="quantile", quantile=0.9)
    assert len(asked) == 1
    recipe = set_fields(Recipe(task="classification"), ["objective.mixup=0.2"], infer)
    assert recipe.objective == SupervisedConfig(mixup=0.2)
    assert set_fields(Recipe(), ["objective.name=mae"], infer).objective == MAEObjectiveConfig()
    assert len(asked) == 1
    with pytest.raises(VitrailError, match=r"objective detection has no field loss: valid are groups"):
        set_fields(Recipe(), ["objective.loss=bce"], lambda: TaskSpec("detection"))


def test_wrong_files_are_sentences(tmp_path):
    with pytest.raises(VitrailError, match="no recipe 'fintune': did you mean finetune"):
        read_recipe("fintune")
    file = tmp_path / "bad.yaml"
    for text, words in [
        ("- 1", "has no recipe"),
        ("a: [", "not readable"),
        ("epoch: 3", "did you mean epochs"),
    ]:
        file.write_text(text)
        with pytest.raises(VitrailError, match=words):
            read_recipe(str(file))


def test_an_objective_is_a_name_with_its_options():
    recipe = set_fields(Recipe(), ["objective.name=regression", "objective.loss=huber", "objective.delta=2"])
    assert recipe.objective == RegressionConfig(loss="huber", delta=2.0)
    assert "name: regression" in recipe_to_yaml(recipe)
    of_task = set_fields(Recipe(task="regression"), ["objective.loss=quantile", "objective.quantile=0.9"])
    assert of_task.objective == RegressionConfig(loss="quantile", quantile=0.9)
    assert recipe_from_dict({"objective": {"name": "mae", "mask_ratio": 0.5}}).objective == MAEObjectiveConfig(
        mask_ratio=0.5
    )


def test_recipes_of_earlier_versions_are_read():
    former = {
        "label_smoothing": 0.2,
        "balance": 0.5,
        "augment": {"flip": 0.0, "mixup": 0.8, "cutmix": 1.0, "mix_rate": 0.9},
        "tensorboard": True,
    }
    expected = Recipe(
        objective=SupervisedConfig(label_smoothing=0.2, balance=0.5, mixup=0.8, cutmix=1.0, mix_rate=0.9),
        augment=Augment(flip=0.0),
        loggers=("tensorboard",),
    )
    assert recipe_from_dict(former) == expected
    assert former["augment"]["mixup"] == 0.8, "what the caller gave is not changed"
    assert set_fields(Recipe(), ["augment.mixup=0.8", "label_smoothing=0"]).objective == SupervisedConfig(
        mixup=0.8, label_smoothing=0.0
    )


def test_a_recipe_for_pretraining():
    assert pretraining_recipe("mae") == RECIPES["mae"]
    assert pretraining_recipe("mae", Recipe(lr=1.0)) == Recipe(lr=1.0, objective=MAEObjectiveConfig())
    with pytest.raises(VitrailError, match="learns from labels"):
        pretraining_recipe("supervised")
    with pytest.raises(VitrailError, match="is for objective regression"):
        pretraining_recipe("mae", Recipe(objective=RegressionConfig()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"), ("08", "08"), ("1:30", "1:30"), ("1:30.5", "1:30.5"), ("1e3", 1000.0), ("1.0e-05", 1e-5),
        ("-.5", -0.5), ("0", 0), ("-7", -7), ("1_000", 1000), ("0x10", 16), (".inf", float("inf")), ("1.", 1.0),
        ("1e", "1e"),
    ],
)  # fmt: skip
def test_numbers_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert (type(found), found) == (type(value), value)
    assert parse_yaml(to_yaml({"a": value}))["a"] == value


def test_numbers_of_yaml_1_1_are_refused() -> None:
    for setting in ("minutes=1:30", "epochs=010"):  # were 90 minutes and 8 epochs
        with pytest.raises(VitrailError, match="does not fit: it takes float"):
            set_fields(Recipe(), [setting])
