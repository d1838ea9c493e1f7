"""The universal task: labels, losses and metrics are those of its parts."""

from dataclasses import replace

import pytest
import torch

from vitrail.data.joint import BoxTargets
from vitrail.data.loader import Batch
from vitrail.data.open import open_source, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import create_model, model_config
from vitrail.objectives.augmentation import Augmentation
from vitrail.objectives.detection import BoxLoss
from vitrail.objectives.objective import Labels, Moment
from vitrail.objectives.registry import objective_config
from vitrail.objectives.universal import WeightedSum
from vitrail.task_spec import TaskSpec
from vitrail.tasks.classification import Classification
from vitrail.tasks.registry import resolve
from vitrail.tasks.universal import Universal
from vitrail.tasks.universal_labels import samples_of

SOURCE = "scenes:size=32,train=6,val=2,test=2,objects=1-2,classes=3"
PREPROCESS = Preprocess(image_size=(32, 32), crop=1.0, stretch=True)


def opened(spec="universal"):
    source = open_source(SOURCE, task=TaskSpec.parse(spec))
    return source, resolve(source.task).fitted(source.samples, source.class_names)


def model(source, task):
    config = model_config("compact_universal_small_128", image_size=32, stem=((8, 2), (8, 2)), embed_dim=16, depth=1)
    changes = {**task.model_fields(config, source.class_names), "task": task.spec, "dense_dim": 8}
    torch.manual_seed(0)
    return replace(config, **changes).build().eval()


def test_labels_are_those_of_each_task():
    source, task = opened()
    assert task.tasks == ("classification", "detection", "segmentation", "depth")
    assert source.label_kind == "several"
    for name in task.parts:
        alone = open_source(SOURCE, task=TaskSpec(name))
        assert [s.labels for s in samples_of(name, source.samples)] == [s.labels for s in alone.samples]
        assert task.names_of(name, source.class_names) == alone.class_names
    fields = task.model_fields(model_config("compact_universal_small_128"), source.class_names)
    assert fields == {"tasks": task.tasks, "num_classes": 3, "object_classes": 3, "pixel_classes": 4}


def test_the_loss_is_the_weighted_sum_of_those_of_the_tasks():
    source, task = opened()
    net = model(source, task)
    config = objective_config("universal")(classification=2.0, detection=0.5, segmentation=1.0, depth=3.0)
    labels = Labels(task, source.class_names, source.samples, PREPROCESS)
    objective = config.build(net, labels)
    views = config.views(Augmentation(None, PREPROCESS, net.config))
    read = task.target_reader(source.samples, source.class_names)
    images = [read_image(sample) for sample in source.samples[:3]]
    batch, targets = [], []
    for index, image in enumerate(images):
        pixels, target = views(image, read(index))
        batch.append(PREPROCESS.normalise(pixels))
        targets.append(target)
    joined = {name: [target[name] for target in targets] for name in task.tasks}
    stacked = {
        name: type(values[0]).batch(values) if name == "detection" else torch.stack(values)
        for name, values in joined.items()
    }
    pixels = torch.stack(batch)
    loss = objective(Batch(pixels, stacked), Moment(0))
    output = net(pixels)
    alone = {}
    for name, part in task.parts.items():
        own = Labels(part, task.names_of(name, source.class_names), samples_of(name, source.samples), PREPROCESS)
        goal = objective_config(part.objective)().build(net, own)
        alone[name] = goal.loss_of(getattr(output, name), stacked[name]).total
    expected = 2 * alone["classification"] + 0.5 * alone["detection"] + alone["segmentation"] + 3 * alone["depth"]
    torch.testing.assert_close(loss.total, expected)
    assert {name: part.item() for name, part in loss.parts.items()} == pytest.approx(
        {name: value.item() for name, value in alone.items()}
    )
    assert len(list(objective.parameters())) == len(list(net.parameters()))


def test_a_detr_among_the_tasks_has_the_loss_after_every_block():
    sizes = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    decoder = {"decoder_depth": 2, "num_queries": 4, "object_classes": 3}
    net = create_model("universal_vit_tiny_patch16_224", tasks=("detection", "depth"), **sizes, **decoder).eval()
    boxes = BoxTargets(torch.tensor([[[0.1, 0.2, 0.5, 0.6]]]), torch.tensor([[2]]), torch.tensor([[False]]))
    pixels = torch.randn(1, 3, 32, 32)
    together = WeightedSum(net, {"detection": BoxLoss(net)}, {"detection": 1.0})
    alone = BoxLoss(net.only("detection"))
    losses = together(Batch(pixels, {"detection": boxes}), Moment(0)), alone(Batch(pixels, boxes), Moment(0))
    torch.testing.assert_close(losses[0].total, losses[1].total)
    assert losses[0].total > alone.loss_of(net(pixels).detection, boxes).total


def test_metrics_are_those_of_each_task():
    source, task = opened()
    net, names = model(source, task), source.class_names
    with torch.inference_mode():
        output = net(torch.stack([PREPROCESS(read_image(sample)) for sample in source.samples]))
    metrics = task.metrics(names)
    metrics.update(output, task.targets(source.samples, names))
    found = metrics.compute()
    assert metrics.quality() == found.quality
    for name, part in task.parts.items():
        own = task.names_of(name, names)
        alone = part.metrics(own)
        alone.update(getattr(output, name), part.targets(samples_of(name, source.samples), own))
        assert found.parts[name] == alone.compute()
    assert found.quality == pytest.approx(sum(part.quality for part in found.parts.values()) / 4)
    assert found.headline()["depth_abs_rel"] == found.parts["depth"].abs_rel
    predictions = task.decode(output, names, 2)
    assert len(task.cells(predictions[0], names, 2)) == len(task.columns(names, 2))
    assert task.cells(task.failed("a", "gone"), names, 2) == [None] * len(task.columns(names, 2))


def test_classes_are_calibrated_like_those_of_a_classifier():
    source, task = opened()
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (90,), generator=generator)
    logits = 4 * torch.nn.functional.one_hot(truth, 3) + 4 * torch.randn(90, 3, generator=generator)
    targets = torch.nn.functional.one_hot(truth, 3).float()
    metrics = replace(task, threshold=0.3).metrics(source.class_names)
    metrics.parts["classification"].update(logits, targets)
    assert task.is_open
    fitted = replace(task, threshold=0.3).fitted_to(metrics)
    alone = Classification().calibrated(logits, targets)
    assert (fitted.parts["classification"], fitted.threshold) == (alone, 0.3)
    assert not fitted.is_open
    again = resolve(fitted.spec)
    assert again == fitted
    assert replace(again, temperature=(2.0,)).fitted_to(metrics) == replace(again, temperature=(2.0,))
    assert task.continued(fitted.spec) == task


def test_some_of_the_tasks():
    source = open_source(SOURCE, task=TaskSpec.of("universal", tasks=("detection", "depth")))
    task = resolve(source.task)
    assert task.tasks == ("detection", "depth")
    assert source.class_names == ()
    assert model(source, task.fitted(source.samples, ())).config.task.name == "universal"


def test_other_tasks_or_names_are_sentences():
    source, task = opened()
    with pytest.raises(VitrailError, match=r"than the checkpoint, .*; only one of them has the names "):
        task.match(
            open_source(SOURCE.replace("classes=3", "classes=5"), task=TaskSpec("universal")), source.class_names
        )
    with pytest.raises(VitrailError, match="labelled for detection, and this checkpoint is for universal"):
        task.match(open_source(SOURCE, task=TaskSpec("detection")), source.class_names)
    with pytest.raises(VitrailError, match="valid are classification"):
        Universal(tasks=("detection", "smell"))
    with pytest.raises(VitrailError, match="a weight is 0 or more"):
        objective_config("universal")(depth=-1.0)
    with pytest.raises(VitrailError, match="name two or more"):
        model_config("compact_universal_small_128", tasks=("depth",)).build()
