"""Metrics against scikit-learn, SciPy and plain loops; and a model whose object is known."""

from itertools import pairwise

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.faithfulness.evaluate import ImageBatch, evaluate_methods, shuffle_weights
from vitrail.lens.faithfulness.metrics import (
    average_precision,
    enlarged,
    overlap,
    pointing,
    rank_correlation,
    touching,
)
from vitrail.lens.faithfulness.perturbation import STEPS, blurred, deletion, insertion


def some_maps(batch: int = 3) -> Tensor:
    return torch.randn(batch, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def some_masks(batch: int = 3) -> Tensor:
    masks = torch.zeros(batch, 16, 24, dtype=torch.bool)
    masks[:, 4:11, 3:13] = True
    return masks


def test_average_precision_against_scikit_learn() -> None:
    maps, masks = (some_maps() * 2).round(), some_masks()  # rounded: many pixels are equal
    for found, fine, mask in zip(average_precision(maps, masks), enlarged(maps, (16, 24)), masks, strict=True):
        expected = average_precision_score(mask.flatten().numpy(), fine.flatten().numpy())
        assert found.item() == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_against_scipy() -> None:
    one, other = some_maps(), (some_maps() + some_maps(4)[1:]).round()
    for found, a, b in zip(rank_correlation(one, other), one, other, strict=True):
        assert found.item() == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-12)
    assert rank_correlation(one, torch.zeros_like(one)).tolist() == [0, 0, 0]


def test_pointing_takes_the_centre_of_the_highest_patch() -> None:
    maps = torch.zeros(2, 4, 6)
    maps[0, 1, 2] = 1  # rows 4 to 7, columns 8 to 11: on the object
    maps[1, 3, 5] = 1
    assert pointing(maps, some_masks(2)).tolist() == [1, 0]


def test_touching_takes_the_whole_patch() -> None:
    maps = torch.zeros(3, 4, 6)
    maps[0, 1, 3] = 1  # columns 12 to 15, of which the object has the first
    maps[1, 1, 4] = 1
    maps[2, 0, 1] = 1  # rows 0 to 3: the object begins in row 4
    masks = some_masks()
    assert pointing(maps, masks).tolist() == [0, 0, 0]
    assert touching(maps, masks).tolist() == [1, 0, 0]


def test_equal_patches_share_the_point() -> None:
    flat = torch.zeros(1, 4, 6)  # nothing is said: as often on the object as chance
    masks = some_masks(1)
    assert touching(flat, masks).item() == pytest.approx(8 / 24)
    assert pointing(flat, masks).item() == pytest.approx(4 / 24)


def test_overlap_by_a_loop_over_pixels() -> None:
    maps, masks = some_maps(), some_masks()
    fine = enlarged(maps.clamp(min=0), (16, 24))
    for found, values, mask in zip(overlap(maps, masks), fine, masks, strict=True):
        pairs = [
            (bool(value > values.mean()), bool(on)) for value, on in zip(values.flatten(), mask.flatten(), strict=True)
        ]
        expected = sum(m and t for m, t in pairs) / sum(m or t for m, t in pairs)
        assert found.item() == pytest.approx(expected)


class Corner(nn.Module):
    """Looks at the mean of the upper left quarter: class 1 where it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([-4.0, 4.0]))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels[:, 0, :8, :8].mean(dim=(1, 2))[:, None] * self.scale


def pictures() -> ImageBatch:
    pixels = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.9
    pixels[:, :, :8, :8] += 0.9
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, :8, :8] = True
    return ImageBatch(pixels, torch.ones(4, dtype=torch.long), masks)


def truth(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    maps = torch.zeros(len(pixels), 4, 4)
    maps[:, :2, :2] = 1
    return maps


def test_deletion_by_a_loop() -> None:
    given, model = pictures(), Corner()
    maps = torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(1))
    found, coarse = deletion(model, given.pixels, given.classes, maps), blurred(given.pixels)
    for index in range(4):
        order = maps[index].flatten().argsort(descending=True).tolist()
        curve = []
        for step in range(STEPS + 1):
            picture = given.pixels[index].clone()
            for place in order[: round(step * 16 / STEPS)]:
                row, column = divmod(place, 4)
                cell = (slice(None), slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
                picture[cell] = coarse[index][cell]
            curve.append(model(picture[None]).softmax(1)[0, 1].item())
        area = sum((a + b) / 2 for a, b in pairwise(curve)) / STEPS
        assert found[index].item() == pytest.approx(area, abs=1e-6)


def test_the_truth_beats_the_baselines() -> None:
    def refuses(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
        raise VitrailError("not for this model")

    model = Corner()
    scores = {s.method: s for s in evaluate_methods(model, [pictures()], {"truth": truth, "refuses": refuses})}
    assert list(scores) == ["truth", "refuses", "random", "centre", "object"]
    assert scores["refuses"].reason == "not for this model"
    best = scores["truth"].values
    assert best["pointing"] == best["precision"] == 1.0
    chance = scores["random"].values
    assert best["deletion"] < chance["deletion"]
    assert best["insertion"] > chance["insertion"]
    for name in ("random", "centre"):
        assert scores[name].kind == "baseline"
        assert best["overlap"] > scores[name].values["overlap"]
    assert best["sanity"] == pytest.approx(1)  # it never looked at the model
    with pytest.raises(VitrailError, match="no image"):
        evaluate_methods(model, [], {})


def test_pictures_without_an_object_count_where_none_is_needed() -> None:
    given, model = pictures(), Corner()
    assert given.masks is not None
    half = ImageBatch(given.pixels, given.classes, given.masks.clone())
    half.masks[2:] = False
    nowhere = ImageBatch(given.pixels, given.classes, torch.zeros_like(given.masks))
    whole, some, none = (evaluate_methods(model, [batch], {"truth": truth}) for batch in (given, half, nowhere))
    assert [score.values["precision"] for score in some] == pytest.approx(
        [score.values["precision"] for score in evaluate_methods(model, [_first(given, 2)], {"truth": truth})]
    )
    assert some[0].values["insertion"] == whole[0].values["insertion"]
    assert [score.method for score in none] == ["truth", "random", "centre"]
    assert "pointing" not in none[0].values


def _first(batch: ImageBatch, count: int) -> ImageBatch:
    assert batch.masks is not None
    return ImageBatch(batch.pixels[:count], batch.classes[:count], batch.masks[:count])


def test_the_object_itself_is_the_reference() -> None:
    given, model = pictures(), Corner()
    reference = evaluate_methods(model, [given], {"truth": truth})[-1]
    assert (reference.method, reference.kind, reference.grid) == ("object", "reference", (4, 4))
    assert reference.values["pointing"] == reference.values["touching"] == reference.values["precision"] == 1.0


def test_insertion_of_all_is_more_than_deletion_of_all() -> None:
    given, model = pictures(), Corner()
    everything = torch.arange(16.0).view(1, 4, 4).expand(4, -1, -1)
    high = insertion(model, given.pixels, given.classes, everything.flip(1, 2))
    low = deletion(model, given.pixels, given.classes, everything.flip(1, 2))
    assert (high > low).all()


def test_shuffled_weights_are_the_same_numbers() -> None:
    model = nn.Linear(5, 7)
    other = shuffle_weights(model, seed=0)
    assert not torch.equal(other.weight, model.weight)
    assert torch.equal(other.weight.flatten().sort().values, model.weight.flatten().sort().values)
