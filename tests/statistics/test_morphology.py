"""Minkowski functionals beside balls, waves, brute force on the Hessian, and the closed form of Gaussian fields."""

import math

import numpy as np
import pytest
import xarray as xr

from sciffusion.statistics import gaussian_minkowski, minkowski_functionals
from sciffusion.statistics.extent import Views
from sciffusion.statistics.levelsets import REACH, Axis, curvature_densities
from sciffusion.statistics.morphology import HEIGHTS, Morphology
from sciffusion.statistics.split import halves, weights
from sciffusion.statistics.statistic import Parts, measure

NU = np.linspace(-3, 3, 25)


def field_of(values, boundary="periodic", spacings=None, mask=None):
    dims = ("w", "z", "y", "x")[-(values.ndim - 1) :]
    coords = {
        dim: (dim, np.arange(n) * spacing, {"units": "Mpc/h", "boundary": boundary})
        for dim, n, spacing in zip(dims, values.shape[1:], spacings or (1.0,) * len(dims))
    }
    coords["group"] = ("sample", np.arange(len(values)))
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": "K"})


def gaussian(shape, samples, scale, seed=0, spacings=None):
    """Gaussian fields of unit variance with P(k) ~ exp(-k² scale²), and the mean square of their gradient."""
    spacings = spacings or (1.0,) * len(shape)
    axes = tuple(range(1, len(shape) + 1))
    k = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, s) for n, s in zip(shape, spacings)), indexing="ij", sparse=True)
    k2 = sum(np.square(each) for each in k)
    power = np.where(k2 > 0, np.exp(-k2 * scale**2), 0)
    power /= power.sum()
    noise = np.fft.fftn(np.random.default_rng(seed).normal(size=(samples, *shape)), axes=axes)
    return np.fft.ifftn(noise * np.sqrt(power * power.size), axes=axes).real, float((k2 * power).sum())


def ball(n):
    return math.pi ** (n / 2) / math.gamma(n / 2 + 1)


def hills(shape, radius, scale, samples=8, spacings=None):
    """Round hills that have the height exp(-1/2 (radius / scale)²) at a radius, with centers anywhere in a pixel."""
    spacings = spacings or (1.0,) * len(shape)
    centers = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, len(shape))) + (np.array(shape) - 1) / 2
    squares = [
        sum(np.square((np.arange(n) - c) * s).reshape(-1, *(1,) * (len(shape) - 1 - a)) for a, (n, c, s) in each)
        for each in (list(enumerate(zip(shape, center, spacings))) for center in centers)
    ]
    return np.exp(-0.5 * np.array(squares) / scale**2), math.exp(-0.5 * (radius / scale) ** 2)


@pytest.mark.parametrize(
    ("shape", "samples", "scale", "spacings"),
    [((4095,), 300, 4.0, (1.0,)), ((128, 150), 100, 2.5, (1.0, 0.8)), ((32, 33, 48), 40, 1.5, (1.0, 1.0, 0.7))],
)
def test_gaussian_fields_have_the_closed_form(shape, samples, scale, spacings):
    values, slope = gaussian(shape, samples, scale, spacings=spacings)
    exact = gaussian_minkowski(5 + 2 * NU, 4.0, 4 * slope, len(shape), mean=5.0)
    found = minkowski_functionals(field_of(5 + 2 * values, spacings=spacings), 5 + 2 * NU)
    assert found.dims == ("sample", "functional", "threshold")
    error = found.std("sample") / samples**0.5
    largest = abs(exact).max("threshold")
    assert (error < 0.02 * largest).all()
    # the kernel is wrong by less than a thousandth of the maximum, and the scatter between the samples is known
    departure = abs(found.mean("sample") - exact)
    assert (departure < 4.5 * error + 1e-3 * largest).all()
    assert (departure.mean("threshold") < 2 * error.mean("threshold")).all()


@pytest.mark.slow
def test_gaussian_maps_have_the_closed_form_to_a_thousandth():
    samples, sums, squares = 0, 0.0, 0.0
    for seed in range(24):
        values, slope = gaussian((256, 256), 100, 2.0, seed)
        found = minkowski_functionals(field_of(values), NU)
        samples, sums, squares = samples + 100, sums + found.sum("sample"), squares + (found**2).sum("sample")
    mean = sums / samples
    error = np.sqrt((squares / samples - mean**2) / samples)
    exact = gaussian_minkowski(NU, 1.0, slope, 2)
    largest = abs(exact).max("threshold")
    assert (abs(mean - exact) < 4 * error + 5e-4 * largest).all()
    np.testing.assert_array_less((abs(mean - exact).mean("threshold") / largest), [5e-4, 1e-3, 2e-3])


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
@pytest.mark.parametrize(
    ("shape", "spacings", "radius", "scale", "width", "tolerance"),
    [
        ((1024,), (0.5,), 60.0, 50.0, 0.2, 0.01),
        ((101, 160), (1.0, 0.6), 20.0, 12.0, 0.1, 0.01),
        ((48, 45, 60), (1.0, 1.0, 0.8), 9.0, 5.5, 0.1, 0.01),
        ((24, 24, 23, 24), (1.0,) * 4, 5.0, 2.8, 0.1, 0.03),
    ],
)
def test_a_round_hill_has_the_functionals_of_a_ball(shape, spacings, radius, scale, width, tolerance, boundary):
    samples, n = 24 if len(shape) < 3 else 4, len(shape)
    values, level = hills(shape, radius, scale, samples, spacings)
    found = minkowski_functionals(field_of(values, boundary, spacings), [level], width=width).mean("sample")[:, 0]
    counted = [size if boundary == "periodic" else size - 2 * REACH for size in shape]
    volumes = np.array([np.prod(shape), *[np.prod(counted)] * n]) * np.prod(spacings)
    expected = [ball(n) * radius ** (n - j) / ball(j) for j in range(n + 1)]
    np.testing.assert_allclose(found * volumes, expected, rtol=tolerance)
    assert expected[-1] == pytest.approx(1)  # the Euler characteristic


def test_a_ring_has_a_hole():
    x = np.arange(128) - 63.3
    radius = np.hypot(x[:, None], x)
    ring = np.exp(-0.5 * ((radius - 30) / 8) ** 2)
    for sign, level in ((1, 0.6), (-1, -0.6)):
        _, contour, curvature = minkowski_functionals(field_of(sign * ring[None], "reflect"), [level], width=0.1)[
            0, :, 0
        ]
        assert float(contour) * 4 * 120**2 == pytest.approx(4 * np.pi * 30, rel=0.02)
        assert float(curvature) * 120**2 == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("waves", [3, 40])
def test_a_wave_crosses_each_level_twice_in_a_wavelength(waves):
    x = np.arange(4001)
    values = np.sin(2 * np.pi * waves * x / 4001 + 0.3)[None]
    found = minkowski_functionals(field_of(values), np.linspace(-0.6, 0.6, 7))
    np.testing.assert_allclose(found.sel(functional="V1"), waves / 4001, rtol=0.01)
    assert found.functional_units.values.tolist() == ["", "h/Mpc"]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("spectral", [True, False])
def test_curvatures_are_eigenvalues_of_the_hessian_along_the_level_set(n, spectral):
    """Plane waves, whose derivatives are known; the curvatures from the Hessian projected onto the level set."""
    rng = np.random.default_rng(n)
    sizes, spacings = [64, 40, 40, 24][:n] if n < 3 else [32, 33, 30, 31][:n], [0.5, 1.0, 0.7, 0.8][:n]
    if n > 3:
        sizes = [14, 13, 14, 15]
    axes = [Axis(size, spacing, True, spectral) for size, spacing in zip(sizes, spacings)]
    x = np.stack(np.meshgrid(*(np.arange(m) * s for m, s in zip(sizes, spacings)), indexing="ij"), axis=-1)
    u, g, h = 0.0, 0.0, 0.0
    for _ in range(4):
        k = 2 * np.pi * rng.integers(-1, 2, n) / (np.array(sizes) * spacings)
        phase = x @ k + rng.uniform(0, 2 * np.pi)
        u, g = u + np.cos(phase), g - np.sin(phase)[..., None] * k
        h = h - np.cos(phase)[..., None, None] * np.outer(k, k)
    found = list(curvature_densities(u[None], axes))
    assert len(found) == n
    for place in rng.integers(0, sizes, (50, n)):
        here = tuple(place)
        size = np.linalg.norm(g[here])
        along = np.linalg.svd(g[here][None])[2][1:]  # directions across the gradient
        curvatures = np.linalg.eigvalsh(-along @ h[here] @ along.T / size) if n > 1 else np.zeros(0)
        polynomials = np.poly(-curvatures) if n > 1 else [1.0]
        expected = size * np.real(polynomials)
        # differences of eighth order are right to 2e-5 in waves of 13 pixels
        scale = np.abs(expected) + size * np.abs(h).max() / size
        for m in range(n):
            assert found[m][(0, *here)] == pytest.approx(expected[m], abs=(1e-9 if spectral else 3e-3) * scale.max())


@pytest.mark.parametrize("order", [1, 2])
def test_differences_are_of_eighth_order(order):
    errors = []
    for size in (32, 64):
        x = 2 * np.pi * np.arange(size) / size
        (found,) = Axis(size, x[1], False, False).derivatives(np.sin(3 * x), -1, [order])
        exact = 3 * np.cos(3 * x) if order == 1 else -9 * np.sin(3 * x)
        errors.append(np.abs(found - exact[REACH:-REACH]).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("size", [15, 16])
def test_derivatives_by_the_transform_are_exact_but_for_the_nyquist_mode(size):
    x = 2 * np.pi * np.arange(size) / size
    axis = Axis(size, x[1], True, True)
    for k in range(size // 2 + 1):
        first, second = axis.derivatives(np.cos(k * x)[None], -1, [1, 2])
        np.testing.assert_allclose(first[0], -k * np.sin(k * x), atol=1e-12)
        np.testing.assert_allclose(second[0], -(k**2) * np.cos(k * x), atol=1e-11)


def test_volume_fractions_are_counts():
    values = np.round(np.random.default_rng(0).normal(size=(3, 20, 21)), 1)
    levels = [-1.0, 0.0, 0.3, 2.0]
    found = minkowski_functionals(field_of(values, "reflect"), levels)
    expected = [[np.mean(sample >= level) for level in levels] for sample in values]
    np.testing.assert_allclose(found.sel(functional="V0"), expected, rtol=1e-12)
    assert (found.pixels == [420, 12 * 13, 12 * 13]).all()


@pytest.mark.parametrize("shape", [(200,), (40, 31), (16, 15, 14)])
@pytest.mark.parametrize("boundary", ["periodic", "zero"])
def test_the_field_turned_over_has_the_same_boundary_curved_the_other_way(shape, boundary):
    values, _ = gaussian(shape, 3, 1.5)
    found = minkowski_functionals(field_of(values, boundary), NU)
    turned = minkowski_functionals(field_of(-values, boundary), NU)
    for j in range(1, len(shape) + 1):
        np.testing.assert_allclose(turned[:, j, ::-1], (-1) ** (j - 1) * found[:, j], atol=1e-9)
    np.testing.assert_allclose(turned[:, 0, ::-1], 1 - found[:, 0], atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_periodic_fields_ignore_rolls_and_all_ignore_the_order_of_axes(masked):
    values, _ = gaussian((30, 41), 3, 1.5)
    mask = np.random.default_rng(1).random(values.shape) < 0.005 if masked else None
    field = field_of(values, spacings=(1.0, 0.5), mask=mask)
    found = minkowski_functionals(field, NU)
    rolled = field.roll(x=7, y=-5, roll_coords=False)
    if masked:
        rolled = rolled.assign_coords(mask=field["mask"].roll(x=7, y=-5))
    np.testing.assert_allclose(minkowski_functionals(rolled, NU), found, atol=1e-10)
    turned = field.transpose("x", "sample", "y").isel(x=slice(None, None, -1))
    np.testing.assert_allclose(minkowski_functionals(turned, NU), found, atol=1e-10)


def test_open_patches_agree_with_periodic_boxes():
    values, _ = gaussian((160, 160), 60, 3.0)
    boxes, patches = field_of(values), field_of(values[:, :90, :100], "reflect")
    first, second = (minkowski_functionals(each, NU) for each in (boxes, patches))
    error = second.std("sample") / 60**0.5
    difference = abs(first.mean("sample") - second.mean("sample"))
    assert (difference < 4.5 * error + 1e-3 * abs(first).max()).all()
    # pixel by pixel the differences are as good as the transform on fields this smooth
    inner = field_of(values[:, : 90 + REACH, : 100 + REACH], "reflect")
    wide = minkowski_functionals(inner, NU)
    assert (wide.pixels[:, 1] == (90 - REACH) * (100 - REACH)).all()


def test_pixels_near_bad_ones_do_not_count_and_their_values_do_not_matter():
    values, _ = gaussian((40, 50), 4, 2.0)
    mask = np.zeros(values.shape, bool)
    mask[0, 0, 3] = mask[1, 20, 20] = mask[1, 20, 24] = True
    mask[2, :, :] = True
    garbage = np.where(mask, 1e8, values)
    for boundary, pixels in (("periodic", [2000 - 81, 2000 - 81 - 36, 0, 2000]), ("reflect", None)):
        found, spoiled = (minkowski_functionals(field_of(v, boundary, mask=mask), NU) for v in (values, garbage))
        np.testing.assert_array_equal(found, spoiled)
        assert np.isnan(found[2]).all()
        assert found.pixels[:, 0].values.tolist() == [1999, 1998, 0, 2000]
        if pixels:
            assert found.pixels[:, 1].values.tolist() == pixels
        whole = minkowski_functionals(field_of(values, boundary), NU)
        np.testing.assert_allclose(found[3], whole[3], atol=3e-3 * float(abs(whole[3, 1:]).max()))


def test_a_constant_field_has_no_boundary():
    found = minkowski_functionals(field_of(np.ones((2, 16, 16))), [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(found.sel(functional="V0"), [[1, 1, 0]] * 2)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-12)


def test_labels_channels_and_single_fields_are_kept():
    values, _ = gaussian((20, 24), 6, 2.0)
    field = field_of(values[:3])
    both = xr.concat([field, field.copy(data=values[3:])], dim="channel").transpose("sample", "y", "channel", "x")
    found = minkowski_functionals(both, [-1, 0, 2])
    assert found.dims == ("sample", "channel", "functional", "threshold")
    np.testing.assert_allclose(found[:, 0], minkowski_functionals(field, [-1, 0, 2]), rtol=1e-12)
    np.testing.assert_allclose(found[1, 0], minkowski_functionals(field[1], [-1, 0, 2]), rtol=1e-12)
    assert list(found.group) == [0, 1, 2]
    assert list(found.functional.values) == ["V0", "V1", "V2"]
    assert found.functional_units.values.tolist() == ["", "h/Mpc", "1/(Mpc/h)^2"]
    assert found.threshold.attrs["units"] == found.width.attrs["units"] == "K"
    np.testing.assert_array_equal(found.width, [1, 1.5, 2])


def test_what_cannot_be_measured_is_refused_in_words():
    field = field_of(np.random.default_rng(0).normal(size=(2, 8, 12)), "reflect")
    with pytest.raises(ValueError, match=r"'map' has 8 pixels along 'y' \(open\); .* at least 9"):
        minkowski_functionals(field, NU)
    with pytest.raises(ValueError, match="8 pixels along 'y'"):
        Morphology.check(field)
    field = field_of(np.random.default_rng(0).normal(size=(2, 12, 12)))
    with pytest.raises(ValueError, match="the thresholds must be finite and rise"):
        minkowski_functionals(field, [0, 0])
    with pytest.raises(ValueError, match=r"a single threshold .* give width"):
        minkowski_functionals(field, [0])
    with pytest.raises(ValueError, match="width of the delta function must be positive; it is 0"):
        minkowski_functionals(field, [0], width=0)
    with pytest.raises(ValueError, match=r"at least one dimension are needed; they are 1\.0, 0\.0 and 2"):
        gaussian_minkowski(NU, 1.0, 0.0, 2)
    field.values[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="sample 1 of 'map' has 1 values that are not finite"):
        minkowski_functionals(field, NU)


def test_closed_forms_of_one_two_and_three_dimensions():
    """As they stand in the literature: Rice's crossings, a plane, and space."""
    nu, slope = np.array([-1.0, 0.0, 0.5]), 0.3
    tau = np.exp(-(nu**2) / 2)
    one = gaussian_minkowski(nu, 1.0, slope, 1)
    np.testing.assert_allclose(one[1], np.sqrt(slope) / np.pi * tau / 2)
    two = gaussian_minkowski(nu, 1.0, 2 * slope, 2)
    np.testing.assert_allclose(two[1], np.sqrt(slope) / 8 * tau)
    np.testing.assert_allclose(two[2], slope / (2 * np.pi) ** 1.5 * nu * tau)
    three = gaussian_minkowski(nu, 1.0, 3 * slope, 3)
    length = np.sqrt(slope / (2 * np.pi))
    np.testing.assert_allclose(three[1], 2 / 3 * length / np.sqrt(2 * np.pi) * tau)
    np.testing.assert_allclose(three[2], 2 / 3 * length**2 / np.sqrt(2 * np.pi) * nu * tau)
    np.testing.assert_allclose(three[3], length**3 / np.sqrt(2 * np.pi) * (nu**2 - 1) * tau)


def compared(real, generated):
    """Return scores, floors (95 %) and values by the names of the rows, and the curves."""
    statistic = Morphology.of(real, Views.of(real, generated, None))
    samples = [measure([statistic], each)[0] for each in (real, generated)]
    groups = np.arange(real.sizes["sample"]), np.arange(generated.sizes["sample"])
    first, second = halves(groups[0], 50, np.random.default_rng(0))
    subsets = [weights(each, len(groups[0])) for each in (first, second, second)]
    parts = Parts.of(statistic, (samples[0], samples[1]), groups, (subsets[0], subsets[1], subsets[2]))
    scores = {score.name: score for score in statistic.scores(samples[0])}
    assert [score.units for score in scores.values()] == list(statistic.units.values())
    found = {name: score.distance(parts.drawn, parts.first).mean() for name, score in scores.items()}
    floor = {name: np.quantile(score.distance(parts.second, parts.first), 0.95) for name, score in scores.items()}
    values = {name: float(score.value(parts.real)[0]) for name, score in scores.items()}
    return found, floor, values, statistic.curves(parts)


def test_fields_whose_heights_are_bent_are_told_apart_and_others_are_not():
    first, second = (field_of(gaussian((64, 64), 40, 2.0, seed)[0]) for seed in (0, 1))
    found, floor, values, curves = compared(first, second)
    assert list(found) == ["minkowski_V0", "minkowski_V1", "minkowski_V2"]
    assert all(found[name] < 2 * floor[name] for name in found)
    np.testing.assert_array_equal(curves.threshold, HEIGHTS)
    assert curves["V1_real"].attrs["units"] == curves["V1_floor_high"].attrs["units"] == "h/Mpc"
    assert float(curves["V1_real"].max()) == pytest.approx(values["minkowski_V1"])
    assert (
        float(((curves["V1_floor_low"] <= curves["V1_real"]) & (curves["V1_real"] <= curves["V1_floor_high"])).mean())
        > 0.8
    )
    bent = np.exp(0.7 * second.values)  # of the same level sets, at other heights
    found, floor, _, _ = compared(first, second.copy(data=(bent - bent.mean()) / bent.std()))
    assert all(found[name] > 2 * floor[name] for name in found)


def test_averages_of_masked_samples_weigh_their_pixels():
    values, _ = gaussian((40, 40), 12, 2.0)
    mask = np.zeros(values.shape, bool)
    mask[:6, :, :25] = True
    mask[0] = True
    field = field_of(values, mask=mask)
    statistic = Morphology.of(field, Views.of(field, field, None))
    found = statistic.averages(measure([statistic], field)[0], np.full((1, 12), 1 / 12))
    all_pixels = values[~mask]
    view = statistic.views
    expected = [(all_pixels >= view.mean + view.std * height).mean() for height in HEIGHTS]
    np.testing.assert_allclose(found["V0"][0], expected, rtol=1e-9)
    assert np.isfinite(found["V2"]).all()
