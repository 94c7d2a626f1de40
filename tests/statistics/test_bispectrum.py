"""Bispectra beside the sum over all triples of modes, closed forms, and the scatter of Gaussian fields."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics.bispectra import Bispectrum, bispectrum
from sciffusion.statistics.extent import Views
from sciffusion.statistics.statistic import Parts


def labelled(values, spacings=None, boundary="periodic", mask=None, units="K"):
    dims = ("w", "z", "y", "x")[-(values.ndim - 1) :]
    coords = {
        dim: (dim, np.arange(n) * spacing, {"units": "Mpc", "boundary": boundary})
        for dim, n, spacing in zip(dims, values.shape[1:], spacings or (1.0,) * len(dims))
    }
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": units})


def modes_of(shape, spacings):
    """Integers along each axis of all modes, and |k|."""
    integers = np.array(list(itertools.product(*(np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in shape))))
    return integers, np.linalg.norm(2 * np.pi * integers / (np.array(shape) * spacings), axis=1)


def all_triples(values, spacings, shells):
    """B, Q and the number of triples of three shells [(low, high)] by one mode after the other, without wrapping."""
    shape, cell = values.shape, np.prod(spacings)
    volume = cell * values.size
    integers, k = modes_of(shape, spacings)
    delta = {tuple(m): d for m, d in zip(integers, cell * np.fft.fftn(values).ravel())}
    members = [[tuple(m) for m, each in zip(integers, k) if low <= each < high and each > 0] for low, high in shells]
    total, number = 0.0, 0
    third = set(members[2])
    for a, b in itertools.product(*members[:2]):
        c = tuple(-i - j for i, j in zip(a, b))
        if c in third:
            total += delta[a] * delta[b] * delta[c]
            number += 1
    p1, p2, p3 = (np.mean([abs(delta[m]) ** 2 for m in each]) / volume for each in members)
    found = np.real(total) / volume / max(number, 1)
    return found, found / (p1 * p2 + p2 * p3 + p3 * p1), number


def shell_of(k, edges):
    i = int(np.searchsorted(edges, k, side="right"))
    return edges[i - 1], edges[i]


def edges_of(shape, spacings):
    """The default edges, from their definition: rounded logarithmic steps below a third of the pixels."""
    lengths = np.array(shape) * spacings
    longest = lengths.max()
    limit = min(((n - 1) // 3 + 1) * longest / length for n, length in zip(shape, lengths))
    last = 0.5 + int(limit - 0.5 - 1e-9)
    return (np.unique(np.rint(np.geomspace(1, last + 0.5, 12))) - 0.5) * 2 * np.pi / longest


GRIDS = [
    ((32,), (0.5,)),
    ((45,), (2.0,)),
    ((24, 24), (1.0, 1.0)),
    ((15, 18), (1.0, 1.0)),
    ((14, 13), (0.5, 0.75)),
    ((8, 7, 10), (1.0, 1.0, 1.0)),
    ((7, 7, 8), (1.0, 1.0, 2.0)),
]


@pytest.mark.parametrize(("shape", "spacings"), GRIDS)
def test_it_is_the_sum_over_all_triples_of_modes(shape, spacings):
    values = np.random.default_rng(0).gamma(1.0, size=(2, *shape))
    field = labelled(values, spacings)
    found, reduced = bispectrum(field), bispectrum(field, reduced=True)
    edges = edges_of(shape, spacings)
    assert {"equilateral", "squeezed", "isosceles"} >= set(found["shape"].values)
    for i in range(found.sizes["triangle"]):
        shells = [shell_of(float(found[f"k{j}"][i]), edges) for j in (1, 2, 3)]
        for sample in range(2):
            b, q, number = all_triples(values[sample] - values[sample].mean(), spacings, shells)
            assert number == int(found.triangles[i])
            np.testing.assert_allclose(found[sample, i], b, rtol=1e-12, atol=1e-12 * abs(found[sample]).max())
            np.testing.assert_allclose(reduced[sample, i], q, rtol=1e-9, atol=1e-12 * abs(reduced[sample]).max())


@pytest.mark.parametrize(("shape", "spacings"), [((32,), (0.5,)), ((12, 13), (1.0, 1.0)), ((7, 8, 9), (1.0,) * 3)])
def test_triangles_and_edges_may_be_given(shape, spacings):
    values = np.random.default_rng(1).gamma(1.0, size=(1, *shape))
    k = 2 * np.pi / max(np.array(shape) * spacings)
    edges = k * (np.arange(3 if len(shape) > 2 else 4) + 0.5)
    wanted = list(itertools.product(k * np.arange(1, len(edges)), repeat=3))
    found = bispectrum(labelled(values, spacings), wanted, edges=edges)
    rows = iter(range(found.sizes["triangle"]))
    for sides in wanted:
        b, _, number = all_triples(values[0], spacings, [shell_of(side, edges) for side in sides])
        if number:  # in the order that was asked for, whatever the order of the sides
            i = next(rows)
            assert int(found.triangles[i]) == number
            np.testing.assert_allclose(found[0, i], b, rtol=1e-11, atol=1e-12 * float(abs(found).max()))
            same = len({shell_of(side, edges) for side in sides})
            assert found["shape"][i] in {1: ["equilateral"], 2: ["squeezed", "isosceles"], 3: ["scalene"]}[same]
    assert next(rows, None) is None


@pytest.mark.parametrize(("shape", "waves"), [((24,), ((2,), (3,))), ((24, 18), ((2, 1), (-3, 2)))])
def test_three_phase_locked_waves(shape, waves):
    """cos(a) + cos(b) + cos(a + b + phase): one triple and its conjugate, (V/2)³ cos(phase) / V."""
    spacing, amplitude, phase = 0.5, 3.0, 0.7
    place = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    a, b = (sum(m * x for m, x in zip(wave, place)) for wave in waves)
    values = amplitude * (np.cos(a) + np.cos(b) + np.cos(a + b + phase)) + 5
    lengths = np.array(shape) * spacing
    sides = [np.linalg.norm(2 * np.pi * np.array(wave) / lengths) for wave in (*waves, np.add(*waves))]
    thin = np.sort([side * f for side in sides for f in (0.999, 1.001)])
    found = bispectrum(labelled(values[None], (spacing,) * len(shape)), [tuple(sides)], edges=thin)
    volume, triples = np.prod(lengths), float(found.triangles[0])
    exact = 2 * (amplitude * volume / 2) ** 3 * np.cos(phase) / volume / triples
    np.testing.assert_allclose(found[0, 0], exact, rtol=1e-11)
    np.testing.assert_allclose(sorted(float(found[f"k{i}"][0]) for i in (1, 2, 3)), sorted(sides), rtol=1e-12)
    turned = bispectrum(labelled(-values[None], (spacing,) * len(shape)), [tuple(sides)], edges=thin)
    np.testing.assert_allclose(turned, -found, rtol=1e-11)


def gaussian(shape, number, exponent, seed=0):
    """Gaussian fields whose modes have the power k^exponent (k in fundamental frequencies), on pixels of volume 1."""
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, len(shape) + 1))
    k = np.sqrt(sum(np.square(m) for m in np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")))
    amplitude = np.where(k > 0, np.where(k > 0, k, 1) ** (exponent / 2), 0)
    return np.fft.ifftn(np.fft.fftn(rng.normal(size=(number, *shape)), axes=axes) * amplitude, axes=axes).real, k


@pytest.mark.parametrize("shape", [(128,), (32, 32), (16, 16, 16)])
def test_gaussian_fields_have_none_and_scatter_as_they_should(shape):
    values, _ = gaussian(shape, 600, 0.0)
    found = bispectrum(labelled(values))  # P = 1
    times = {"equilateral": 6, "squeezed": 2, "isosceles": 2}
    variance = np.array([times[str(s)] for s in found["shape"].values]) * values[0].size / found.triangles
    pull = found / variance**0.5
    assert float(pull.std()) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(pull.std("sample"), 1, atol=0.25)
    assert float(abs(pull.mean("sample")).max()) * 600**0.5 < 4.5


@pytest.mark.parametrize("shape", [(96,), (40, 40), (18, 18, 18)])
def test_a_local_quadratic_term_gives_twice_the_products_of_powers(shape):
    r"""x + f (x² - <x²>): B = 2 f (P1 P2 + P2 P3 + P3 P1) to first order, averaged over the triples."""
    f = 1e-3
    values, _ = gaussian(shape, 400, -1.0, seed=1)
    first = bispectrum(labelled(values + f * values**2)) - bispectrum(labelled(values - f * values**2))
    expected = []
    k_f = 2 * np.pi / max(shape)
    edges = edges_of(shape, (1.0,) * len(shape))
    unit, k = modes_of(shape, (1.0,) * len(shape))
    power = {tuple(m): (each / k_f) ** -1.0 for m, each in zip(unit, k) if each > 0}
    use = [i for i in range(first.sizes["triangle"]) if first.triangles[i] < 3e4]
    for i in use:
        shells = [shell_of(float(first[f"k{j}"][i]), edges) for j in (1, 2, 3)]
        members = [[tuple(m) for m, each in zip(unit, k) if low <= each < high] for low, high in shells]
        third, sums = set(members[2]), []
        for a, b in itertools.product(*members[:2]):
            c = tuple(-i - j for i, j in zip(a, b))
            if c in third:
                sums.append(power[a] * power[b] + power[b] * power[c] + power[c] * power[a])
        expected.append(2 * f * np.mean(sums))
    found = first.isel(triangle=use) / 2
    error = found.std("sample") / 400**0.5
    pull = (found.mean("sample") - expected) / error
    assert float(abs(pull).max()) < 4.5
    assert float((found.mean("sample").values / expected).mean()) == pytest.approx(1, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 20), st.floats(-1e2, 1e2), st.floats(0.1, 10), st.integers(0, 99))
def test_an_offset_is_not_seen_and_a_factor_enters_cubed(n, offset, factor, seed):
    values = np.random.default_rng(seed).normal(size=(1, n, n + 1))
    one, other = bispectrum(labelled(values)), bispectrum(labelled(offset + factor * values))
    atol = 1e-9 * factor**3 * float(abs(one).max())
    np.testing.assert_allclose(other, factor**3 * one, rtol=1e-9, atol=atol)
    rolled = bispectrum(labelled(np.roll(values, (3, 5), axis=(1, 2))))
    np.testing.assert_allclose(rolled, one, rtol=1e-9, atol=1e-10 * float(abs(one).max()))


@pytest.mark.parametrize("shape", [(200,), (48, 48), (18, 18, 18)])
def test_a_window_keeps_the_bispectrum_of_white_noise(shape):
    """Skewed white noise of third moment m3 on unit pixels has B = m3 everywhere, whatever window or mask."""
    rng = np.random.default_rng(3)
    values = rng.gamma(1.0, size=(500, *shape))  # <(x - 1)³> = 2
    mask = rng.random((500, *shape)) < 0.2
    for field in (
        labelled(values),
        labelled(values, boundary="reflect"),
        labelled(np.where(mask, 50, values), boundary="reflect", mask=mask),
    ):
        found = bispectrum(field, window="hann")
        high = (found.k3 > 1.5 * found.k3.min()) & (found["shape"] != "squeezed")  # the window takes of the lowest
        each = found.isel(triangle=np.flatnonzero(high))
        error = each.std("sample") / 500**0.5
        assert float(abs((each.mean("sample") - 2) / error).max()) < 4.5


def test_the_ends_of_an_open_axis_matter_only_with_a_window():
    values = np.random.default_rng(4).normal(size=(2, 32, 32))
    open_, closed = (labelled(values, boundary=b) for b in ("reflect", "periodic"))
    np.testing.assert_array_equal(bispectrum(open_), bispectrum(closed))
    np.testing.assert_array_equal(bispectrum(closed, window="hann"), bispectrum(closed))
    assert not np.allclose(bispectrum(open_, window="hann"), bispectrum(open_))


def test_labels_channels_and_single_fields():
    values = np.random.default_rng(5).normal(size=(3, 2, 16, 16))
    field = labelled(values[:, 0]).assign_coords(group=("sample", [1, 2, 3]))
    both = xr.concat([field, field.copy(data=values[:, 1])], dim="channel").transpose("sample", "y", "channel", "x")
    found = bispectrum(both)
    assert found.dims == ("sample", "channel", "triangle")
    assert found.attrs["units"] == "K^3 Mpc^4"
    assert found.k1.attrs["units"] == "1/Mpc"
    assert list(found.group) == [1, 2, 3]
    np.testing.assert_allclose(found.isel(channel=0), bispectrum(field), rtol=1e-12)
    one = bispectrum(field.isel(sample=1), reduced=True)
    assert one.dims == ("triangle",)
    assert one.attrs["units"] == "1/K"
    assert bispectrum(labelled(values[:, 0], units="")).attrs["units"] == "Mpc^4"


def test_in_one_dimension_no_equilateral_triangle_of_narrow_shells_closes():
    found = bispectrum(labelled(np.random.default_rng(6).normal(size=(1, 40))))
    assert "equilateral" not in found["shape"].values
    assert (found.triangles > 0).all()


def test_what_cannot_be_measured_is_refused():
    field = labelled(np.random.default_rng(7).normal(size=(2, 24, 24)))
    k = 2 * np.pi / 24
    with pytest.raises(ValueError, match=r"reach to 8.5 fundamental frequencies; expected less than 8"):
        bispectrum(field, edges=[0.5 * k, 4.5 * k, 8.5 * k])
    with pytest.raises(ValueError, match=r"have wavenumbers from .* the edges of the shells"):
        bispectrum(field, [(9 * k, 9 * k, 9 * k)])
    with pytest.raises(ValueError, match="must rise"):
        bispectrum(field, edges=[3 * k, 2 * k])
    with pytest.raises(ValueError, match="no triangle closes"):
        bispectrum(field, [(k, k, 7 * k)])
    with pytest.raises(ValueError, match="too small"):
        bispectrum(field.isel(x=slice(3), y=slice(3)))
    with pytest.raises(ValueError, match="unknown window"):
        bispectrum(field, window="box")
    with pytest.raises(ValueError, match="sample 1 of 'map' has 1 values"):
        bispectrum(field.where((field.sample != 1) | (field.x > 0) | (field.y > 0)))
    with pytest.raises(ValueError, match="sample 1 of 'map' has no good pixel"):
        bispectrum(labelled(field.values, mask=np.arange(2)[:, None, None] * np.ones((2, 24, 24), bool)))


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
@pytest.mark.parametrize("shape", [(64,), (24, 20), (12, 12, 12)])
def test_a_comparison_by_it(shape, boundary):
    rng = np.random.default_rng(8)
    sets = []
    for skewness in (1.0, 2.0):
        values, _ = gaussian(shape, 80, -1.0, seed=int(rng.integers(99)))
        sets.append(labelled(np.exp(skewness * 0.5 * values / values.std()), boundary=boundary))
    real, generated = sets
    views = Views.of(real, generated, None)
    statistic = Bispectrum.of(real, views)
    samples = tuple(statistic.measure(part) for part in (real, generated))
    np.testing.assert_allclose(samples[0]["bispectrum"], bispectrum(views.linear(real), window="hann"))
    np.testing.assert_allclose(samples[1]["log_bispectrum"], bispectrum(views.values(generated), window="hann"))
    half = rng.permuted(np.tile(np.repeat([0.0, 2 / 80], 40), (50, 1)), axis=1)
    parts = Parts.of(statistic, samples, (np.arange(80), np.arange(80)), (half, 2 / 80 - half, half))
    scores = {score.name: score for score in statistic.scores(samples[0])}
    shapes = set(statistic.templates["bispectrum"]["shape"].values)
    assert set(scores) == {f"{name}_{each}" for name in ("bispectrum", "log_bispectrum") for each in shapes}
    for name, score in scores.items():
        floor, found = score.distance(parts.second, parts.first), score.distance(parts.drawn, parts.first)
        assert floor.shape == found.shape == (50,)
        assert score.distance(parts.real, parts.real) == 0
        if not name.startswith("log"):  # the contrast of the second set is far more skewed
            assert found.mean() > np.quantile(floor, 0.95)
    assert "squeezed" in scores["bispectrum_squeezed"].label
    curves = statistic.curves(parts)
    assert curves.sizes["triangle"] == samples[0]["bispectrum"].shape[1]
    assert set(curves["triangle"].values) >= {
        f"squeezed {float(k):.2g}" for k in curves["k1"][curves["shape"] == "squeezed"]
    }
    assert curves["bispectrum_real"].attrs["units"] == statistic.templates["bispectrum"].attrs["units"]
    assert (curves["bispectrum_floor_low"] <= curves["bispectrum_floor_high"]).all()
    np.testing.assert_allclose(curves["log_bispectrum_generated"], samples[1]["log_bispectrum"].mean(axis=0))


def test_check_refuses_fields_that_are_too_small():
    Bispectrum.check(labelled(np.zeros((1, 8, 8))))
    with pytest.raises(ValueError, match="too small"):
        Bispectrum.check(labelled(np.zeros((1, 3, 3))))
