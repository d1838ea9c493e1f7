"""The study of labels: cleanlab on the same probabilities, flipped labels, made-up duplicates."""

import csv
import io
from dataclasses import replace

import cleanlab.count
import cleanlab.rank
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score

from vitrail.data.python_source import source_from_images
from vitrail.errors import VitrailError
from vitrail.pages.files import write_results
from vitrail.study.confident import class_pairs, class_thresholds, confident_joint, self_confidence
from vitrail.study.labels import LabelOptions, _trained_on, study_labels
from vitrail.study.labels_page import files
from vitrail.study.near_duplicates import duplicate_groups, near_duplicates
from vitrail.study.out_of_fold import _ridge, folds_of, logistic_out_of_fold

from ..evaluation.small_checkpoint import tiny_checkpoint, write_classes


@pytest.fixture
def judged():
    """Labels of 400 images, of which 5 % are wrong, and probabilities that know most of the true ones."""
    source = torch.Generator().manual_seed(1)
    true = torch.randint(0, 5, (400,), generator=source)
    logits = torch.randn(400, 5, generator=source)
    logits[torch.arange(400), true] += 2.5
    labels, wrong = true.clone(), torch.arange(400) < 20
    labels[wrong] = (labels[wrong] + 1) % 5
    return labels, logits.softmax(dim=1), wrong


def test_thresholds_joint_and_scores_equal_cleanlab(judged):
    labels, probabilities, _ = judged
    plain = labels.numpy(), probabilities.double().numpy()
    np.testing.assert_allclose(
        class_thresholds(labels, probabilities), cleanlab.count.get_confident_thresholds(*plain), rtol=1e-5
    )
    found = confident_joint(labels, probabilities)
    theirs = cleanlab.count.compute_confident_joint(*plain, calibrate=False)
    # cleanlab fills empty classes of its joint; here there are none
    np.testing.assert_array_equal(found.joint, theirs)
    off = cleanlab.count.compute_confident_joint(*plain)
    assert found.expected == pytest.approx(off.sum() - np.trace(off), abs=5)  # cleanlab rounds to whole numbers
    np.testing.assert_allclose(
        self_confidence(labels, probabilities), cleanlab.rank.get_self_confidence_for_each_label(*plain), rtol=1e-6
    )


def test_flipped_labels_are_first(judged):
    labels, probabilities, wrong = judged
    ours = average_precision_score(wrong, 1 - self_confidence(labels, probabilities))
    theirs = cleanlab.rank.get_label_quality_scores(labels.numpy(), probabilities.numpy())
    assert ours >= average_precision_score(wrong, 1 - theirs) - 1e-9
    assert ours > 0.6
    flags = confident_joint(labels, probabilities).flagged(labels)
    assert flags[wrong].float().mean() > 0.6


def test_pairs_that_are_guessed(judged):
    labels, probabilities, _ = judged
    same = probabilities.clone()
    same[:, 3] = same[:, 1] * (1 + 1e-3 * torch.randn(400, generator=torch.Generator().manual_seed(2)))
    first = class_pairs(labels, same)[0]
    assert (first.first, first.second) == (1, 3)
    assert first.is_guessing
    both = (labels == 1) | (labels == 3)
    right = torch.where(labels == 1, same[:, 1] > same[:, 3], same[:, 3] > same[:, 1])
    assert (first.count, first.right) == (both.sum(), right[both].sum())


@pytest.mark.parametrize("width", [5, 60])  # fewer and more features than images
def test_scores_are_those_of_ridge_regression(width):
    source = torch.Generator().manual_seed(3)
    features, targets = torch.randn(30, width, generator=source), torch.randn(30, 2, generator=source)
    judged = torch.arange(30) < 6
    scores = _ridge(features, targets, judged)[2]  # strength 0.01
    seen, wanted = features[6:].double().numpy(), (targets[6:] - targets[6:].mean(dim=0)).double().numpy()
    theirs = Ridge(alpha=0.01 * max(24, width), fit_intercept=False).fit(seen, wanted)
    np.testing.assert_allclose(scores, theirs.predict(features[:6].double().numpy()), atol=2e-4)


def test_folds_keep_groups_and_do_not_depend_on_the_order():
    groups, strata = [f"{i % 40:02d}" for i in range(60)], [i % 40 % 4 for i in range(60)]
    folds = folds_of(groups, strata, 5)
    assert all(folds[i] == folds[i + 40] for i in range(20))
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0)).tolist()
    again = folds_of([groups[i] for i in shuffled], [strata[i] for i in shuffled], 5)
    assert again.tolist() == folds[torch.tensor(shuffled)].tolist()
    for label in range(4):
        counts = torch.bincount(folds[:40][torch.tensor(strata[:40]) == label], minlength=5)
        assert counts.tolist() == [2] * 5


def scenes(count, side=48):
    """Smooth random colour images."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1).mul(255).byte()


def compressed(image):
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=40)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def test_changed_copies_are_near_duplicates_and_other_images_are_not():
    base = scenes(12)
    darker = (base[0].float() * 0.7 + 10).byte()
    images = torch.cat([base, torch.stack([darker, compressed(base[1]), base[2].flip(-1)])])
    images = torch.cat([images, torch.full((2, 3, 48, 48), 90, dtype=torch.uint8)])  # flat: nothing to compare
    pairs = near_duplicates(images)
    assert {(pair.first, pair.second, pair.mirrored) for pair in pairs} == {
        (0, 12, False),
        (1, 13, False),
        (2, 14, True),
    }
    groups = duplicate_groups(len(images), pairs)
    assert groups[12] == 0
    assert groups[13] == 1
    assert groups[3] == 3


def digits(count=300):
    found = load_digits()
    return np.uint8(found.images[:count] * 15), found.target[:count]


def test_flipped_digits_are_found_and_written(tmp_path):
    images, labels = digits()
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[np.random.default_rng(0).choice(len(labels), 15, replace=False)] = True
    given = np.where(wrong, (labels + 3) % 10, labels)
    names = [str(label) for label in range(10)]
    study = study_labels(
        source_from_images(images, given.tolist(), class_names=names), options=LabelOptions(words=40, folds=3)
    )
    place = {sample.name: index for index, sample in enumerate(study.samples)}
    truth = [wrong[int(study.samples[suspect.index].name.split("/")[1])] for suspect in study.suspects]
    assert average_precision_score(truth, [suspect.suspicion for suspect in study.suspects]) > 0.8  # chance: 0.05
    assert study.suspects[0].suggestion == str(labels[int(study.samples[study.suspects[0].index].name.split("/")[1])])
    write_results(tmp_path / "out", files(study))
    with (tmp_path / "out/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    suspicions = [float(row["suspicion"]) for row in rows]
    assert suspicions == sorted(suspicions, reverse=True)
    assert place[rows[0]["name"]] == study.suspects[0].index
    assert "Labels that are probably wrong" in (tmp_path / "out/labels.html").read_text()
    check_a_page_without_contradictions(study)


def check_a_page_without_contradictions(study):
    """The page shows labels that another one beats, and none whose suggestion is the label itself."""
    calm = [replace(suspect, flagged=False) for suspect in study.suspects]
    beaten = [suspect for suspect in calm if suspect.suggestion != suspect.label]
    assert 0 < len(beaten) < 60
    section = files(replace(study, suspects=tuple(calm))).sections[0]
    assert "Labels that may be wrong" in section
    assert "No label is contradicted" in section
    assert section.count("<figure") == len(beaten)
    agreed = tuple(suspect for suspect in calm if suspect.suggestion == suspect.label)
    assert "None found" in files(replace(study, suspects=agreed)).sections[0]


def test_several_labels_an_image():
    images, labels = digits(200)
    flags = np.stack([labels % 2, labels > 4], axis=1).astype(np.int64)
    wrong = np.arange(200) < 8
    given = flags.copy()
    given[wrong, 0] = 1 - given[wrong, 0]
    source = source_from_images(images, given, class_names=["odd", "large"])
    study = study_labels(source, options=LabelOptions(words=40, folds=3))
    first = study.suspects[:8]
    hits = sum(wrong[int(study.samples[s.index].name.split("/")[1])] and "odd" in s.label for s in first)
    assert hits >= 5
    assert study.pairs == ()


def test_features_of_a_checkpoint(tmp_path):
    source = write_classes(tmp_path / "images", each=12)
    checkpoint = tiny_checkpoint()
    study = study_labels(str(source), checkpoint, LabelOptions(folds=3))
    assert "outputs before the head" in study.notes[0]
    assert study.probabilities.sum(dim=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("many", [False, True])
def test_no_label_has_a_say_in_its_own_probability(many):
    source = torch.Generator().manual_seed(5)
    features = torch.randn(60, 4, generator=source)
    targets = torch.nn.functional.one_hot((features[:, 0] > 0).long(), 2).float()
    folds = torch.arange(60) % 3
    found = logistic_out_of_fold(features, targets, folds, many=many)
    assert ((found[:, 1] > 0.5) == (targets[:, 1] == 1)).float().mean() > 0.75
    flipped = torch.where((folds == 1)[:, None], 1 - targets, targets)
    again = logistic_out_of_fold(features, flipped, folds, many=many)
    torch.testing.assert_close(again[folds == 1], found[folds == 1], rtol=0, atol=0)
    assert not torch.allclose(again[folds == 0], found[folds == 0])


def test_numbers_have_no_labels_to_study():
    with pytest.raises(VitrailError, match="needs classes"):
        study_labels(source_from_images(digits(40)[0], [float(i) for i in range(40)]))


def test_digits_that_are_alike_are_no_duplicates():
    images, labels = digits(400)
    copied = np.concatenate([images, images[:1]])
    study = study_labels(
        source_from_images(copied, [*labels.tolist(), int(labels[0])], class_names=[str(n) for n in range(10)]),
        options=LabelOptions(words=10, folds=2),
    )
    assert [pair.similarity for pair in study.duplicates] == [pytest.approx(1.0, abs=1e-5)]


def test_options_that_are_not_possible_are_errors():
    for options, words in (
        ({"folds": 1}, "folds 1"),
        ({"similar": 0.0}, "similar 0"),
        ({"similar": float("nan")}, "similar nan"),
        ({"similar": 2.0}, "similar 2"),
        ({"folds": 1000}, "use 898 folds or fewer"),
    ):
        with pytest.raises(VitrailError, match=words):
            study_labels("digits", options=LabelOptions(**options))


def test_a_pretraining_has_not_learned_wrong_labels(tmp_path):
    rows = "name,digest,split,label\na.png,1,train,{0}\nb.png,2,val,{0}\n"
    (tmp_path / "splits.csv").write_text(rows.format(""))
    assert _trained_on(tmp_path, ["1", "2"]) == 0
    (tmp_path / "splits.csv").write_text(rows.format("cat"))
    assert _trained_on(tmp_path, ["1", "2"]) == 1
