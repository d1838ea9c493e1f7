"""The weighted nearest neighbours against a loop, and scikit-learn's classifier with the same weights."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vitrail.errors import VitrailError
from vitrail.evaluation.probe.knn import knn_scores


def points(count, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=random)
    return torch.randn(count, 8, generator=random) + 0.7 * torch.eye(4, 8)[labels], labels


def ones(labels):
    return (labels[:, None] == torch.arange(4)).float()


def test_scores_equal_a_loop_in_float64():
    (memory, known), (queries, _) = points(50, 0), points(20, 1)
    found = knn_scores(memory, ones(known), queries, (1, 7, 50), temperature=0.1)
    for k in (1, 7, 50):
        for row, query in enumerate(queries.double().numpy()):
            near = sorted(
                (float(query @ one / np.linalg.norm(query) / np.linalg.norm(one)), label)
                for one, label in zip(memory.double().numpy(), known.tolist(), strict=True)
            )[-k:]
            votes = [sum(math.exp(s / 0.1) for s, label in near if label == each) for each in range(4)]
            assert found[k][row].tolist() == pytest.approx([vote / sum(votes) for vote in votes], abs=1e-4)


def test_predictions_equal_scikit_learns():
    (memory, known), (queries, _) = points(80, 2), points(60, 3)
    unit = [torch.nn.functional.normalize(part, dim=1).numpy() for part in (memory, queries)]

    def weights(distances):  # of unit vectors: cosine = 1 - d² / 2
        return np.exp((1 - distances**2 / 2) / 0.07)

    model = KNeighborsClassifier(10, weights=weights).fit(unit[0], known)
    assert knn_scores(memory, ones(known), queries, (10,))[10].argmax(1).tolist() == model.predict(unit[1]).tolist()


def test_several_labels_vote_for_each_of_theirs():
    memory = torch.eye(3)
    targets = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    found = knn_scores(memory, targets, torch.tensor([[1.0, 1.0, 0.0]]), (2,))[2]
    assert found.tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize("neighbours", [(), (0,), (4,)])
def test_neighbours_that_are_not_there_are_a_sentence(neighbours):
    with pytest.raises(VitrailError, match="neighbours of 3 images"):
        knn_scores(torch.eye(3), torch.eye(3), torch.eye(3), neighbours)
