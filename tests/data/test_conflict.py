"""Pictures of two cues: pieces come from the object, outlines from the other; both cues are counted."""

import numpy as np
import pytest

from vitrail.data.conflict import conflict, cues, partners, texture
from vitrail.errors import VitrailError


def test_texture_takes_only_what_the_object_is_made_of():
    image = np.zeros((20, 24, 3), np.uint8)
    mask = np.zeros((20, 24), bool)
    mask[4:15, 6:19] = True
    image[mask] = np.random.default_rng(0).integers(100, 200, (mask.sum(), 3), dtype=np.uint8)
    made = texture(image, mask, cell=4, seed=1)
    assert made.shape == image.shape
    assert made.min() >= 100
    assert np.array_equal(made, texture(image, mask, cell=4, seed=1))
    assert not np.array_equal(made, texture(image, mask, cell=4, seed=2))
    # Every piece is one of the object's own.
    windows = {image[r : r + 4, c : c + 4].tobytes() for r in range(4, 12) for c in range(6, 16)}
    assert made[:4, :4].tobytes() in windows
    assert made[16:20, 20:24].tobytes() in windows


def test_an_object_smaller_than_a_piece_gives_the_best_there_is():
    image, mask = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), bool)
    mask[3, 3], image[3, 3] = True, 255
    assert texture(image, mask, cell=4).max() == 255


def test_conflict_fills_the_outline():
    mask = np.eye(6, dtype=bool)
    made = conflict(mask, np.full((6, 6, 3), 9, np.uint8), background=200)
    assert (made[mask] == 9).all()
    assert (made[~mask] == 200).all()


def test_cues_count_both_and_leave_out_what_agrees():
    found = cues([0, 0, 1, 2, 1], shapes=[0, 0, 0, 0, 1], textures=[1, 2, 1, 1, 1])
    assert (found.shape, found.texture, found.count) == (0.5, 0.25, 4)
    assert found.bias == pytest.approx(2 / 3)
    assert cues([3], [0], [1]).bias is None


def test_partners_are_of_another_class_and_the_same_for_a_seed():
    labels = [0, 0, 1, 2, 2, 1]
    found = partners(labels, seed=3)
    assert all(labels[other] != label for other, label in zip(found, labels, strict=True))
    assert found == partners(labels, seed=3)


def test_mistakes_are_sentences():
    image, empty = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), bool)
    with pytest.raises(VitrailError, match="empty"):
        texture(image, empty, 2)
    with pytest.raises(VitrailError, match="9 px"):
        texture(image, ~empty, 9)
    with pytest.raises(VitrailError, match="one size"):
        conflict(empty[:4], image)
    with pytest.raises(VitrailError, match="two classes"):
        partners([1, 1])
    with pytest.raises(VitrailError, match="disagree"):
        cues([1], [1], [1])
