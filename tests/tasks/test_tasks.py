"""Classification and embedding as tasks; specs; tasks of other packages."""

import sys
from dataclasses import replace

import pytest
import torch

from tests.plugin_package import install
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.errors import VitrailError
from vitrail.models.registry import list_models, model_config
from vitrail.task_spec import CLASSIFICATION, EMBEDDING, MULTI_LABEL, REGRESSION, TaskSpec
from vitrail.tasks.classification import Classification
from vitrail.tasks.detection import Detection
from vitrail.tasks.embedding import Embedding
from vitrail.tasks.registry import ARCHITECTURES_ONLY, TASKS, resolve, task_names

NAMES = ("cat", "dog", "fox")
ONE, MANY = Classification(), Classification(labels="many")


def sample(*labels):
    return Sample("a.png", labels, None, FileAt("none"))


def test_decoding_ranks_the_probabilities():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 0.0]])
    for task, probabilities in ((ONE, logits.softmax(1)), (MANY, 1 / (1 + torch.exp(-logits)))):
        first, second = task.decode(logits, NAMES)
        assert [name for name, _ in first.classes] == ["dog", "fox", "cat"]
        assert [name for name, _ in second.classes] == ["cat", "fox", "dog"]
        assert [value for _, value in first.classes] == pytest.approx(probabilities[0, [1, 2, 0]].tolist())
        assert len(task.decode(logits, NAMES, 2)[0].classes) == 2
        assert len(task.decode(logits, NAMES, 9)[0].classes) == 3


def test_targets_are_one_for_the_classes():
    assert ONE.targets([sample(2), sample(0)], NAMES).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert MANY.targets([sample(0, 2), sample()], NAMES).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert MANY.label_words(torch.tensor([1.0, 0, 1]), NAMES) == "cat, fox"
    assert MANY.label_words(torch.zeros(3), NAMES) == "none"


def test_the_most_confident_mistakes_come_first():
    logits = torch.tensor([[9.0, 0, 0], [0, 5.0, 0], [0, 0, 7.0], [0, 1.0, 0]])
    target = ONE.targets([sample(0), sample(0), sample(1), sample(2)], NAMES)
    worst = ONE.mistakes(logits, target, NAMES, 2)
    assert [(each.index, each.predicted, each.truth) for each in worst] == [(2, "fox", "dog"), (1, "dog", "cat")]
    assert worst[0].size == f"{torch.tensor([0, 0, 7.0]).softmax(0)[2]:.0%}"
    assert MANY.mistakes(logits, target, NAMES, 2) == []


def test_classes_are_matched_by_name():
    source = Source("pets", ("dog", "cat"), (sample(0), sample(1)), CLASSIFICATION)
    matched = ONE.match(source, NAMES)
    assert [each.labels for each in matched.samples] == [(1,), (0,)]
    assert matched.class_names == NAMES
    assert MANY.match(source, NAMES).task == MULTI_LABEL  # one label is a case of many
    several = replace(source, task=MULTI_LABEL)
    with pytest.raises(VitrailError, match="several labels for each image, and this checkpoint is single-label"):
        ONE.match(several, NAMES)
    with pytest.raises(VitrailError, match="has no class names"):
        ONE.match(source, ())
    with pytest.raises(VitrailError, match=r"lacks 1 classes of pets: owl; it has cat, dog, fox"):
        ONE.match(replace(source, class_names=("owl", "cat")), NAMES)
    with pytest.raises(VitrailError, match=r"labelled for regression, and this checkpoint is for classification"):
        ONE.match(replace(source, task=REGRESSION), NAMES)


def test_a_prediction_as_a_row():
    (prediction,) = ONE.decode(torch.tensor([[0.0, 2.0, 1.0]]), NAMES, 2)
    columns = {"class": str, "probability": float, "class_2": str, "probability_2": float}
    assert ONE.columns(NAMES, 2) == columns
    assert list(ONE.columns(NAMES, 5)) == [*columns, "class_3", "probability_3"], "there is no fourth class"
    assert ONE.cells(prediction, NAMES, 5)[4:] == [None, None]
    assert ONE.cells(ONE.failed("a.png", "broken"), NAMES, 1) == [None, None]
    assert ONE.describe(NAMES) == "one of 3 classes: cat, dog, fox"
    assert MANY.describe([str(index) for index in range(60)]).endswith("49 …")


def test_an_embedding_has_vectors_and_sentences():
    task = Embedding()
    first, second = task.decode(torch.tensor([[1.0, 0.5], [2.0, 3.0]]), ())
    assert second.vector.tolist() == [2, 3]
    assert task.columns((), 5) == {"vector": str}
    assert task.cells(first, (), 5) == ["1 0.5"]
    assert task.cells(task.failed("a.png", "broken"), (), 5) == [None]
    assert task.to_dict(first) == {"vector": [1, 0.5]}
    assert task.answers(torch.tensor([[1.0, 0.5], [2.0, 3.0]]), ()) == [["1 0.5"], ["2 3"]]
    angles = torch.tensor([0.0, 0.1, 1.0, 1.2, 2.0, 2.1, 3.0, 3.2, 4.0, 4.1])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.arange(1, 11)[:, None]
    assert task.answers(vectors, ()) == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]
    source = Source("pets", ("cat",), (sample(0),), CLASSIFICATION)
    for fails in (
        lambda: task.match(source, NAMES),
        lambda: task.targets([sample(0)], NAMES),
        lambda: task.metrics(NAMES),
    ):
        with pytest.raises(VitrailError, match=r"vitrail train SOURCE"):
            fails()


@pytest.mark.parametrize("spec", [CLASSIFICATION, MULTI_LABEL, REGRESSION, EMBEDDING])
def test_a_spec_is_the_task_and_back(spec):
    assert resolve(spec).spec == spec
    assert TaskSpec.from_dict(spec.to_dict()) == spec
    assert TaskSpec.parse(str(spec)) == spec


def test_specs_are_equal_by_value_whatever_the_order():
    assert TaskSpec.of("x", b=[1, 2], a=3) == TaskSpec.of("x", a=3, b=(1, 2))
    assert TaskSpec.parse("classification:labels=many") == MULTI_LABEL
    assert resolve(TaskSpec.parse("detection:threshold=0.5")) == Detection(threshold=0.5), "numbers are numbers"
    with pytest.raises(VitrailError, match=r"option 'labels' of task 'classification:labels' has no value"):
        TaskSpec.parse("classification:labels")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clasification", "there is no task 'clasification': did you mean classification"),
        ("classification:lables=many", "task classification has no option 'lables': did you mean labels"),
        ("classification:labels=few", "labels is 'few', which does not fit: it takes one or many"),
        ("reconstruction", r"models for reconstruction can be built.*vitrail embed"),
    ],
)
def test_what_cannot_be_resolved_is_a_sentence(text, words):
    with pytest.raises(VitrailError, match=words):
        resolve(TaskSpec.parse(text))


def test_every_models_task_is_known():
    names = {model_config(name).task.name for name in list_models()}
    assert names <= {*TASKS, *ARCHITECTURES_ONLY}


PACKAGE = """
from dataclasses import dataclass
from vitrail.tasks.detection import Detection
from vitrail.tasks.embedding import Embedding

@dataclass(frozen=True, kw_only=True, slots=True)
class Hashing(Embedding):
    bits: int = 8
"""


def test_a_task_of_another_package(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, "my_task", PACKAGE, "[vitrail.tasks]\nhashing = my_task:Hashing\n")
    assert task_names() == [*TASKS, "hashing"]
    assert "my_task" not in sys.modules  # a list imports nothing
    assert resolve(TaskSpec.of("hashing", bits=16)).bits == 16
    with pytest.raises(VitrailError, match="task hashing has no option 'bit': did you mean bits"):
        resolve(TaskSpec.of("hashing", bit=16))
    with pytest.raises(VitrailError, match="there is no task 'hasing': did you mean hashing"):
        resolve(TaskSpec("hasing"))
