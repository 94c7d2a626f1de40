"""Scattering coefficients beside filters made in space, those of Kymatio, and the moduli of Gaussian fields."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.special
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics.extent import Views
from sciffusion.statistics.scatteringtransform import Scattering, scattering
from sciffusion.statistics.statistic import Parts


def labelled(values, spacings=None, boundary="periodic", mask=None):
    dims = ("w", "z", "y", "x")[-(values.ndim - 1) :]
    coords = {
        dim: (dim, np.arange(n) * spacing, {"units": "Mpc", "boundary": boundary})
        for dim, n, spacing in zip(dims, values.shape[1:], spacings or (1.0,) * len(dims))
    }
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": "K"})


def morlet(shape, spacings, j, vector):
    """The transform of a Morlet filter that is made in space, with its periodic images."""
    pixel, sigma = max(spacings), 0.8 * 2**j
    direction = 0.75 * np.pi / 2**j * np.array(vector) / np.linalg.norm(vector)
    low, wave = np.ones(()), np.ones(())
    for n, spacing, xi in zip(shape, spacings, direction):
        images = spacing / pixel * (np.arange(n) + n * np.arange(-4, 5)[:, None])
        envelope = np.exp(-0.5 * (images / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma * spacing / pixel
        low = np.multiply.outer(low, envelope.sum(axis=0))
        wave = np.multiply.outer(wave, (envelope * np.exp(1j * xi * images)).sum(axis=0))
    return np.fft.fftn(wave - wave.sum() / low.sum() * low)


def plain(values, filters):
    """S1 and S2 of one sample by full transforms; `filters` by j and l."""

    def passed(x, psi):
        return np.abs(np.fft.ifftn(np.fft.fftn(x) * psi))

    found = {}
    for (j1, bank), l1 in itertools.product(enumerate(filters), range(len(filters[0]))):
        modulus = passed(values, bank[l1])
        found[j1, l1, -1, -1] = modulus.mean()
        for j2, l2 in itertools.product(range(j1 + 1, len(filters)), range(len(bank))):
            found[j1, l1, j2, l2] = passed(modulus, filters[j2][l2]).mean()
    return found


def keys_of(found):
    return list(zip(*(found[name].values.tolist() for name in ("j1", "l1", "j2", "l2"))))


def vectors_of(found):
    return [tuple(int(each) for each in vector.split()) for vector in found.attrs["directions"].split(";")]


def rough(shape, number, exponent, seed=0):
    """Exponentials of Gaussian fields: skewed, with power at all scales."""
    axes = tuple(range(1, len(shape) + 1))
    k = np.sqrt(sum(np.square(m) for m in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    amplitude = np.where(k > 0, np.where(k > 0, k, 1) ** (exponent / 2), 0)
    white = np.random.default_rng(seed).normal(size=(number, *shape))
    values = np.fft.ifftn(np.fft.fftn(white, axes=axes) * amplitude, axes=axes).real
    return np.exp(values / values.std())


GRIDS = [((64,), (0.5,)), ((45,), (1.0,)), ((32, 32), (1.0, 1.0)), ((33, 40), (1.0, 0.5)), ((16, 17, 18), (1.0,) * 3)]


@pytest.mark.parametrize(("shape", "spacings"), GRIDS)
def test_it_is_the_mean_modulus_of_what_the_filters_pass(shape, spacings):
    values = rough(shape, 2, -1.0)
    exact, fast = (scattering(labelled(values, spacings), exact=each) for each in (True, False))
    scales = int(exact.j1.max()) + 1
    assert 2**scales <= min(np.array(shape) * spacings) / max(spacings) / 4 < 2 ** (scales + 1)
    filters = [[morlet(shape, spacings, j, v) for v in vectors_of(exact)] for j in range(scales)]
    assert len(filters[0]) == (3 ** len(shape) - 1) // 2
    for sample in range(2):
        expected = plain(values[sample] - values[sample].mean(), filters)
        np.testing.assert_allclose(exact[sample], [expected[key] for key in keys_of(exact)], rtol=1e-9)
        np.testing.assert_allclose(fast[sample], exact[sample], rtol=1e-3)


@pytest.mark.parametrize(("shape", "scales"), [((32, 32), 3), ((48, 40), 3), ((64, 64), 4)])
def test_it_agrees_with_kymatio(shape, scales):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        bank = pytest.importorskip("kymatio.scattering2d.filter_bank")
        made = bank.filter_bank(*shape, scales, L=4)["psi"]
    values = rough(shape, 2, -2.0)
    found = scattering(labelled(values), scales)
    # theta of its number l, along the first axis at 0; a wave and its opposite have one modulus
    angles = [np.arctan2(*vector[::-1]) for vector in vectors_of(found)]
    filters = [[None] * 4 for _ in range(scales)]
    for psi in made:
        theta = (1 - psi["theta"]) * np.pi / 4
        (own,) = [i for i, angle in enumerate(angles) if abs(np.sin(angle - theta)) < 1e-9]
        filters[psi["j"]][own] = psi["levels"][0]
    for sample in range(2):
        expected = plain(values[sample] - values[sample].mean(), filters)
        np.testing.assert_allclose(found[sample], [expected[key] for key in keys_of(found)], rtol=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (256,), (24, 24, 24)])
def test_fewer_pixels_make_no_difference(shape):
    """Root mean square over coefficients and samples, and the isotropic ones at most."""
    field = labelled(rough(shape, 2 if len(shape) > 2 else 10, -1.0))
    exact, fast = (scattering(field, exact=each) for each in (True, False))
    assert float(((fast / exact - 1) ** 2).mean()) ** 0.5 < 3e-4
    exact, fast = (scattering(field, exact=each, isotropic=True) for each in (True, False))
    np.testing.assert_allclose(fast, exact, rtol=1e-3)


@pytest.mark.parametrize("shape", [(128,), (32, 32), (16, 16, 16)])
def test_first_order_of_a_gaussian_field(shape):
    r"""A complex Gaussian field of variances a, b of its two parts has the mean modulus sqrt(2a/π) E(1 - b/a), and
    sqrt(π)/2 σ where they are equal; near the highest frequencies of the grid they are not quite."""
    number = 200
    white = np.random.default_rng(1).normal(size=(number, *shape))
    found = scattering(labelled(white), 2)
    filters = [[morlet(shape, (1.0,) * len(shape), j, v).real for v in vectors_of(found)] for j in range(2)]
    opposite = np.ix_(*(-np.arange(n) % n for n in shape))
    for i, (j1, l1, j2, _) in enumerate(keys_of(found)):
        if j2 >= 0:
            continue
        psi = filters[j1][l1]
        total, pseudo = (psi**2).mean(), (psi * psi[opposite]).mean()
        a, b = (total + abs(pseudo)) / 2, (total - abs(pseudo)) / 2
        expected = np.sqrt(2 * a / np.pi) * scipy.special.ellipe(1 - b / a)
        assert expected == pytest.approx(np.sqrt(np.pi * total) / 2, rel=0.05)
        error = float(found[:, i].std()) / number**0.5
        # the mean of a finite sample is taken out, but the filters pass none of it
        assert float(found[:, i].mean()) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("shape", [(64,), (24, 30), (12, 12, 14)])
def test_isotropic_coefficients_are_averages_over_directions(shape):
    field = labelled(rough(shape, 3, -1.0))
    each, average = scattering(field), scattering(field, isotropic=True)
    unit = np.array(vectors_of(each), dtype=float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for i in range(average.sizes["coefficient"]):
        j1, j2, cosine = (average[name].values[i] for name in ("j1", "j2", "cosine"))
        own = (each.j1 == j1) & (each.j2 == j2)
        if j2 >= 0:
            own &= np.abs(np.abs((unit[each.l1] * unit[each.l2]).sum(axis=1)) - cosine) < 1e-6
        else:
            assert np.isnan(cosine)
        np.testing.assert_allclose(average[:, i], each[:, own.values].mean("coefficient"), rtol=1e-12)
    assert float(average.l1.max()) == float(average.l2.max()) == -1


def test_numbers_of_coefficients():
    maps = labelled(rough((64, 64), 1, -1.0))
    assert scattering(maps).sizes["coefficient"] == 4 * 4 + 16 * 6
    assert scattering(maps, 5, isotropic=True).sizes["coefficient"] == 5 + 3 * 10
    assert scattering(labelled(np.random.default_rng(0).normal(size=(1, 600)))).sizes["coefficient"] == 6 + 15
    boxes = scattering(labelled(np.random.default_rng(0).normal(size=(1, 32, 32, 32))), isotropic=True)
    assert boxes.sizes["coefficient"] == 3 + 7 * 3
    np.testing.assert_allclose(scattering(maps, 2, isotropic=True).scale, 8 / 3 * np.array([1, 2, 1, 1, 1]))


@settings(max_examples=15, deadline=None)
@given(st.integers(16, 24), st.floats(-1e2, 1e2), st.floats(1e-30, 1e30), st.integers(0, 99))
def test_rolls_and_offsets_are_not_seen_and_a_factor_is(n, offset, factor, seed):
    values = np.random.default_rng(seed).normal(size=(1, n, n + 3))
    one = scattering(labelled(values), exact=True)
    rolled = scattering(labelled(np.roll(values, (3, 5), axis=(1, 2))), exact=True)
    np.testing.assert_allclose(rolled, one, rtol=1e-10)
    np.testing.assert_allclose(scattering(labelled(values + offset), exact=True), one, rtol=1e-9)
    for exact in (True, False):
        same = scattering(labelled(values), exact=exact)
        np.testing.assert_allclose(scattering(labelled(-factor * values), exact=exact), factor * same, rtol=1e-5)


def test_a_sample_does_not_depend_on_those_beside_it():
    values = rough((24, 24), 3, -1.0) * np.array([1.0, 1e30, 1e-20])[:, None, None]
    together = scattering(labelled(values))
    for i in range(3):
        np.testing.assert_allclose(together[i], scattering(labelled(values[i : i + 1]))[0], rtol=1e-5)


@pytest.mark.parametrize(("shape", "number"), [((300,), 200), ((64, 64), 50), ((32, 32, 32), 10)])
def test_a_window_keeps_the_first_order_of_white_noise(shape, number):
    """Less what the filter spreads from where the window is high to where it is low: of second order in its width."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(number, *shape))
    whole = scattering(labelled(values), 1)
    hann = scattering(labelled(values, boundary="reflect"), 1, window="hann")
    assert float(hann.mean()) == pytest.approx(float(whole.mean()), rel=0.03)
    np.testing.assert_array_equal(scattering(labelled(values, boundary="reflect"), 1), whole)
    # one hole: what is left has the strength of the whole, but for the border of the hole
    mask = np.zeros(values.shape, bool)
    mask[:, : shape[0] // 4] = True
    masked = scattering(labelled(np.where(mask, 7e3, values), mask=mask), 1)
    assert float(masked.mean()) == pytest.approx(float(whole.mean()), rel=0.05)


def test_labels_channels_and_single_fields():
    values = np.random.default_rng(5).normal(size=(3, 2, 16, 16))
    field = labelled(values[:, 0]).assign_coords(group=("sample", [1, 2, 3]))
    both = xr.concat([field, field.copy(data=values[:, 1])], dim="channel").transpose("sample", "y", "channel", "x")
    found = scattering(both)
    assert found.dims == ("sample", "channel", "coefficient")
    assert found.attrs["units"] == "K"
    assert found.scale.attrs["units"] == "Mpc"
    assert list(found.group) == [1, 2, 3]
    np.testing.assert_allclose(found.isel(channel=0), scattering(field), rtol=1e-6)
    one = scattering(field.isel(sample=1))
    assert one.dims == ("coefficient",)
    np.testing.assert_allclose(one, found.isel(channel=0, sample=1), rtol=1e-6)


def test_what_cannot_be_measured_is_refused():
    field = labelled(np.random.default_rng(7).normal(size=(2, 24, 24)))
    with pytest.raises(
        ValueError, match=r"shortest side of 'map' is 24 pixels of the largest spacing; 5 scales need 32"
    ):
        scattering(field, 5)
    with pytest.raises(ValueError, match=r"is 7 pixels .* need 8"):
        scattering(field.isel(x=slice(7)))
    with pytest.raises(ValueError, match="unknown window"):
        scattering(field, window="box")
    with pytest.raises(ValueError, match="sample 1 of 'map' has 1 values"):
        scattering(field.where((field.sample != 1) | (field.x > 0) | (field.y > 0)))
    bad = labelled(field.values, mask=np.arange(2)[:, None, None] * np.ones((2, 24, 24), bool))
    with pytest.raises(ValueError, match="sample 1 of 'map' has no good pixel"):
        scattering(bad)


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
@pytest.mark.parametrize("shape", [(64,), (24, 32), (12, 12, 12)])
def test_a_comparison_by_it(shape, boundary):
    rng = np.random.default_rng(8)
    real = labelled(rough(shape, 80, -1.0), boundary=boundary)
    generated = labelled(rough(shape, 80, -2.0, seed=1), boundary=boundary)
    views = Views.of(real, generated, None)
    statistic = Scattering.of(real, views)
    samples = tuple(statistic.measure(part) for part in (real, generated))
    isotropic = scattering(views.values(real), isotropic=True, window="hann")
    first = isotropic[:, isotropic.order.values == 1]
    second = isotropic[:, isotropic.order.values == 2]
    expected = np.concatenate([np.log(first), np.log(second / first.values[:, second.j1])], axis=1)
    np.testing.assert_allclose(samples[0]["features"], expected, atol=1e-5)
    half = rng.permuted(np.tile(np.repeat([0.0, 2 / 80], 40), (20, 1)), axis=1)
    parts = Parts.of(statistic, samples, (np.arange(80), np.arange(80)), (half, 2 / 80 - half, half))
    scores = {score.name: score for score in statistic.scores(samples[0])}
    score = scores["frechet_scattering"]
    floor, found = score.distance(parts.second, parts.first), score.distance(parts.drawn, parts.first)
    assert found.mean() > np.quantile(floor, 0.95)
    curves = statistic.curves(parts)
    assert curves["real"].dims == ("scale",)
    assert curves["real"].attrs["units"] == "dex"
    np.testing.assert_allclose(curves["scale"], 8 / 3 * 2.0 ** np.arange(curves.sizes["scale"]))
    np.testing.assert_allclose(curves["real"], np.exp(np.log(first).mean("sample")), rtol=1e-5)
    np.testing.assert_allclose(curves["ratio"], curves["generated"] / curves["real"])
    assert (curves["floor_low"] <= curves["real"]).all()
    assert (curves["floor_high"] >= curves["real"]).all()


def test_a_constant_sample_has_finite_features():
    real = labelled(rough((16, 16), 20, -1.0))
    views = Views.of(real, real, None)
    statistic = Scattering.of(real, views)
    features = statistic.measure(xr.ones_like(real))["features"]
    assert np.isfinite(features).all()


def test_check_refuses_fields_that_are_too_small():
    Scattering.check(labelled(np.zeros((1, 8, 8))))
    with pytest.raises(ValueError, match="need 8"):
        Scattering.check(labelled(np.zeros((1, 8, 6))))
