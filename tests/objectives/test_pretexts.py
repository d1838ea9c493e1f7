"""DINO, jigsaw and rotation: losses against loops in float64, teacher and centre, views, puzzles."""

import math

import pytest
import torch
from torch import Tensor, nn

from vitrail.data.augment_options import Augment
from vitrail.data.loader import Batch
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.objectives.augmentation import Augmentation
from vitrail.objectives.dino import DINOObjectiveConfig
from vitrail.objectives.jigsaw import JigsawConfig
from vitrail.objectives.objective import Moment
from vitrail.objectives.rotation import RotationConfig

TINY = model_config(
    "vit_tiny_patch16_224", image_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2, in_channels=1
)
SMALL_HEAD = {"prototypes": 7, "hidden_dim": 8, "bottleneck_dim": 6}


def dino(**options):
    config = DINOObjectiveConfig(**SMALL_HEAD, **options)
    return config.build(config.model_config(TINY).build(), None)


def published(student: list[Tensor], teacher: list[Tensor], centre: Tensor) -> float:
    """The loss of Caron et al. (2021), algorithm 1, one number at a time."""
    total, pairs = 0.0, 0
    for i, target in enumerate(teacher):
        for v, output in enumerate(student):
            if i == v:
                continue
            pairs += 1
            for row in range(len(target)):
                logits = [
                    (value - shift) / 0.04 for value, shift in zip(target[row].tolist(), centre.tolist(), strict=True)
                ]
                top = max(logits)
                weights = [math.exp(value - top) for value in logits]
                scores = [value / 0.1 for value in output[row].tolist()]
                norm = max(scores) + math.log(sum(math.exp(score - max(scores)) for score in scores))
                ce = -sum(w / sum(weights) * (score - norm) for w, score in zip(weights, scores, strict=True))
                total += ce / len(target)
    return total / pairs


@pytest.mark.parametrize("local", [0, 3])
def test_dino_is_the_published_loss(local, seeded):
    objective = dino(local_crops=local)
    objective.centre.copy_(torch.randn(1, 7) * 0.1)
    views = (*torch.randn(2, 5, 1, 16, 16), *torch.randn(local, 5, 1, 8, 8))
    with torch.no_grad():
        for part in (*objective.teacher.parameters(), *objective.teacher_project.parameters()):
            part.add_(0.02 * torch.randn_like(part))
        found = objective(Batch(views, None), Moment(0)).total
        student = [objective.project(objective.model(view)) for view in views]
        teacher = [objective.teacher_project(objective.teacher(view)) for view in views[:2]]
    assert found.item() == pytest.approx(published(student, teacher, objective.centre[0]), rel=1e-4)


def test_the_teacher_follows_and_the_centre_is_a_moving_mean(seeded):
    objective = dino(local_crops=1, momentum=0.9)
    with torch.no_grad():
        for part in objective.model.parameters():
            part.add_(0.1)
    before = [part.clone() for part in objective.teacher.parameters()]
    outputs = []
    for seed in (0, 1):  # two parts of an accumulated batch
        torch.manual_seed(seed)
        views = (*torch.randn(2, 4, 1, 16, 16), torch.randn(4, 1, 8, 8))
        objective(Batch(views, None), Moment(50, 0.5))
        outputs += [objective.teacher_project(objective.teacher(view)) for view in views[:2]]
    objective.after_step(Moment(50, 0.5))
    decay = 1 - 0.1 / 2  # half way from 0.9 to 1
    for now, was, student in zip(objective.teacher.parameters(), before, objective.model.parameters(), strict=True):
        torch.testing.assert_close(now, decay * was + (1 - decay) * student)
    torch.testing.assert_close(objective.centre, 0.1 * torch.cat(outputs).mean(0, keepdim=True))
    assert objective.trained() is objective.teacher
    kept = objective.own_state()
    assert "centre" in kept
    assert any(name.startswith("teacher.") for name in kept)
    assert not any(part.requires_grad for part in objective.teacher.parameters())


def test_prototypes_are_fixed_at_first(seeded):
    objective = dino(local_crops=0)
    views = tuple(torch.randn(2, 4, 1, 16, 16))
    for fraction, learns in ((0.0, False), (0.5, True)):
        objective.zero_grad(set_to_none=True)
        objective(Batch(views, None), Moment(0, fraction)).total.backward()
        assert (objective.project.prototypes.directions.grad is not None) == learns
        assert objective.model.embed.patches.project.weight.grad is not None


def test_dinos_views_are_two_large_crops_and_small_ones(seeded):
    preprocess = Preprocess(image_size=(16, 16), channels=1, mean=(0.5,), std=(0.5,))
    config, image = DINOObjectiveConfig(local_crops=3), torch.rand(1, 20, 20)
    views, _ = config.views(Augmentation(Augment(), preprocess, TINY))(image, None)
    assert [tuple(view.shape) for view in views] == [(1, 16, 16)] * 2 + [(1, 8, 8)] * 3
    assert not torch.equal(views[0], views[1])
    fitted = preprocess.fit(image)
    views, _ = config.views(Augmentation(None, preprocess, TINY))(fitted, None)
    assert len(views) == 2
    assert torch.equal(views[0], fitted)


def test_rotation_is_the_cross_entropy_of_four_turns(seeded):
    config = RotationConfig()
    objective = config.build(config.model_config(TINY).build(), None).eval()
    pixels = torch.randn(3, 1, 16, 16)
    total, right = 0.0, 0
    with torch.no_grad():
        found = objective(Batch(pixels, None), Moment(0))
        for turns in range(4):
            for image in pixels:
                turned = image
                for _ in range(turns):  # a quarter turn to the left: columns become rows, from the right
                    turned = turned.transpose(1, 2).flip(1)
                logits = objective.classify(objective.model(turned[None])).double()[0]
                total += -(logits - logits.logsumexp(0))[turns].item() / 12
                right += int(logits.argmax()) == turns
    assert found.total.item() == pytest.approx(total, rel=1e-5)
    assert found.parts["accuracy"].item() == pytest.approx(right / 12)
    wide = model_config("vit_tiny_patch16_224", image_size=(32, 16), patch_size=4)
    with pytest.raises(VitrailError, match="these are 32×16: use a square --image-size"):
        config.build(config.model_config(wide).build(), None)


def test_a_puzzle_has_the_pieces_and_their_places(seeded):
    config = JigsawConfig(pieces=2, gap=0.0)
    objective = config.build(config.model_config(TINY).build(), None).eval()
    pixels = torch.randn(5, 1, 16, 16)
    shuffled, places = objective.shuffle(pixels)
    for image in range(5):
        for piece, place in enumerate(places[image].tolist()):
            y, x, top, left = piece // 2 * 8, piece % 2 * 8, place // 2 * 8, place % 2 * 8
            assert torch.equal(
                shuffled[image, 0, y : y + 8, x : x + 8], pixels[image, 0, top : top + 8, left : left + 8]
            )
    logits = objective.logits(shuffled)
    tokens = objective.read(objective.model.forward_features(shuffled)).view(5, 4, 4, 16)
    expected = objective.classify(tokens[:, 2:, :2].mean(dim=(1, 2)))
    torch.testing.assert_close(logits[:, 2], expected)


@pytest.mark.parametrize("config", [RotationConfig(), JigsawConfig(pieces=2)])
def test_guessing_has_the_loss_of_equal_logits(config, seeded):
    objective = config.build(config.model_config(TINY).build(), None).eval()
    nn.init.zeros_(objective.classify.weight)
    nn.init.zeros_(objective.classify.bias)
    batch = Batch(torch.randn(3, 1, 16, 16), None)
    with torch.no_grad():
        loss = objective(batch, Moment(0)).total
    torch.testing.assert_close(objective.trivial(batch).loss, loss)


def test_a_gap_cuts_pieces_smaller_and_keeps_their_size(seeded):
    config = JigsawConfig(pieces=2, gap=0.25)
    objective = config.build(config.model_config(TINY).build(), None)
    ramp = torch.arange(16.0).expand(1, 1, 16, 16).contiguous()
    shuffled, places = objective.shuffle(ramp.repeat(50, 1, 1, 1))
    pieces = shuffled.unfold(2, 8, 8).unfold(3, 8, 8).flatten(2, 3)[:, 0]  # (50, 4, 8, 8)
    spans = pieces[..., -1] - pieces[..., 0]
    torch.testing.assert_close(spans, torch.full_like(spans, 7 * 0.75), atol=0.3, rtol=0)
    left = (places % 2 * 8).float()
    assert ((pieces.amin(dim=(2, 3)) - left) >= -1e-4).all()
    assert ((left + 7 - pieces.amax(dim=(2, 3))) >= -1e-4).all()
    starts = (pieces[:, :, 0, 0] - left).flatten()
    assert starts.std() > 0.2, "at random places"
    with pytest.raises(VitrailError, match=r"grid of 4×4 cells into 3 pieces"):
        JigsawConfig(pieces=3).build(config.model_config(TINY).build(), None)
