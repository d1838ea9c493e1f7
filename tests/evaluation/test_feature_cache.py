"""Features are computed once: the cache answers for the same model, images and settings only, and heals itself."""

from dataclasses import replace

import pytest
import torch

from vitrail.data.open import BadImage, open_source, read_image
from vitrail.data.survey import survey
from vitrail.engines.engine import make_engine
from vitrail.engines.predictor import Predictor
from vitrail.evaluation import feature_cache
from vitrail.evaluation.feature_cache import cached_features, model_identity
from vitrail.nn import EmbeddingModel
from vitrail.tasks.embedding import Embedding

from .small_checkpoint import tiny_checkpoint, write_classes


class Counting(torch.nn.Module):
    """A model that counts the images it has seen."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.seen = 0

    def forward(self, pixels):
        self.seen += len(pixels)
        return self.model(pixels)


@pytest.fixture
def asked(tmp_path):
    """Samples, their digests, a predictor that counts, and the folder of the cache."""
    found = survey(open_source(write_classes(tmp_path / "images", each=2)), cache=tmp_path / "survey")
    checkpoint = tiny_checkpoint()
    counting = Counting(EmbeddingModel(checkpoint.model))
    engine = make_engine(counting, device="cpu", precision="float32")
    predictor = Predictor(engine, checkpoint.preprocess, Embedding(), (), batch_size=6)
    digests = [facts.digest for facts in found.facts]
    return predictor, counting, found.source.samples, digests, tmp_path / "features"


def test_a_second_call_runs_no_model_and_returns_the_same_bits(asked):
    predictor, counting, samples, digests, cache = asked
    first = cached_features(predictor, samples, digests, "m", cache=cache)
    assert (first.shape, counting.seen) == ((6, 16), 6)
    assert torch.equal(cached_features(predictor, samples, digests, "m", cache=cache), first)
    assert counting.seen == 6
    images = [read_image(sample, 3) for sample in samples]
    pixels = torch.stack([predictor.preprocess.normalise(predictor.preprocess.fit(image)) for image in images])
    torch.testing.assert_close(first, counting.model(pixels))


def test_other_models_images_and_settings_are_other_entries(asked):
    predictor, counting, samples, digests, cache = asked
    cached_features(predictor, samples, digests, "m", cache=cache)
    other = Predictor(predictor.engine, replace(predictor.preprocess, mean=(0.1,) * 3), Embedding(), (), batch_size=6)
    smaller = Predictor(predictor.engine, predictor.preprocess, Embedding(), (), batch_size=3)
    for count, (runs, order, model) in enumerate(
        [
            (predictor, slice(None), "n"),
            (predictor, slice(None, None, -1), "m"),
            (other, slice(None), "m"),
            (smaller, slice(None), "m"),
        ],
        2,
    ):
        cached_features(runs, samples[order], digests[order], model, cache=cache)
        assert counting.seen == 6 * count


def test_identity_is_that_of_the_weights():
    one, other = tiny_checkpoint().model, tiny_checkpoint().model
    other.load_state_dict(one.state_dict())
    assert model_identity(one) == model_identity(other)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    assert model_identity(one) != model_identity(other)
    assert model_identity(one, "blocks.1") != model_identity(one)


def test_a_damaged_entry_is_computed_again(asked):
    predictor, counting, samples, digests, cache = asked
    first = cached_features(predictor, samples, digests, "m", cache=cache)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert torch.equal(cached_features(predictor, samples, digests, "m", cache=cache), first)
    assert counting.seen == 12
    assert torch.equal(cached_features(predictor, samples, digests, "m", cache=cache), first)
    assert counting.seen == 12


def test_the_oldest_entries_make_room(asked, monkeypatch):
    predictor, _, samples, digests, cache = asked
    cached_features(predictor, samples, digests, "a", cache=cache)
    (oldest,) = cache.iterdir()
    monkeypatch.setattr(feature_cache, "MOST_BYTES", int(2.5 * oldest.stat().st_size))
    for name in ("b", "c"):
        cached_features(predictor, samples, digests, name, cache=cache)
    assert len(list(cache.iterdir())) == 2
    assert not oldest.exists()
    monkeypatch.setattr(feature_cache, "MOST_BYTES", 10)
    cached_features(predictor, samples, digests, "too large", cache=cache)
    assert len(list(cache.iterdir())) == 2


def test_no_cache_folder_is_no_fault(asked):
    predictor, counting, samples, digests, cache = asked
    cache.write_text("a file")
    cached_features(predictor, samples, digests, "m", cache=cache)
    cached_features(predictor, samples, digests, "m", cache=cache)
    assert counting.seen == 12


def test_an_image_that_has_gone_is_named(asked, tmp_path):
    predictor, _, samples, digests, cache = asked
    (tmp_path / "images" / "cat" / "0.png").unlink()
    with pytest.raises(BadImage, match=r"cat/0\.png"):
        cached_features(predictor, samples, digests, "m", cache=cache)
