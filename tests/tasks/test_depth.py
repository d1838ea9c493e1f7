"""Depth: metrics against a loop in float64, the loss against transformers' GLPN, and the task's words."""

import io
import math

import numpy as np
import pytest
import torch
from transformers.models.glpn.modeling_glpn import SiLogLoss

from vitrail.data.joint import MapTarget
from vitrail.data.samples import FileAt, Sample
from vitrail.errors import VitrailError
from vitrail.objectives.depth import DepthConfig, scale_invariant_error
from vitrail.task_spec import TaskSpec
from vitrail.tasks.depth import Depth
from vitrail.tasks.depth_metrics import DepthMetrics

TASK = Depth(middle=2.0, deepest=10.0)


class Drawn:
    def __init__(self, values):
        self.values = values

    def read(self):
        return self.values


def maps(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    output = torch.rand(count, 5, 7, generator=generator) * 3
    true = torch.rand(count, 9, 8, generator=generator) * 5 + 0.5
    true[torch.rand(count, 9, 8, generator=generator) < 0.2] = torch.nan
    return output, [MapTarget(one) for one in true]


def loop(output, targets, task, scaled=False):
    """AbsRel, RMSE, RMSE of the logarithm, δ1 to δ3, pixel by pixel in Python; the mean over the images."""
    rows = []
    for one, target in zip(output, targets, strict=True):
        wide = torch.nn.functional.interpolate(one[None, None].double(), (9, 8), mode="bilinear")[0, 0].tolist()
        pairs = [
            (inverse, true)
            for inverses, trues in zip(wide, target.values.tolist(), strict=True)
            for inverse, true in zip(inverses, trues, strict=True)
            if not math.isnan(true)
        ]
        if scaled:
            depths = [1 / max(inverse, 1e-6) for inverse, _ in pairs]
            factor = _middle([true for _, true in pairs]) / _middle(depths)
            pairs = [(factor * depth, true) for depth, (_, true) in zip(depths, pairs, strict=True)]
        else:
            pairs = [(1 / (inverse / task.middle + 1 / task.deepest), true) for inverse, true in pairs]
        count = len(pairs)
        worse = [max(d / t, t / d) for d, t in pairs]
        rows.append(
            [
                sum(abs(d - t) / t for d, t in pairs) / count,
                math.sqrt(sum((d - t) ** 2 for d, t in pairs) / count),
                math.sqrt(sum((math.log(d) - math.log(t)) ** 2 for d, t in pairs) / count),
                *(sum(ratio < 1.25**power for ratio in worse) / count for power in (1, 2, 3)),
            ]
        )
    return np.mean(rows, axis=0)


def _middle(values):
    """The lower median, as torch takes it."""
    return sorted(values)[(len(values) - 1) // 2]


@pytest.mark.parametrize("task", [TASK, Depth()])
def test_metrics_are_those_of_a_loop(task):
    output, targets = maps()
    metrics = task.metrics(())
    metrics.update(output[:1], targets[:1])
    metrics.update(output[1:], targets[1:])
    found = metrics.compute()
    values = [getattr(found, name) for name in ("abs_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")]
    assert values == pytest.approx(loop(output, targets, task, scaled=task.middle is None), abs=1e-6)
    assert found.median_scaled == (task.middle is None)
    assert ("medians made equal" in found.facts()[0][0]) == found.median_scaled
    assert (found.constant is None) == found.median_scaled
    assert ("the median depth of the training images everywhere" in dict(found.facts())) != found.median_scaled


def test_a_perfect_prediction():
    true = torch.rand(1, 4, 4) * 5 + 1
    output = 2.0 * (1 / true - 1 / 10)
    metrics = DepthMetrics(TASK.depths_at, 2.0)
    metrics.update(output, [MapTarget(true[0])])
    found = metrics.compute()
    assert found.abs_rel == pytest.approx(0, abs=1e-5)
    assert found.delta1 == 1
    with pytest.raises(VitrailError, match="no image has a pixel of known depth"):
        DepthMetrics(TASK.depths_at, 2.0).compute()


def test_an_image_without_known_depth_is_left_out():
    output, targets = maps()
    metrics = TASK.metrics(())
    metrics.update(output, [*targets[:3], MapTarget(torch.full((9, 8), torch.nan))])
    assert metrics.compute().count == 3
    assert TASK.errors(output[:1], [MapTarget(torch.full((9, 8), torch.nan))]).tolist() == [0.0]


def test_the_loss_is_that_of_glpn():
    generator = torch.Generator().manual_seed(1)
    predicted, true = (torch.rand(2, 6, 5, generator=generator, dtype=torch.float64) * 5 + 0.1 for _ in range(2))
    true[0, :2] = torch.nan
    known = true.isfinite()
    theirs = SiLogLoss(lambd=0.5)(predicted[known], true[known])
    assert scale_invariant_error(predicted, true).item() == pytest.approx(theirs.item(), abs=1e-9)


def test_the_loss_forgives_a_common_factor_if_asked():
    true = torch.rand(2, 6, 5, dtype=torch.float64) + 0.5
    assert scale_invariant_error(3 * true, true, 1.0).item() == pytest.approx(0, abs=1e-5)
    assert scale_invariant_error(3 * true, true, 0.0).item() == pytest.approx(math.log(3), abs=1e-9)
    unknown = torch.full((1, 2, 2), torch.nan)
    predicted = torch.ones(1, 2, 2, requires_grad=True)
    loss = scale_invariant_error(predicted, unknown)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.equal(predicted.grad, torch.zeros(1, 2, 2))


def test_the_unit_is_fitted_to_the_training_maps():
    samples = [
        Sample("", (Drawn(torch.tensor([[1.0, 3.0], [2.0, torch.nan]]) * k),), None, FileAt("")) for k in (1, 2, 3)
    ]
    task = Depth().fitted(samples, ())
    assert (task.middle, task.deepest) == (4.0, 9.0)
    assert task.spec == TaskSpec.of("depth", middle=4.0, deepest=9.0)
    assert Depth(middle=5.0, deepest=9.0).continued(task.spec) == task
    assert Depth(middle=50.0, deepest=90.0).continued(task.spec) is None
    with pytest.raises(VitrailError, match="no pixel of the training maps"):
        Depth().fitted([Sample("", (Drawn(torch.full((2, 2), torch.nan)),), None, FileAt(""))], ())
    with pytest.raises(VitrailError, match="give two positive numbers"):
        Depth(middle=-1.0, deepest=2.0)


def test_decoded_predictions():
    (found,) = TASK.decode(torch.tensor([[[0.0, 0.8]]]), ())
    assert found.depth.tolist() == [[10.0, 2.0]]
    assert (found.nearest, found.farthest) == (2.0, 10.0)
    files = TASK.drawn(torch.zeros(3, 4, 6, dtype=torch.uint8), found, ())
    depth = np.load(io.BytesIO(files["-depth.npy"]))
    assert depth.shape == (4, 6)
    assert depth[:, 0] == pytest.approx([10] * 4)
    assert depth[:, -1] == pytest.approx([2] * 4)


def test_the_share_of_a_common_factor_has_a_range():
    with pytest.raises(VitrailError, match="scale_invariance is 2"):
        DepthConfig(scale_invariance=2)
