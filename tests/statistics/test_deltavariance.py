"""The Δ-variance beside sums in real space, integrals over P(k), and power laws."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import delta_variance
from sciffusion.statistics.deltavariance import DeltaVariance
from sciffusion.statistics.extent import Views
from sciffusion.statistics.statistic import Parts, measure


def labelled(values, boundary="periodic", spacings=(1.0, 1.0, 1.0), mask=None, channel=False):
    dims = ("z", "y", "x")[-(values.ndim - 1 - channel) :]
    coords = {
        dim: (dim, np.arange(n) * spacing, {"units": "deg", "boundary": boundary})
        for dim, n, spacing in zip(dims, values.shape[1 + channel :], spacings)
    }
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    dims = ("sample", *(("channel",) if channel else ()), *dims)
    return xr.DataArray(values, dims=dims, coords=coords, name="map", attrs={"units": "mag"})


def gaussian(shape, samples, power, seed):
    """Periodic fields of unit pixels, each mode of variance P(k) times the number of pixels; and k."""
    axes = tuple(range(1, len(shape) + 1))
    grids = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij", sparse=True)
    k = np.sqrt(sum(np.square(grid) for grid in grids))
    amplitude = np.sqrt(np.where(k > 0, power(np.where(k > 0, k, 1.0)), 0))
    noise = np.fft.fftn(np.random.default_rng(seed).normal(size=(samples, *shape)), axes=axes)
    return np.fft.ifftn(noise * amplitude, axes=axes).real, amplitude**2, k


def profiles(kernel, distance, lag, ratio, pixel):
    """Core and ring at a distance, from their definitions."""
    if kernel == "mexican_hat":
        core, whole = (np.exp(-((distance / (lag / 2 * each)) ** 2)) for each in (1, ratio))
    else:
        core, whole = (np.clip((lag / 2 * each - distance) / pixel + 0.5, 0, 1) for each in (1, ratio))
    return core, whole - core


def brute_force(values, good, spacings, periodic, lag, kernel, ratio):
    """Filter by the sum over all pixels, and their images in periodic boxes, one place after the other."""
    places = list(itertools.product(*(range(n) for n in values.shape)))
    lengths = np.array(values.shape) * spacings
    images = list(itertools.product((-2, -1, 0, 1, 2), repeat=values.ndim)) if periodic else [(0,) * values.ndim]
    squares = weights = 0.0
    for here in places:
        sums = np.zeros((2, 2))
        norms = np.zeros(2)
        for there in places:
            steps = (np.subtract(there, here) * spacings) + np.array(images) * lengths
            pair = np.sum(profiles(kernel, np.sqrt((steps**2).sum(axis=1)), lag, ratio, max(spacings)), axis=1)
            norms += pair
            sums[0] += pair * good[there] * values[there]
            sums[1] += pair * good[there]
        if (sums[1] > 1e-9 * norms).all():
            means = sums[0] / sums[1]
            squares += (means[0] - means[1]) ** 2 * sums[1].prod()
            weights += sums[1].prod()
    return squares / weights


@pytest.mark.parametrize("kernel", ["mexican_hat", "french_hat"])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "spacings"), [((17,), (0.5,)), ((7, 8), (0.5, 0.75)), ((3, 3, 4), (1.0, 1.0, 1.0))])
def test_it_is_the_sum_over_all_pixels(shape, spacings, masked, boundary, kernel):
    rng = np.random.default_rng(0)
    values = rng.normal(1e3, 1.0, (2, *shape))
    mask = rng.random((2, *shape)) < 0.3 if masked else np.zeros((2, *shape), bool)
    lag = 0.6 * min(n * s for n, s in zip(shape, spacings))
    field = labelled(values, boundary, spacings, mask if masked else None)
    found = delta_variance(field, [lag], kernel=kernel, ratio=1.4)
    for i in range(2):
        expected = brute_force(values[i], ~mask[i], spacings, boundary == "periodic", lag, kernel, 1.4)
        assert float(found[i, 0]) == pytest.approx(expected, rel=1e-8)
    assert found.attrs["units"] == "mag^2"
    assert found.lag.attrs["units"] == "deg"
    if not masked and boundary == "periodic":
        np.testing.assert_allclose(found.weight, 1)


@pytest.mark.parametrize("shape", [(33,), (12, 15), (8, 6, 7)])
def test_a_whole_field_beside_one_with_a_hole_is_as_alone(shape):
    """Two ways of computing one number: by Parseval's sum, and with weights."""
    values = np.random.default_rng(1).normal(size=(2, *shape))
    mask = np.zeros(values.shape, bool)
    mask[1].flat[3] = True
    for kernel in ("mexican_hat", "french_hat"):
        pair = delta_variance(labelled(values, mask=mask), kernel=kernel)
        np.testing.assert_allclose(pair[0], delta_variance(labelled(values), kernel=kernel)[0], rtol=1e-10)
        np.testing.assert_allclose(pair.weight[0], 1)
        assert not np.allclose(pair[1], delta_variance(labelled(values), kernel=kernel)[1], rtol=1e-6)


def test_values_under_the_mask_do_not_matter_and_nothing_is_nothing():
    values = np.random.default_rng(2).normal(size=(3, 12, 10))
    mask = np.random.default_rng(3).random(values.shape) < 0.3
    mask[1] = True
    first = delta_variance(labelled(values, "reflect", mask=mask))
    values[mask] = 1e6
    second = delta_variance(labelled(values, "reflect", mask=mask))
    np.testing.assert_allclose(second, first, rtol=1e-9)
    assert np.isnan(first[1]).all()
    assert (first.weight[1] == 0).all()
    assert np.isfinite(first[0]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 30), st.floats(-1e3, 1e3), st.floats(0.1, 10), st.integers(0, 99))
def test_an_offset_is_not_seen_and_a_factor_enters_squared(n, offset, factor, seed):
    values = np.random.default_rng(seed).normal(size=(1, n))
    for boundary in ("reflect", "periodic"):
        one, other = (delta_variance(labelled(v, boundary)) for v in (values, offset + factor * values))
        np.testing.assert_allclose(other, factor**2 * one, rtol=1e-6, atol=1e-9)


def white_noise(lag, ndim, ratio):
    """The integral of the squared Mexican hat: (v^n / (v^n - 1))² ∫ (G_s - G_vs)², G_s a Gaussian exp(-r²/s²)."""
    s, v = lag / 2, ratio
    overlap = [(np.pi * squares) ** (-ndim / 2) for squares in (2 * s**2, 2 * (v * s) ** 2, (1 + v**2) * s**2)]
    return (v**ndim / (v**ndim - 1)) ** 2 * (overlap[0] + overlap[1] - 2 * overlap[2])


@pytest.mark.parametrize("ratio", [1.5, 3.0])
@pytest.mark.parametrize(("shape", "samples"), [((4096,), 300), ((96, 80), 150), ((32, 30, 28), 60)])
def test_white_noise_has_the_integral_of_the_squared_filter(shape, samples, ratio):
    values = np.random.default_rng(4).normal(5, 3.0, (samples, *shape))
    lags = np.array([4.0, 6.0, 8.0])
    found = delta_variance(labelled(values), lags, ratio=ratio).mean("sample")
    np.testing.assert_allclose(found, 9 * white_noise(lags, len(shape), ratio), rtol=0.03)
    slope = np.polyfit(np.log(lags), np.log(found), 1)[0]
    assert slope == pytest.approx(-len(shape), abs=0.06)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("masked", [False, True])
def test_white_noise_keeps_its_level_at_edges_and_holes_within_their_correlation(masked, boundary):
    """Weights undo the loss of pixels; a core and a ring of fewer pixels scatter more, by no more than they lost."""
    values = np.random.default_rng(5).normal(0, 3.0, (80, 64, 60))
    mask = np.zeros(values.shape, bool)
    mask[:, 20:30, 10:35] = masked
    lags = np.array([4.0, 6.0, 8.0])
    found = delta_variance(labelled(values, boundary, mask=mask), lags).mean("sample")
    excess = found / (9 * white_noise(lags, 2, 1.5))
    assert (excess > 0.97).all()
    assert (excess < 1.2).all()


@pytest.mark.parametrize("exponent", [0.0, 1.5, 3.0])
@pytest.mark.parametrize(("shape", "samples"), [((1024,), 600), ((64, 60), 300), ((24, 20, 22), 100)])
def test_its_mean_is_the_sum_of_the_power_under_the_squared_transform(shape, samples, exponent):
    """Exactly, in a periodic box: with the transforms of Gaussians in closed form."""
    values, power, k = gaussian(shape, samples, lambda k: k**-exponent, seed=6)
    ndim, v, lags = len(shape), 1.5, np.array([4.0, 5.5, 8.0])
    expected = []
    for s in lags / 2:
        core, whole = np.exp(-((k * s) ** 2) / 4), np.exp(-((k * v * s) ** 2) / 4)
        ring = (v**ndim * whole - core) / (v**ndim - 1)
        expected.append((power * (core - ring) ** 2).sum() / k.size)
    found = delta_variance(labelled(values), lags)
    error = found.std("sample") / np.sqrt(samples)
    assert (abs(found.mean("sample") - expected) < 4 * error + 2e-3 * np.array(expected)).all()
    assert (error / found.mean("sample") < 0.04).all()


POWER_LAWS = [((4096,), 2.0), ((256, 256), 3.0), ((256, 256), 2.4), ((64, 64, 64), 11 / 3)]


@pytest.mark.parametrize(("shape", "exponent"), POWER_LAWS)
def test_a_power_law_has_its_exponent_less_the_dimensions_also_in_open_patches(shape, exponent):
    boxes, _, _ = gaussian(shape, 6, lambda k: k**-exponent, seed=7)
    half = tuple(slice(0, n // 2) for n in shape)
    for field in (labelled(boxes), labelled(boxes[(slice(None), *half)], "reflect")):
        lags = np.geomspace(4, max(shape[0] / 20, 8), 5)
        found = delta_variance(field, lags).mean("sample")
        slope = np.polyfit(np.log(lags), np.log(found), 1)[0]
        assert slope == pytest.approx(exponent - len(shape), abs=0.1)


@pytest.mark.parametrize(("shape", "exponent"), POWER_LAWS)
def test_the_sharp_edges_of_a_french_hat_need_ten_pixels(shape, exponent):
    boxes, _, _ = gaussian(shape, 6, lambda k: k**-exponent, seed=7)
    lags = np.geomspace(10, max(shape[0] / 8, 20), 8)
    found = delta_variance(labelled(boxes), lags, kernel="french_hat").mean("sample")
    slope = np.polyfit(np.log(lags), np.log(found), 1)[0]
    assert slope == pytest.approx(exponent - len(shape), abs=0.15)


def test_channels_single_fields_and_default_lags():
    values = np.random.default_rng(8).normal(size=(3, 2, 12, 16))
    both = labelled(values, "reflect", channel=True).assign_coords(group=("sample", [1, 1, 2]))
    found = delta_variance(both.transpose("sample", "y", "channel", "x"))
    assert found.dims == ("sample", "channel", "lag")
    assert list(found.group) == [1, 1, 2]
    one = labelled(values[:, 0], "reflect")
    np.testing.assert_allclose(found.isel(channel=0), delta_variance(one), rtol=1e-12)
    alone = delta_variance(one.isel(sample=1))
    assert alone.dims == ("lag",)
    np.testing.assert_allclose(alone, found.isel(channel=0, sample=1), rtol=1e-12)
    assert (found.lag[0], found.lag[-1], found.lag.size) == (2, 6, 12)
    np.testing.assert_allclose(np.diff(np.log(found.lag)), np.log(3) / 11)


def test_what_cannot_be_measured_is_refused_in_words():
    field = labelled(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="unknown kernel 'top_hat'; known are 'mexican_hat', 'french_hat'"):
        delta_variance(field, kernel="top_hat")
    with pytest.raises(ValueError, match="ratio > 1, not 1"):
        delta_variance(field, ratio=1.0)
    for lags in ([6.0], [0.0], [np.nan]):
        with pytest.raises(ValueError, match="fit into the shortest side of 'map', 8 deg"):
            delta_variance(field, lags)
    with pytest.raises(ValueError, match=r"'map' has \(3,\) pixels: too few"):
        delta_variance(labelled(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="sample 1 of 'map' has 1 values that are not finite"):
        delta_variance(labelled(np.array([[0.0] * 8, [np.nan] + [0.0] * 7])))


def compared(real, generated, splits=8):
    views = Views.of(real, generated, None)
    statistic = DeltaVariance.of(real, views)
    samples = tuple(measure([statistic], each)[0] for each in (real, generated))
    number = real.sizes["sample"]
    first = np.array([np.random.default_rng(i).permutation(number) < number // 2 for i in range(splits)]) * 2.0 / number
    groups = np.arange(number), np.arange(generated.sizes["sample"])
    second = 2 / number - first
    parts = Parts.of(statistic, samples, groups, (first, second, first, first, second))
    (score,) = statistic.scores(samples[0])
    return statistic, parts, score


@pytest.mark.parametrize("shape", [(64,), (20, 24), (10, 9, 8)])
def test_two_sets_are_compared_by_the_mean_relative_difference(shape):
    rng = np.random.default_rng(9)
    values, mask = rng.normal(size=(2, 20, *shape)), rng.random((20, *shape)) < 0.1
    mask[3] = True
    real, other = (labelled(v, "reflect", mask=mask) for v in values)
    DeltaVariance.check(real)
    statistic, parts, score = compared(real, 1.1 * real)
    assert score.name == "delta_variance"
    np.testing.assert_allclose(score.distance(parts.generated, parts.real), 0.21, rtol=1e-9)
    np.testing.assert_allclose(score.value(parts.generated), 1.21 * score.value(parts.real), rtol=1e-9)
    curves = statistic.curves(parts)
    assert curves.sizes == {"lag": 12}
    assert curves["real"].attrs["units"] == score.units == "mag^2"
    np.testing.assert_allclose(curves.ratio, 1.21, rtol=1e-9)
    assert (curves.floor_low < curves.floor_high).all()
    # the mean over all samples is that of all their weights
    found = delta_variance(real)
    pooled = (found * found.weight).sum("sample") / found.weight.sum("sample")
    np.testing.assert_allclose(curves["real"], pooled, rtol=1e-12)
    _, parts, score = compared(real, other)
    assert 0 < score.distance(parts.generated, parts.real)[0] < 0.5
