"""Features of patches against a loop over the patches of one image."""

import numpy as np
import torch

from vitrail.study.patch_features import PATCH, fit_dictionary, patch_features


def test_features_are_those_of_a_loop():
    images = torch.randint(0, 256, (8, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dictionary = fit_dictionary(images, words=5)
    found = patch_features(images, dictionary)
    image, places = images[0].double().numpy() / 255, 12 - PATCH + 1
    filters, mean = dictionary.filters.double().numpy(), dictionary.mean.double().numpy()
    responses = np.zeros((places, places, 10))
    for row in range(places):
        for column in range(places):
            patch = image[:, row : row + PATCH, column : column + PATCH].ravel()
            centred = patch - patch.mean()
            response = (centred / np.sqrt(centred.var() + 10 / 255**2) - mean) @ filters
            responses[row, column] = np.maximum(np.concatenate([response, -response]) - 0.25, 0)
    parts = (slice(0, 4), slice(3, 7))  # 7 places in two overlapping halves
    quarters = np.array([responses[rows, columns].mean(axis=(0, 1)) for rows in parts for columns in parts])
    expected = np.sqrt(np.concatenate([quarters[:, :5].ravel(), quarters[:, 5:].ravel()]).reshape(2, 4, 5))
    np.testing.assert_allclose(found[0].reshape(4, 2, 5).permute(1, 0, 2), expected, atol=1e-4)


def test_the_dictionary_depends_on_the_seed_alone():
    images = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first, again, other = (fit_dictionary(images, words=4, seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first.filters, again.filters, rtol=0, atol=0)
    assert not torch.allclose(first.filters, other.filters)
