"""Power laws and learning curves against values that are known."""

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import ttest_1samp

from vitrail.errors import VitrailError
from vitrail.pages.files import write_results
from vitrail.study.curves import crossing, data_factor, needed_images, points
from vitrail.study.scaling import fit_scaling
from vitrail.study.scaling_page import files

SIZES = np.array([100, 200, 400, 800, 1600, 3200], dtype=float)


def test_a_power_law_is_recovered_and_predicts_the_held_out_point():
    errors = 0.1 + 4.0 * SIZES**-0.5
    found = fit_scaling(SIZES, errors)
    assert found.law.floor == pytest.approx(0.1, abs=1e-3)
    assert found.law.exponent == pytest.approx(0.5, abs=1e-2)
    assert found.law(12800) == pytest.approx(0.1 + 4.0 * 12800**-0.5, abs=1e-3)
    assert found.held_out is not None
    size, measured, predicted, _, _ = found.held_out
    assert size == 3200
    assert predicted == pytest.approx(measured, abs=2e-3)


def test_noisy_points_are_fitted_as_by_curve_fit_and_the_interval_has_the_truth():
    random = np.random.default_rng(1)
    xs = np.repeat(SIZES, 3)
    errors = 0.05 + 2.0 * xs**-0.4 + random.normal(0, 0.004, len(xs))
    found = fit_scaling(xs, errors)
    law = lambda x, floor, scale, exponent: floor + scale * (x / 3200) ** -exponent  # noqa: E731
    theirs, _ = curve_fit(law, xs, errors, p0=(0.05, 0.1, 0.4), bounds=(0, [1, 10, 3]))
    ours = (found.law.floor, found.law.at_largest, found.law.exponent)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)
    low, high = found.interval(6400)
    assert low < 0.05 + 2.0 * 6400**-0.4 < high
    low, high = found.exponent_interval()
    assert low < 0.4 < high


def test_too_few_sizes_are_an_error():
    with pytest.raises(VitrailError, match="three different sizes"):
        fit_scaling([10, 20, 20], [0.5, 0.4, 0.4])


def test_intervals_are_those_of_students_t():
    (point,) = points({100: [0.5, 0.55, 0.6]})
    theirs = ttest_1samp([0.5, 0.55, 0.6], 0).confidence_interval(0.95)
    assert point.interval == pytest.approx((theirs.low, theirs.high))


CNN = {100: [0.5, 0.5], 400: [0.7, 0.7], 1600: [0.8, 0.8]}
VIT = {100: [0.3, 0.3], 400: [0.5, 0.5], 1600: [0.9, 0.9]}


def test_where_curves_cross_and_how_much_more_data():
    # Between 400 and 1600 the gap goes from -0.2 to 0.1: two thirds of two octaves.
    assert crossing(VIT, CNN).value == pytest.approx(400 * 4 ** (2 / 3))
    assert crossing(CNN, VIT).value == math.inf
    factor = data_factor(VIT, CNN, 100)
    assert (factor.value, factor.low, factor.high) == pytest.approx((4, 4, 4))
    assert data_factor(CNN, VIT, 1600).value == math.inf
    assert data_factor(CNN, VIT, 1600).reached == 0
    assert needed_images(CNN, 0.1) == 100


def test_spread_widens_the_interval():
    noisy = {100: [0.25, 0.35], 400: [0.45, 0.55], 1600: [0.85, 0.95]}
    factor = data_factor(noisy, CNN, 100)
    assert factor.low < 4 < factor.high


def test_the_table_of_runs_has_all_digits_and_names_no_folder_of_this_machine(tmp_path):
    found = [(100.0, 0.41234567), (200.0, 0.3), (400.0, 0.25)]
    fit = fit_scaling([size for size, _ in found], [error for _, error in found])
    runs = [tmp_path / "runs" / name for name in "abc"]
    written = files(fit, runs, found, "images")
    write_results(tmp_path / "out", written)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scaling.csv", "scaling.html"]
    lines = (tmp_path / "out" / "scaling.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["run,images,error", "a,100,0.412346", "b,200,0.300000", "c,400,0.250000"]
    assert str(tmp_path) not in (tmp_path / "out" / "scaling.html").read_text(encoding="utf-8")
    write_results(tmp_path / "one.csv", written)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "out" / "scaling.csv").read_bytes()
