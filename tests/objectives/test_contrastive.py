"""Objectives of images and texts, against open_clip's losses."""

import math

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import SigLipLoss
from torch import Tensor

from vitrail.data.loader import Batch, TrainLoader
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.compact_clip import CompactCLIPConfig
from vitrail.objectives.contrastive import CaptionView, clip_loss, siglip_loss
from vitrail.objectives.objective import Moment
from vitrail.objectives.registry import objective_config

SMALL = CompactCLIPConfig(
    image_size=16, stem=((8,), (16,)), embed_dim=16, depth=1, num_heads=2, text_dim=16, text_depth=1, text_heads=2
)
SMALL_SIGLIP = CompactCLIPConfig(
    image_size=16,
    stem=((8,), (16,)),
    embed_dim=16,
    depth=1,
    num_heads=2,
    text_dim=16,
    text_depth=1,
    text_heads=2,
    sigmoid=True,
)


def pairs(kind: str, count: int) -> tuple[Tensor, Tensor]:
    """Unit vectors of images and texts, float64."""
    generator = torch.Generator().manual_seed(count)
    images, texts = torch.randn(2, count, 8, dtype=torch.float64, generator=generator)
    if kind == "equal":
        images, texts = torch.ones_like(images), torch.ones_like(texts)
    if kind == "matched":
        texts = images
    return F.normalize(images, dim=-1), F.normalize(texts, dim=-1)


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("kind", ["random", "equal", "matched"])
def test_the_losses_are_those_of_open_clip(kind: str, count: int, scale: float) -> None:
    images, texts = pairs(kind, count)
    factor, bias = torch.tensor(scale, dtype=torch.float64), torch.tensor(-7.5, dtype=torch.float64)
    theirs = open_clip.ClipLoss()(images, texts, factor)
    assert clip_loss(factor * images @ texts.t()).item() == pytest.approx(theirs.item(), abs=1e-6)
    theirs = SigLipLoss()(images, texts, factor, bias)
    assert siglip_loss(factor * images @ texts.t() + bias).item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize(("name", "config"), [("clip", SMALL), ("siglip", SMALL_SIGLIP)])
def test_the_objective_is_the_loss_of_all_pairs_of_the_batch(name: str, config: CompactCLIPConfig) -> None:
    torch.manual_seed(0)
    model = config.build().double().eval()
    objective = objective_config(name)().build(model, None)
    pixels, ids = torch.randn(5, 3, 16, 16, dtype=torch.float64), torch.randint(0, 512, (5, 16))
    images, texts = (F.normalize(part, dim=-1).float() for part in (model.image(pixels), model.text(ids)))
    scale = model.compare.log_scale.exp().float()
    bias = (model.compare.bias.float(),) if name == "siglip" else ()
    theirs = SigLipLoss() if name == "siglip" else open_clip.ClipLoss()
    found = objective(Batch(pixels, ids), Moment(0))
    assert found.total.item() == pytest.approx(theirs(images, texts, scale, *bias).item(), rel=1e-5)
    assert found.parts["scale"].item() == pytest.approx(scale.item())


def test_the_scale_of_clip_stays_between_1_and_100_and_that_of_siglip_is_free() -> None:
    for start, kept in ((-3.0, 1.0), (math.log(50.0), 50.0), (9.0, 100.0)):
        clip = objective_config("clip")().build(SMALL.build(), None)
        siglip = objective_config("siglip")().build(SMALL_SIGLIP.build(), None)
        for objective, expected in ((clip, kept), (siglip, math.exp(start))):
            with torch.no_grad():
                objective.model.compare.log_scale.fill_(start)
            objective.after_step(Moment(1))
            assert objective.model.compare.log_scale.exp().item() == pytest.approx(expected, rel=1e-5)


def test_an_objective_refuses_logits_of_the_other_kind() -> None:
    with pytest.raises(VitrailError, match="with no bias, and those of this model have one: use --objective siglip"):
        objective_config("clip")().build(SMALL_SIGLIP.build(), None)
    with pytest.raises(VitrailError, match="with a bias, and those of this model have none: use --objective clip"):
        objective_config("siglip")().build(SMALL.build(), None)


def test_the_caption_of_an_epoch_depends_on_seed_and_index_alone() -> None:
    captions = [torch.arange(count)[:, None] for count in (1, 2, 5, 3)]

    def drawn(seed: int, epoch: int, batch_size: int) -> list[int]:
        images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        loader = TrainLoader(
            images.__getitem__,
            4,
            captions.__getitem__,
            CaptionView(lambda image: image),
            Preprocess(image_size=(8, 8)),
            batch_size=batch_size,
            seed=seed,
        )
        return [int(number) for batch in loader.once(epoch) for number in batch.targets[:, 0]]

    assert drawn(0, 0, 4) == drawn(0, 0, 3)
    epochs = [drawn(0, epoch, 4) for epoch in range(40)]
    assert [sorted(set(found)) for found in zip(*epochs, strict=True)] == [[0], [0, 1], [0, 1, 2, 3, 4], [0, 1, 2]]
    assert [drawn(1, epoch, 4) for epoch in range(40)] != epochs


def test_augmentation_never_mirrors_what_captions_call_left() -> None:
    augment = objective_config("clip")().default_augment(64)
    assert augment is not None
    assert augment.flip == 0
