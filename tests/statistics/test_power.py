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
