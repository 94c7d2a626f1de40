"""The power spectrum against answers that are known: Parseval, white noise, Gaussian fields, powerbox."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import (
    coherence,
    density_contrast,
    log_field,
    power_errors,
    power_spectrum,
    transfer,
)

DIMS = ("z", "y", "x")
SHAPES = [(4096,), (563,), (64, 64), (48, 45), (16, 16, 16), (12, 15, 10)]


def labelled(values, spacing=0.5, units="K", channel=False):
    """Label an array (sample, [channel,] *grid); `spacing` may differ between the axes."""
    grid = DIMS[-(values.ndim - 1 - channel) :]
    steps = dict(zip(grid, np.broadcast_to(spacing, len(grid))))
    coords = {
        dim: (dim, (np.arange(size) + 0.5) * steps[dim], {"units": "Mpc/h"})
        for dim, size in zip(grid, values.shape[1 + channel :])
    }
    dims = ("sample", *(("channel",) if channel else ()), *grid)
    return xr.DataArray(values, dims=dims, coords=coords, name="field", attrs={"units": units})


def white(shape, samples=200, mean=3.0, sigma=2.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sigma, (samples, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_parseval(shape):
    field = labelled(white(shape, samples=3), spacing=0.25)
    power = power_spectrum(field, beyond_nyquist=True)
    volume = np.prod(shape) * 0.25 ** len(shape)
    variance = (2 * power.modes * power).sum("k") / volume
    np.testing.assert_allclose(variance, field.var(field.dims[1:]), rtol=1e-12)
    assert 2 * power.modes.sum() == np.prod(shape) - 1


@pytest.mark.parametrize("shape", SHAPES)
def test_white_noise_has_the_variance_of_a_cell_in_every_bin(shape):
    power = power_spectrum(labelled(white(shape), spacing=0.5))
    expected = 2.0**2 * 0.5 ** len(shape)
    mean, error = power.mean("sample"), expected / np.sqrt(200 * power.modes)
    assert (abs(mean - expected) < 4.5 * error).all()
    assert float(mean.weighted(power.modes).mean()) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("shape", [(64,), (63,), (32, 32), (15, 15), (12, 12, 12)])
def test_equals_powerbox(shape):
    powerbox = pytest.importorskip("powerbox")
    length = 7.0
    field = labelled(white(shape, samples=1), spacing=length / shape[0])
    power = power_spectrum(field)[0]
    edges = (np.arange(power.sizes["k"] + 1) + 0.5) * 2 * np.pi / length
    values = field.values[0]
    found = powerbox.get_power(values - values.mean(), length, bins=edges, dimensionless=False, remove_shotnoise=False)
    theirs, k = (found.power, found.bin_avg) if hasattr(found, "power") else found[:2]  # before 1.0: a tuple
    np.testing.assert_allclose(power, theirs, rtol=1e-12)
    np.testing.assert_allclose(power.k, k, rtol=1e-12)


@pytest.mark.parametrize("shape", [(512,), (96, 60), (24, 20, 18)])
def test_gaussian_field_of_known_power(shape):
    spacing = np.array([0.5, 0.8, 1.3])[: len(shape)]
    k = np.sqrt(
        sum(
            np.square(axis)
            for axis in np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(shape, spacing)), indexing="ij")
        )
    )
    cell, axes = np.prod(spacing), tuple(range(1, len(shape) + 1))
    amplitude = np.sqrt(1 / (1 + k**2) / cell)
    noise = white(shape, samples=400, mean=0, sigma=1)
    values = np.fft.ifftn(np.fft.fftn(noise, axes=axes) * amplitude, axes=axes).real
    power = power_spectrum(labelled(values, spacing))
    # P is convex within a shell: compare with its average over the modes, to the scatter of the mean
    ratio = power.mean("sample") * (1 + power.k**2)
    assert (abs(ratio - 1) < 5 / np.sqrt(400 * power.modes) + 0.02).sel(k=slice(0.4, None)).all()


def test_a_plane_wave_lands_in_its_shell_with_its_power():
    x = (np.arange(48) + 0.5) * 0.5
    wave = 3 * np.cos(2 * np.pi * 5 * x / 24)[None, None, :] * np.ones((1, 48, 1))
    power = power_spectrum(labelled(wave))[0]
    # variance A²/2 = 2 Σ modes P / V, all of it in shell 5
    expected = (9 / 2) * 24**2 / (2 * power.modes[4])
    assert float(power[4]) == pytest.approx(float(expected), rel=1e-12)
    assert float(power.drop_isel(k=4).max()) < 1e-20
    assert float(power.k[0]) == pytest.approx(2 * np.pi / 24 * (2 + 2 * np.sqrt(2)) / 4)


def test_independent_modes_and_whole_shells():
    power = power_spectrum(labelled(white((64, 64), samples=1)))
    integers = np.rint(np.fft.fftfreq(64, 1 / 64))
    radius = np.hypot(*np.meshgrid(integers, integers))
    counts = [np.sum((radius > i - 0.5) & (radius < i + 0.5)) / 2 for i in range(1, 32)]
    np.testing.assert_array_equal(power.modes, counts)
    assert power.k[-1] <= power.attrs["nyquist"] == np.pi / 0.5
    np.testing.assert_allclose(power.k / (2 * np.pi / 32), np.arange(1, 32), rtol=0.21)


def test_the_scatter_of_a_gaussian_field_is_the_gaussian_error():
    power = power_spectrum(labelled(white((24, 24), samples=3000)))
    expected = power_errors(power.mean("sample"))
    np.testing.assert_allclose(power.std("sample"), expected, rtol=0.08)
    assert expected.attrs["units"] == "K^2 (Mpc/h)^2"


def test_axes_of_different_lengths_and_spacings():
    field = labelled(white((40, 24), samples=500), spacing=(0.5, 0.25))
    power = power_spectrum(field)
    assert (abs(power.mean("sample") / (4 * 0.125) - 1) < 4.5 / np.sqrt(500 * power.modes)).all()
    assert power.attrs["nyquist"] == pytest.approx(np.pi / 0.5)
    np.testing.assert_allclose(power_spectrum(field.transpose("x", "sample", "y")), power, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(3, 12), min_size=1, max_size=3),
    shift=st.integers(-5, 5),
    factor=st.floats(0.1, 10),
    seed=st.integers(0, 2**16),
)
def test_power_ignores_rolls_flips_and_means_and_scales_with_the_square(shape, shift, factor, seed):
    field = labelled(white(tuple(shape), samples=2, seed=seed))
    power = power_spectrum(field)
    moved = field.roll(dict.fromkeys(field.dims[1:], shift), roll_coords=False)
    mirrored = field.copy(data=np.flip(field.values, axis=-1))
    for changed in (moved, mirrored, field + 100.0):
        np.testing.assert_allclose(power_spectrum(changed), power, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(power_spectrum(factor * field), factor**2 * power, rtol=1e-9, atol=1e-12)


def test_cross_power_is_linear_and_coherence_of_independent_fields_vanishes():
    a, b = (labelled(white((32, 32), samples=400, seed=seed)) for seed in (1, 2))
    r = coherence(a, b, dim="sample")
    assert (abs(r) < 4.5 / np.sqrt(2 * 400 * r.coords["modes"])).all()
    both = a + 2 * b
    np.testing.assert_allclose(
        power_spectrum(a, both), power_spectrum(a) + 2 * power_spectrum(a, b), rtol=1e-9, atol=1e-12
    )
    expected = 1 / np.sqrt(5)
    np.testing.assert_allclose(coherence(a, both, dim="sample"), expected, atol=4.5 / np.sqrt(2 * 400 * 4))
    assert (abs(coherence(a, b)) <= 1 + 1e-12).all()
    np.testing.assert_allclose(transfer(3 * a, a), 3, rtol=1e-12)
    assert transfer(3 * a, a).attrs["units"] == coherence(a, b).attrs["units"] == ""


def test_labels_are_kept_and_units_follow_the_formula():
    field = labelled(white((8, 8), samples=3)).assign_coords(
        group=("sample", [7, 7, 9]), Omega_m=("sample", [0.1, 0.2, 0.3])
    )
    power = power_spectrum(field)
    assert power.dims == ("sample", "k")
    assert list(power.group) == [7, 7, 9]
    assert "Omega_m" in power.coords
    assert "x" not in power.coords
    assert power.attrs["units"] == "K^2 (Mpc/h)^2"
    assert power.k.attrs["units"] == "h/Mpc"
    assert power.dtype == np.float64
    assert power_spectrum(density_contrast(field)).attrs["units"] == "(Mpc/h)^2"
    temperature = field.assign_attrs(units="km/s")
    assert power_spectrum(field, temperature).attrs["units"] == "K (km/s) (Mpc/h)^2"


def test_channels_and_single_fields():
    values = white((3, 16, 16), samples=4)
    power = power_spectrum(labelled(values, channel=True))
    assert power.dims == ("sample", "channel", "k")
    np.testing.assert_allclose(power[:, 1], power_spectrum(labelled(values[:, 1])), rtol=1e-12)
    alone = power_spectrum(labelled(values[:, 1]).isel(sample=2))
    assert alone.dims == ("k",)
    np.testing.assert_allclose(alone, power[2, 1], rtol=1e-12)
    pair = power_spectrum(labelled(values[:, 1]).isel(sample=2), labelled(values[:, 1]).isel(sample=2))
    np.testing.assert_allclose(pair, alone, rtol=1e-12)


def test_reads_a_lazy_field_slice_by_slice(monkeypatch):
    from sciffusion.statistics import grid

    values = white((16, 16), samples=37)
    monkeypatch.setattr(grid, "_BATCH_BYTES", 8 * 256 * 5)
    read = []
    whole = labelled(values)
    isel = xr.DataArray.isel

    def counted(self, *args, **kwargs):
        part = isel(self, *args, **kwargs)
        read.append(part.sizes["sample"])
        return part

    monkeypatch.setattr(xr.DataArray, "isel", counted)
    power = power_spectrum(whole)
    assert read == [5] * 7 + [2]
    monkeypatch.undo()
    np.testing.assert_allclose(power, power_spectrum(whole), rtol=1e-12)


def test_an_open_axis_is_allowed_and_big_endian_values_too():
    field = labelled(white((32,), samples=2).astype(">f4"))
    field["x"].attrs["boundary"] = "zero"
    np.testing.assert_allclose(power_spectrum(field), power_spectrum(field.astype(np.float64)), rtol=1e-12)


def test_what_cannot_be_measured_is_refused_in_words():
    field = labelled(white((8, 8), samples=3))
    uneven = field.assign_coords(x=("x", np.geomspace(1, 2, 8), {"units": "Mpc/h"}))
    with pytest.raises(ValueError, match="coordinate 'x' of 'field' is not evenly spaced"):
        power_spectrum(uneven)
    with pytest.raises(ValueError, match="dim 'x' of 'field' has no coordinate"):
        power_spectrum(field.drop_vars("x"))
    with pytest.raises(ValueError, match="different units"):
        power_spectrum(field.assign_coords(x=("x", field.x.values, {"units": "Mpc"})))
    with pytest.raises(ValueError, match="expected a grid dim"):
        power_spectrum(field.isel(x=0, y=0))
    with pytest.raises(ValueError, match="no whole shell"):
        power_spectrum(field.isel(x=slice(2), y=slice(2)))
    with pytest.raises(ValueError, match="no samples"):
        power_spectrum(field.isel(sample=slice(0)))
    with pytest.raises(ValueError, match="different sizes"):
        power_spectrum(field, field.isel(sample=slice(2)))
    with pytest.raises(ValueError, match="different grids"):
        power_spectrum(field, labelled(field.values, spacing=0.25))
    with pytest.raises(ValueError, match="same units"):
        transfer(field, field.assign_attrs(units="mK"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_name_the_sample(bad):
    field = labelled(white((8, 8), samples=3))
    field.values[1, 2, 3] = bad
    with pytest.raises(ValueError, match="sample 1 of 'field' has 1 values that are not finite, out of 64"):
        power_spectrum(field)


def test_contrasts():
    density = labelled(np.exp(white((8, 8), samples=3)), units="(Msun/h)/(Mpc/h)^2")
    delta = density_contrast(density)
    np.testing.assert_allclose(delta.mean(("x", "y")), 0, atol=1e-14)
    np.testing.assert_allclose(density_contrast(density, mean=2.0), density / 2 - 1)
    assert delta.attrs["units"] == ""
    logarithm = log_field(density)
    np.testing.assert_allclose(10**logarithm, density, rtol=1e-12)
    assert logarithm.attrs["linear_units"] == "(Msun/h)/(Mpc/h)^2"
    density.values[2, 0, 0] = 0
    with pytest.raises(ValueError, match="sample 2 of 'field' has values that are not positive"):
        log_field(density)
    with pytest.raises(ValueError, match="positive mean"):
        density_contrast(-density)


def masked(field, bad):
    """Give a field (sample, *grid) a mask of its own dims."""
    return field.assign_coords(mask=(field.dims[-np.ndim(bad) :], bad))


def holes(shape, kind, seed):
    """Scattered bad pixels, or one block of them."""
    bad = np.random.default_rng(seed).random(shape) < 0.3
    if kind == "block":
        bad[:] = False
        bad[(slice(None), *(slice(n // 4, n // 2) for n in shape[1:]))] = True
    return bad


@pytest.mark.parametrize("kind", ["random", "block"])
@pytest.mark.parametrize("boundary", ["periodic", "zero"])
@pytest.mark.parametrize("shape", [(64,), (24, 27), (9, 10, 12)])
def test_white_noise_keeps_its_power_under_a_mask(shape, boundary, kind):
    field = labelled(white(shape, samples=600))
    for dim in field.dims[1:]:
        field[dim].attrs["boundary"] = boundary
    bad = holes(field.shape, kind, seed=1)
    field.values[bad] = 1e3
    power = power_spectrum(masked(field, bad), window="hann")
    expected = 2.0**2 * 0.5 ** len(shape)
    # with the mean under the window the first shell loses up to half of its power, under holes also some of the second
    np.testing.assert_allclose(power.mean("sample")[2:], expected, rtol=0.15)
    assert float(power.mean("sample")[2:].weighted(power.modes[2:]).mean()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("shape", [(30,), (12, 9), (6, 5, 8)])
def test_the_pseudo_spectrum_is_the_sum_over_the_good_pixels(shape):
    """One sample after the other, from the definition; its weights as in Parseval's sum."""
    a, b = (labelled(white(shape, samples=3, seed=seed)) for seed in (1, 2))
    for field in (a, b):
        for dim in field.dims[1:-1]:
            field[dim].attrs["boundary"] = "periodic"
    bad = [holes(a.shape, "random", seed) for seed in (3, 4)]
    n = shape[-1]
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    axes = tuple(range(1, len(shape) + 1))
    parts, weights = [], []
    for field, mask in zip((a, b), bad):
        weight = window * ~mask
        mean = (field.values * weight).sum(axis=axes, keepdims=True) / weight.sum(axis=axes, keepdims=True)
        parts.append((field.values - mean) * weight)
        weights.append(weight)
    first, second = (masked(field, mask) for field, mask in zip((a, b), bad))
    cell = 0.5 ** len(shape)
    for pair, fields in (((0, 0), (first, None)), ((0, 1), (first, second)), ((1, 0), (second, first))):
        power = power_spectrum(*fields, window="hann", beyond_nyquist=True)
        norm = (weights[pair[0]] * weights[pair[1]]).mean(axis=axes)
        variance = (parts[pair[0]] * parts[pair[1]]).mean(axis=axes) / norm
        means = [parts[i].mean(axis=axes) for i in pair]
        volume = np.prod(shape) * cell
        # Parseval without the mode k = 0, which a weight fills again
        expected = variance - means[0] * means[1] / norm
        np.testing.assert_allclose((2 * power.modes * power / volume).sum("k"), expected, rtol=1e-9, atol=1e-12)


def test_a_cross_spectrum_of_masked_copies_is_their_power():
    field = masked(labelled(white((16, 12), samples=4)), holes((4, 16, 12), "random", 1))
    np.testing.assert_allclose(power_spectrum(field, field), power_spectrum(field), rtol=1e-12)
    np.testing.assert_allclose(coherence(field, field), 1, rtol=1e-9)
    # one mask for all samples
    shared = masked(labelled(field.values), field.mask.values[2])
    np.testing.assert_allclose(power_spectrum(shared)[2], power_spectrum(field)[2], rtol=1e-12)
    alone = power_spectrum(shared.isel(sample=2))
    np.testing.assert_allclose(alone, power_spectrum(field)[2], rtol=1e-12)
    # a mask of one of the two
    bare, cross = labelled(field.values), power_spectrum(field, labelled(field.values))
    mean = (bare.values * ~field.mask.values).mean(axis=(1, 2), keepdims=True)
    assert np.isfinite(cross).all()
    assert mean.shape == (4, 1, 1)
    np.testing.assert_allclose(power_spectrum(bare, field), cross, rtol=1e-12)


@pytest.mark.parametrize("shape", [(20,), (12, 10), (6, 5, 8)])
def test_a_constant_has_no_power_under_any_mask(shape):
    field = labelled(np.full((2, *shape), 7.0))
    power = power_spectrum(masked(field, holes(field.shape, "block", 1)), window="hann")
    np.testing.assert_allclose(power, 0, atol=1e-25)


def test_without_bad_pixels_a_mask_changes_nothing():
    field = labelled(white((16, 12), samples=3))
    for boundary in ("periodic", "zero"):
        field["x"].attrs["boundary"] = boundary
        clean = masked(field, np.zeros(field.shape, bool))
        np.testing.assert_allclose(
            power_spectrum(clean, window="hann"), power_spectrum(field, window="hann"), rtol=1e-12
        )


def test_samples_without_good_pixels_are_refused(monkeypatch):
    from sciffusion.statistics import grid

    monkeypatch.setattr(grid, "_BATCH_BYTES", 8 * 64 * 2)  # two samples at a time
    field = labelled(white((8, 8), samples=5))
    bad = holes(field.shape, "random", 1)
    bad[3] = True
    with pytest.raises(ValueError, match="sample 3 of 'field' has no good pixel"):
        power_spectrum(masked(field, bad))
    halves = np.zeros((2, 5, 8, 8), bool)
    halves[0, 4, :4], halves[1, 4, 4:] = True, True
    with pytest.raises(ValueError, match="sample 4 of 'field' and 'field' has no good pixel"):
        power_spectrum(masked(field, halves[0]), masked(field, halves[1]))


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
@pytest.mark.parametrize("shape", [(24,), (12, 12), (8, 8, 8)])
def test_errors_of_the_mean_have_pulls_of_unit_variance(shape, method):
    """Siblings of a group share an amplitude, so that their spectra are correlated."""
    sets, groups, siblings = 60, 30, 4
    rng = np.random.default_rng(5)
    values = rng.normal(size=(sets * groups * siblings, *shape))
    amplitude = rng.gamma(4, 1 / 4, sets * groups).repeat(siblings)  # of unit mean
    power = power_spectrum(labelled(values, spacing=1.0)) * xr.DataArray(amplitude, dims="sample")
    number = np.arange(groups).repeat(siblings)
    pulls, apart = [], []
    for part in np.split(np.arange(power.sizes["sample"]), sets):
        one = power.isel(sample=part).assign_coords(group=("sample", number))
        errors = power_errors(one, method, draws=300)
        assert errors.dims == ("k",)
        assert "group" not in errors.coords
        pulls.append((one.mean("sample") - 1) / errors)
        apart.append((one.mean("sample") - 1) / power_errors(one, method, group=None, draws=300))
    # a t distribution of 29 degrees of freedom has the variance 29 / 27
    outer = np.array(pulls)[:, -2:]
    assert outer.std() == pytest.approx(np.sqrt(29 / 27), abs=0.25)
    assert np.array(apart)[:, -2:].std() > 1.1 * outer.std()


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_five_copies_of_each_sample_are_worth_one(method):
    field = labelled(white((16, 16), samples=12)).assign_coords(group=("sample", np.arange(12)))
    once = power_spectrum(field)
    copies = once.isel(sample=np.repeat(np.arange(12), 5))
    np.testing.assert_allclose(power_errors(copies, method), power_errors(once, method), rtol=1e-9)
    assert (power_errors(copies, method, group=None) < 0.6 * power_errors(once, method)).all()


def test_the_jackknife_is_the_scatter_over_the_root_of_the_number_and_keeps_labels():
    power = power_spectrum(labelled(white((3, 16, 16), samples=30), channel=True))
    errors = power_errors(power, "jackknife")
    np.testing.assert_allclose(errors, power.std("sample", ddof=1) / np.sqrt(30), rtol=1e-10)
    assert errors.dims == ("channel", "k")
    assert errors.attrs["units"] == power.attrs["units"] == "K^2 (Mpc/h)^2"
    np.testing.assert_array_equal(errors.modes, power.modes)
    np.testing.assert_allclose(power_errors(power, "bootstrap", draws=20_000), errors, rtol=0.05)
    with pytest.raises(ValueError, match="unknown method 'gauss'; known are 'gaussian', 'jackknife' and 'bootstrap'"):
        power_errors(power, "gauss")
    with pytest.raises(ValueError, match=r"expected power spectra of samples \(sample, k\)"):
        power_errors(power.mean("sample"), "jackknife")
    with pytest.raises(ValueError, match="at least 2 groups, 30 samples are in 1"):
        power_errors(power.assign_coords(group=("sample", np.zeros(30))), "jackknife")
