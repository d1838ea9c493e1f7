"""Training batches and what is done to their images."""

from itertools import islice

import pytest
import torch

from vitrail.data.augment import batch_mix, image_transform
from vitrail.data.augment_options import Augment
from vitrail.data.loader import OneView, TrainLoader
from vitrail.data.memory import remember, shrink
from vitrail.data.preprocess import Preprocess
from vitrail.data.targets import Rows

PREPROCESS = Preprocess(image_size=(12, 16))
AUGMENT = Augment(color_jitter=0.4, randaugment=2, erasing=0.5)


def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8, generator=generator) for _ in range(23)]


def loader(workers=0, seed=1):
    source = images()
    transform = image_transform(AUGMENT, PREPROCESS)
    targets = Rows(torch.eye(23))
    views = OneView(transform)
    return TrainLoader(source.__getitem__, 23, targets, views, PREPROCESS, batch_size=4, seed=seed, workers=workers)


def take(count, first=0, **options):
    return list(islice(loader(**options).batches(first), count))


def test_batches_do_not_depend_on_workers_or_where_one_starts():
    alone, crowd = take(12, first=15), take(12, first=15, workers=2)
    assert len(loader()) == 5
    for one, other in zip(alone, crowd, strict=True):
        assert one.indices == other.indices
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.targets, torch.eye(23)[one.indices])
    later = take(4, first=17)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(alone[2:6], later, strict=True))


def test_an_epoch_shows_each_sample_at_most_once():
    seen = [index for batch in take(5, first=10) for index in batch.indices]
    assert len(seen) == len(set(seen)) == 20


def test_epochs_and_seeds_differ():
    first, *_, second = take(6)
    assert first.indices != second.indices
    assert first.indices != take(1, seed=2)[0].indices
    assert first.pixels.shape == (4, 3, 12, 16)


def test_shift_moves_and_mirrors():
    image = torch.arange(12 * 16, dtype=torch.float32).view(1, 12, 16)
    transform = image_transform(Augment(crop="shift", shift=0.25, flip=0), PREPROCESS)
    padded = torch.nn.functional.pad(image[None], (4, 4, 3, 3), mode="reflect")[0]
    places = [padded[:, y : y + 12, x : x + 16] for y in range(7) for x in range(9)]
    moved = [transform(image) for _ in range(300)]
    found = {next(i for i, place in enumerate(places) if torch.equal(place, one)) for one in moved}
    assert len(found) > 50


def test_mix_keeps_the_mass_of_the_targets(seeded):
    mix = batch_mix(0.8, 1.0, 1.0, 5)
    assert mix is not None
    pixels, targets = torch.randn(6, 3, 8, 8), torch.eye(5)[[0, 1, 2, 3, 4, 0]]
    for _ in range(10):
        _, mixed = mix(pixels, targets)
        torch.testing.assert_close(mixed.sum(1), torch.ones(6))
    assert batch_mix(0.0, 0.0, 1.0, 5) is None


class TwoViews:
    """A small and a mirrored view of an image, with its target beside its sum."""

    def __call__(self, image, target):
        return {"small": image[:, ::2, ::2], "mirrored": image.flip(-1)}, (target, image.float().sum())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_may_have_several_views_and_a_target_of_any_shape(workers):
    fitted = [PREPROCESS.fit(image) for image in images()]
    source = TrainLoader(
        fitted.__getitem__, 23, Rows(torch.eye(23)), TwoViews(), PREPROCESS, batch_size=4, seed=0, workers=workers
    )
    batch = next(source.batches())
    whole = torch.stack([fitted[index] for index in batch.indices])
    assert torch.equal(batch.pixels["small"], PREPROCESS.normalise(whole[:, :, ::2, ::2]))
    assert torch.equal(batch.pixels["mirrored"], PREPROCESS.normalise(whole.flip(-1)))
    assert torch.equal(batch.targets[0], torch.eye(23)[batch.indices])
    assert torch.equal(batch.targets[1], whole.float().sum((1, 2, 3)))


def test_once_gives_each_sample_once_without_labels():
    fitted = [PREPROCESS.fit(image) for image in images()]
    source = TrainLoader(fitted.__getitem__, 23, None, OneView(torch.clone), PREPROCESS, batch_size=5, seed=0)
    batches = list(source.once())
    assert [index for batch in batches for index in batch.indices] == list(range(23))
    assert batches[-1].targets is None
    assert torch.equal(PREPROCESS.denormalise(batches[4].pixels[2]).mul(255).round(), fitted[22].float())


def test_shrink_and_remember():
    image = torch.zeros(3, 100, 50, dtype=torch.uint8)
    assert shrink(image, 25).shape == (3, 50, 25)
    assert shrink(image, 60) is image
    calls = []

    def decode(index):
        calls.append(index)
        return image

    kept = remember(decode, [10, 10], budget=20)
    assert [kept(0) is kept(0), kept(1) is kept(1)] == [True, True]
    assert calls == [0, 1]
    assert remember(decode, [10, 10], budget=19) is decode
