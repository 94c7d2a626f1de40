"""Spectra as shape and amplitude: what the window gives, bad pixels, units, and the chain of the field."""

import json

import numpy as np
import pytest
import xarray as xr

from sciffusion.fields.galaxies import galaxy_spectra
from sciffusion.transform import Amplitude, chain, from_dict, network_channels

UNITS = "1e-17 erg / (s cm2 Angstrom)"
WAVELENGTH = np.arange(6850.0, 7000.0, 10)
WINDOW = (WAVELENGTH >= 6900) & (WAVELENGTH <= 6950)


def spectra(num=30, mask=False, seed=0, wavelength=WAVELENGTH):
    rng = np.random.default_rng(seed)
    flux = 10 ** rng.normal(1, 0.5, (num, 1)) * (1 + 0.2 * rng.normal(size=(num, len(wavelength))))
    coords = {
        "wavelength": ("wavelength", wavelength, {"units": "Angstrom"}),
        "redshift": ("sample", rng.uniform(0, 0.1, num)),
        "sample": np.arange(num) + 100,
    }
    if mask:
        coords["mask"] = (("sample", "wavelength"), rng.random(flux.shape) < 0.3)
    return xr.DataArray(flux, dims=("sample", "wavelength"), coords=coords, name="flux", attrs={"units": UNITS})


def test_the_amplitude_is_the_mean_in_the_window_and_the_shape_what_is_left():
    flux = spectra()
    both = Amplitude(6900, 6950)(flux)
    norm = flux.values[:, WINDOW].mean(1)
    assert both.dims == ("sample", "channel", "wavelength")
    assert both["channel"].values.tolist() == ["shape", "log_norm"]
    np.testing.assert_allclose(both.sel(channel="shape"), flux.values / norm[:, None])
    np.testing.assert_allclose(both.sel(channel="log_norm"), np.log10(norm)[:, None] + np.zeros_like(flux))
    assert set(both.coords) == {*flux.coords, "channel"}
    assert both.attrs == flux.attrs
    assert network_channels(Amplitude(6900, 6950), flux) == (both.dims, ["shape", "log_norm"])


def test_bad_pixels_take_no_part_unless_all_of_the_window_is_bad():
    flux = spectra(mask=True)
    flux["mask"][4, WINDOW] = True
    flux["mask"][5, WINDOW] = False
    flux = flux.where(~flux["mask"] | (flux["sample"] == 104), 1e5)  # what bad pixels hold must not matter
    both = Amplitude(6900, 6950)(flux)
    for i, values in enumerate(flux.values):
        good = WINDOW & (~flux["mask"].values[i] if i != 4 else True)
        np.testing.assert_allclose(both.values[i, 1], np.log10(values[good].mean()))


@pytest.mark.parametrize("mask", [False, True])
def test_flux_comes_back_in_units_with_its_norm_as_a_coordinate(mask):
    flux = spectra(mask=mask)
    transform = Amplitude(6900, 6950)
    back = transform.inverse(transform(flux))
    assert back.dims == flux.dims
    assert back.attrs["units"] == UNITS
    np.testing.assert_allclose(back, flux, rtol=1e-12)
    assert back["norm"].dims == ("sample",)
    assert back["norm"].attrs == {"units": UNITS, "long_name": "mean of 6900 to 6950"}
    if not mask:
        np.testing.assert_allclose(back["norm"], flux.values[:, WINDOW].mean(1))
    assert "channel" not in back.coords
    np.testing.assert_array_equal(back["redshift"], flux["redshift"])
    turned = transform(flux).transpose("wavelength", "channel", "sample").isel(channel=[1, 0])
    np.testing.assert_allclose(transform.inverse(turned), flux, rtol=1e-12)


def test_of_a_drawn_amplitude_its_mean_along_the_spectrum_counts():
    both = Amplitude(6900, 6950)(spectra(2))
    wiggle = np.linspace(-0.1, 0.1, len(WAVELENGTH))
    both.values[:, 1] = 2 + wiggle
    np.testing.assert_allclose(Amplitude(6900, 6950).inverse(both)["norm"], [100, 100])


def test_the_chain_of_galaxies_is_unit_variance_in_both_channels_and_survives_a_file():
    window = chain(galaxy_spectra.transform).parts[0]
    flux = spectra(400, wavelength=np.linspace(window.low - 50, window.high + 50, 15))
    fitted = chain(galaxy_spectra.transform).fit(flux)
    seen = fitted(flux)
    np.testing.assert_allclose(seen.mean("sample"), 0, atol=1e-9)
    np.testing.assert_allclose(seen.std("sample"), 1, rtol=1e-6)
    assert network_channels(fitted, flux) == (("sample", "channel", "wavelength"), ["shape", "log_norm"])
    again = from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    back = again.inverse(seen.astype(np.float32))
    np.testing.assert_allclose(back, flux, rtol=1e-4)
    inside = (flux["wavelength"] >= window.low) & (flux["wavelength"] <= window.high)
    np.testing.assert_allclose(back["norm"], flux.values[:, inside].mean(1), rtol=1e-4)
    twice = fitted(10 * flux)  # only the amplitude knows the scale
    np.testing.assert_allclose(twice.sel(channel="shape"), seen.sel(channel="shape"))
    np.testing.assert_allclose(again.inverse(twice), 10 * flux)


def test_what_has_no_amplitude_is_refused():
    flux = spectra(4)
    flux[2, WINDOW] = -1.0
    told = r"the mean flux of sample 102 between 6900 and 6950 is -1, not positive; leave such spectra out"
    with pytest.raises(ValueError, match=told):
        Amplitude(6900, 6950)(flux)
    with pytest.raises(ValueError, match="no pixel lies between 5000 and 5010; give another window"):
        Amplitude(5000, 5010)(spectra(1))
    with pytest.raises(ValueError, match=r"takes spectra \(sample, wavelength\), found \('sample', 'x'\)"):
        Amplitude(5000, 5010)(spectra(1).rename(wavelength="x"))
    for low, high in [(7000, 6900), (6900, 6900), (-5, 6900), (float("nan"), 6900)]:
        with pytest.raises(ValueError, match="amplitude: expected a window LOW:HIGH of positive wavelengths"):
            Amplitude(low, high)


@pytest.mark.parametrize("text", ["amplitude", "amplitude:6900", "amplitude:6900:6950:7000", "amplitude:a:b"])
def test_what_to_type(text):
    with pytest.raises(ValueError, match=r"expected NAME, amplitude:LOW:HIGH"):
        chain([text])
    assert chain(["amplitude:6900:6950"]).parts == (Amplitude(6900.0, 6950.0),)
