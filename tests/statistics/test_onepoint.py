"""One-point statistics and peaks against distributions whose answer is known."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import minimum_counts, moments, pdf, peak_counts, quantiles, wasserstein
from sciffusion.statistics.extent import Views
from sciffusion.statistics.fieldvalues import PEAK_HEIGHTS, Peaks
from sciffusion.statistics.split import halves, weights
from sciffusion.statistics.statistic import Parts, measure


def field_of(values, boundary="periodic", units="K"):
    dims = ("z", "y", "x")[-(values.ndim - 1) :]
    coords: dict = {
        dim: (dim, np.arange(float(size)), {"units": "Mpc/h", "boundary": boundary})
        for dim, size in zip(dims, values.shape[1:])
    }
    coords["group"] = ("sample", np.arange(len(values)))
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="field", attrs={"units": units})


def gaussian(shape, samples=4, seed=0, mean=5.0, sigma=2.0):
    return np.random.default_rng(seed).normal(mean, sigma, (samples, *shape))


@pytest.mark.parametrize("shape", [(40000,), (200, 200), (34, 34, 35)])
def test_gaussian_values_have_the_gaussian_pdf_and_moments(shape):
    field = field_of(gaussian(shape))
    edges = np.linspace(-3, 13, 33)
    found = pdf(field, edges)
    expected = np.diff(scipy.stats.norm.cdf(edges, 5, 2)) / np.diff(edges)
    error = np.sqrt(expected / np.diff(edges) / np.prod(shape))
    assert found.dims == ("sample", "value")
    assert (abs(found - expected) < 5 * error + 1e-4).all()
    assert found.attrs["units"] == "1/K"
    assert found.value.attrs["units"] == "K"
    first = moments(field).isel(sample=0)
    assert float(first["mean"]) == pytest.approx(5, abs=0.05)
    assert float(first["std"]) == pytest.approx(2, rel=0.02)
    assert float(first["skewness"]) == pytest.approx(0, abs=0.06)
    assert float(first["kurtosis"]) == pytest.approx(0, abs=0.12)
    levels = quantiles(field, [0.001, 0.5, 0.999])
    np.testing.assert_allclose(levels[:, 1], 5, atol=0.06)
    np.testing.assert_allclose(levels[:, 2], 5 + 3.09 * 2, atol=0.6)
    assert list(levels.group) == [0, 1, 2, 3]


def test_pdf_integrates_to_one_over_its_own_bins_and_to_less_over_narrower_ones():
    field = field_of(gaussian((64, 64)))
    whole = pdf(field, 50)
    np.testing.assert_allclose((whole * whole.width).sum("value"), 1)
    part = pdf(field, [3, 5, 7])
    inside = ((field >= 3) & (field <= 7)).mean(("x", "y"))
    np.testing.assert_allclose((part * part.width).sum("value"), inside)


def test_moments_of_lognormal_values():
    values = np.random.default_rng(0).lognormal(0, 0.25, (1, 400_000))
    found = moments(field_of(values)).isel(sample=0)
    mean, variance, skewness, kurtosis = scipy.stats.lognorm.stats(0.25, moments="mvsk")
    assert float(found["mean"]) == pytest.approx(mean, rel=0.01)
    assert float(found["std"]) == pytest.approx(variance**0.5, rel=0.01)
    assert float(found["skewness"]) == pytest.approx(skewness, rel=0.05)
    assert float(found["kurtosis"]) == pytest.approx(kurtosis, rel=0.15)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-10, 10), seed=st.integers(0, 2**16))
def test_wasserstein_is_the_distance_of_a_shift(shift, seed):
    field = field_of(gaussian((9, 7), seed=seed))
    assert wasserstein(field, field + shift) == pytest.approx(abs(shift), rel=1e-9, abs=1e-12)
    assert wasserstein(field, field[:, ::-1]) == pytest.approx(0, abs=1e-12)


def test_wasserstein_of_two_widths():
    a, b = field_of(gaussian((300, 300), mean=0, sigma=1)), field_of(gaussian((300, 300), seed=1, mean=0, sigma=1.5))
    assert wasserstein(a, b) == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.02)
    with pytest.raises(ValueError, match="same units"):
        wasserstein(a, b.assign_attrs(units="mK"))


def naive_peaks(values, periodic):
    """Count by looking at every pixel and every neighbor."""
    heights = []
    for place in np.ndindex(values.shape):
        higher = True
        for offset in np.ndindex(*(3,) * values.ndim):
            step = np.array(offset) - 1
            there = np.array(place) + step
            if periodic:
                there %= values.shape
            inside = np.all((there >= 0) & (there < values.shape))
            if step.any() and inside:
                higher &= values[place] > values[tuple(there)]
        if higher:
            heights.append(values[place])
    return np.array(heights)


@pytest.mark.parametrize("shape", [(31,), (11, 8), (5, 6, 4)])
@pytest.mark.parametrize("boundary", ["periodic", "zero"])
def test_peaks_equal_a_search_pixel_by_pixel(shape, boundary):
    field = field_of(gaussian(shape, samples=3), boundary)
    levels = [-100.0, 4.0, 6.0, 8.0]
    expected = [[np.sum(naive_peaks(v, boundary == "periodic") > level) for level in levels] for v in field.values]
    found = peak_counts(field, levels)
    np.testing.assert_array_equal(found, expected)
    assert found.threshold.attrs["units"] == "K"


@pytest.mark.parametrize("shape", [(31,), (11, 8), (5, 6, 4)])
@pytest.mark.parametrize("boundary", ["periodic", "zero"])
def test_minima_equal_a_search_pixel_by_pixel_and_peaks_of_the_field_turned_over(shape, boundary):
    field = field_of(gaussian(shape, samples=3), boundary)
    levels = [100.0, 2.0, 6.0, 4.0]  # in any order
    expected = [[np.sum(-naive_peaks(-v, boundary == "periodic") < level) for level in levels] for v in field.values]
    found = minimum_counts(field, levels)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, peak_counts(-field, [-level for level in levels]))
    assert found.threshold.values.tolist() == levels
    assert found.threshold.attrs["units"] == "K"
    assert list(found.group) == [0, 1, 2]


@pytest.mark.parametrize("counts", [peak_counts, minimum_counts])
def test_plateaus_and_heights_at_the_threshold_do_not_count(counts):
    sign = 1 if counts is peak_counts else -1
    values = sign * np.array([[0.0, 2.0, 2.0, 0.0, 3.0, 0.0, 1.0, 0.0], [0.0] * 8])
    found = counts(field_of(values), [0.0, sign * 1.0, sign * 3.0, sign * 2.5])
    np.testing.assert_array_equal(found, [[2, 1, 0, 1], [0, 0, 0, 0]])


def test_minima_of_channels_are_counted_each_by_itself():
    values = gaussian((3, 8, 9)).reshape(4, 3, 8, 9)
    field = xr.DataArray(values, dims=("sample", "channel", "y", "x")).transpose("y", "sample", "x", "channel")
    found = minimum_counts(field, [4.0, 6.0])
    assert found.dims == ("sample", "channel", "threshold")
    for i in range(3):
        np.testing.assert_array_equal(found[:, i], minimum_counts(field.isel(channel=i), [4.0, 6.0]))


def test_peaks_and_minima_of_two_sets_are_scored_at_their_heights():
    real, generated = (field_of(gaussian((24, 24), samples=20, seed=seed)) for seed in (0, 1))
    views = Views.of(real, generated, None)
    statistic = Peaks.of(views)
    ours, theirs = (measure([statistic], each)[0] for each in (real, generated))
    first, second = halves(np.arange(20), 30, np.random.default_rng(0))
    subsets = weights(first, 20), weights(second, 20), weights(second, 20)
    parts = Parts.of(statistic, (ours, theirs), (np.arange(20), np.arange(20)), subsets)
    scores = statistic.scores(ours)
    kinds = [f"{kind}_{height:g}_sigma" for kind in ("peaks", "minima") for height in PEAK_HEIGHTS]
    assert [score.name for score in scores] == kinds
    heights = views.std * np.array(PEAK_HEIGHTS)
    counts = [peak_counts(real, views.mean + heights), minimum_counts(real, views.mean - heights)]
    expected = np.concatenate([each.mean("sample").values for each in counts])
    np.testing.assert_allclose([score.value(parts.real)[0] for score in scores], expected)
    relative = [abs(score.value(parts.generated) / score.value(parts.real) - 1)[0] for score in scores]
    np.testing.assert_allclose([score.distance(parts.generated, parts.real)[0] for score in scores], relative)
    curves = statistic.curves(parts)
    columns = ("real", "generated", "floor_low", "floor_high")
    assert set(curves) == {f"{kind}_{column}" for kind in ("peaks", "minima") for column in columns}
    np.testing.assert_allclose(curves["peaks_real"].sel(threshold=[1, 2, 3]), expected[:3])
    np.testing.assert_allclose(curves["minima_real"].sel(threshold=[-1, -2, -3]), expected[3:])


def test_minima_that_the_real_set_lacks_are_not_scored():
    squares = field_of(gaussian((24, 24), mean=0.0) ** 2)
    statistic = Peaks.of(Views.of(squares, squares, False))
    names = [score.name for score in statistic.scores(measure([statistic], squares)[0])]
    assert names == ["peaks_1_sigma", "peaks_2_sigma", "peaks_3_sigma"]


def test_peaks_of_white_noise_are_one_in_nine_pixels():
    found = peak_counts(field_of(gaussian((200, 200), samples=10)), [-100.0])
    assert float(found.mean()) / 40000 == pytest.approx(1 / 9, rel=0.02)


def test_periodic_peaks_ignore_rolls():
    field = field_of(gaussian((16, 12)))
    rolled = field.roll(x=5, y=-3, roll_coords=False)
    np.testing.assert_array_equal(peak_counts(field, [4, 6]), peak_counts(rolled, [4, 6]))


def test_channels_are_kept():
    values = gaussian((3, 8, 8)).reshape(4, 3, 8, 8)
    field = xr.DataArray(values, dims=("sample", "channel", "y", "x"))
    assert pdf(field, 5).dims == ("sample", "channel", "value")
    np.testing.assert_allclose(quantiles(field, 1.0)[2, 1, 0], values[2, 1].max())
    assert moments(field)["std"].dims == ("sample", "channel")


def test_what_cannot_be_measured_is_refused_in_words():
    field = field_of(gaussian((8, 8)))
    with pytest.raises(ValueError, match="edges of the bins must rise"):
        pdf(field, [1, 0])
    with pytest.raises(ValueError, match="all values of 'field' are 1"):
        pdf(xr.ones_like(field), 10)
    field.values[3, 0, 0] = np.nan
    for statistic in (
        lambda f: pdf(f, [0, 1]),
        moments,
        lambda f: peak_counts(f, [0]),
        lambda f: minimum_counts(f, [0]),
        lambda f: quantiles(f, 0.5),
    ):
        with pytest.raises(ValueError, match="sample 3 of 'field' has 1 values that are not finite"):
            statistic(field)
