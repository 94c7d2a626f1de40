"""Structure functions beside the sum over all pairs, and closed forms."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import structure_function


def labelled(values, boundary, spacings, mask=None):
    dims = ("z", "y", "x")[-(values.ndim - 1) :]
    coords = {
        dim: (dim, np.arange(n) * spacing, {"units": "deg", "boundary": boundary})
        for dim, n, spacing in zip(dims, values.shape[1:], spacings)
    }
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": "mag"})


def brute_force(values, good, spacings, periodic, edges):
    """All pairs, one by one: mean squared difference, mean distance and number in bins of distance."""
    places = list(itertools.product(*(range(n) for n in values.shape)))
    squares, distances, numbers = (np.zeros(len(edges) - 1) for _ in range(3))
    longest = 0.5 * min(n * s for n, s in zip(values.shape, spacings))
    for a, b in itertools.combinations(places, 2):
        if not (good[a] and good[b]):
            continue
        steps = np.abs(np.subtract(a, b))
        if periodic:
            steps = np.minimum(steps, np.array(values.shape) - steps)
        distance = float(np.sqrt(((steps * spacings) ** 2).sum()))
        if distance > longest * (1 + 1e-9):
            continue
        i = int(np.searchsorted(edges, distance, side="right")) - 1
        squares[i] += (values[a] - values[b]) ** 2
        distances[i] += distance
        numbers[i] += 1
    return squares, distances, numbers


def edges_of(shape, spacings):
    step, longest = min(spacings), 0.5 * min(n * s for n, s in zip(shape, spacings))
    centers = np.unique(np.rint(np.geomspace(1, max(longest / step, 1), 24)))
    return step * np.array([0.5, *(centers[1:] + centers[:-1]) / 2, centers[-1] + 0.5])


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "spacings"), [((17,), (0.5,)), ((9, 8), (0.5, 0.5)), ((8, 10), (0.5, 0.75)), ((5, 4, 6), (1.0, 1.0, 1.0))]
)
def test_it_is_the_sum_over_all_pairs(shape, spacings, masked, boundary):
    rng = np.random.default_rng(0)
    values = rng.normal(1e3, 1.0, (2, *shape))
    mask = rng.random((2, *shape)) < 0.3 if masked else np.zeros((2, *shape), bool)
    found = structure_function(labelled(values, boundary, spacings, mask if masked else None))
    edges = edges_of(shape, spacings)
    for i in range(2):
        squares, _, numbers = brute_force(values[i], ~mask[i], spacings, boundary == "periodic", edges)
        full = brute_force(values[i], np.ones(shape, bool), spacings, boundary == "periodic", edges)
        used = full[2] > 0
        np.testing.assert_array_equal(found.pairs[i], numbers[used])
        there = numbers[used] > 0
        np.testing.assert_allclose(found[i][there], (squares[used] / np.maximum(numbers[used], 1))[there], rtol=1e-9)
        assert np.isnan(found[i].values[~there]).all()
    assert found.attrs["units"] == "mag^2"
    assert found.lag.attrs["units"] == "deg"


def test_values_under_the_mask_do_not_matter():
    rng = np.random.default_rng(1)
    values, mask = rng.normal(size=(3, 20, 20)), rng.random((3, 20, 20)) < 0.2
    garbage = np.where(mask, 1e6, values)
    first, second = (structure_function(labelled(v, "reflect", (1.0, 1.0), mask)) for v in (values, garbage))
    np.testing.assert_allclose(first, second, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 30), st.floats(-1e3, 1e3), st.floats(0.1, 10), st.integers(0, 99))
def test_an_offset_is_not_seen_and_a_factor_enters_squared(n, offset, factor, seed):
    values = np.random.default_rng(seed).normal(size=(1, n))
    field = labelled(values, "reflect", (1.0,))
    one, other = structure_function(field), structure_function(labelled(offset + factor * values, "reflect", (1.0,)))
    np.testing.assert_allclose(other, factor**2 * one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(256,), (48, 48), (16, 16, 16)])
def test_white_noise_has_twice_its_variance_at_all_lags(shape):
    values = np.random.default_rng(2).normal(0, 3.0, (60, *shape))
    found = structure_function(labelled(values, "reflect", (1.0,) * len(shape)))
    pairs = found.pairs.sum("sample")
    np.testing.assert_allclose((found * found.pairs).sum("sample") / pairs, 18.0, rtol=0.05)


def test_a_gaussian_patch_of_known_spectrum_has_the_closed_form():
    r"""S2(r) = 2 sum_k P_k (1 - cos k r), also in patches that are no longer periodic."""
    n, size, exponent = 128, 40, -3.0
    rng = np.random.default_rng(3)
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    amplitude = np.where(k > 0, np.where(k > 0, k, 1) ** (exponent / 2), 0)
    values = np.fft.ifft2(np.fft.fft2(rng.normal(size=(400, n, n))) * amplitude).real[:, :size, :size]
    correlation = np.fft.ifft2(amplitude**2).real  # of unit white noise, at each lag
    exact = 2 * (correlation[0, 0] - correlation)
    found = structure_function(labelled(values, "reflect", (1.0, 1.0))).mean("sample")
    # the mean over the lags of a bin, each by the number of pairs that an open patch has
    steps = np.arange(-size + 1, size)
    distance = np.hypot(steps[:, None], steps[None, :])
    pairs = (size - np.abs(steps))[:, None] * (size - np.abs(steps))[None, :]
    lags = exact[np.ix_(steps % n, steps % n)]
    edges = edges_of((size, size), (1.0, 1.0))
    inside = (distance >= edges[0]) & (distance <= size / 2)
    number = np.searchsorted(edges, distance[inside], side="right") - 1
    expected = np.bincount(number, (lags * pairs)[inside]) / np.bincount(number, pairs[inside])
    np.testing.assert_allclose(found, expected, rtol=0.04)
    # and grows as r^(-exponent - 2), a power law
    small = slice(2, 8)
    slope = np.polyfit(np.log(found.lag[small]), np.log(found[small]), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


def test_channels_and_single_fields_keep_their_labels():
    values = np.random.default_rng(4).normal(size=(3, 2, 12, 12))
    field = labelled(values[:, 0], "reflect", (1.0, 1.0))
    both = xr.concat([field, field.copy(data=values[:, 1])], dim="channel").transpose("sample", "y", "channel", "x")
    found = structure_function(both)
    assert found.dims == ("sample", "channel", "lag")
    np.testing.assert_allclose(found.isel(channel=0), structure_function(field), rtol=1e-12)
    one = structure_function(field.isel(sample=1))
    assert one.dims == ("lag",)
    np.testing.assert_allclose(one, found.isel(channel=0, sample=1), rtol=1e-12)
