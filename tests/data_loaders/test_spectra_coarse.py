"""Spectra at low resolution as a condition of those at high resolution."""

import pickle

import numpy as np
import pytest

from data_loaders import DataError
from data_loaders.spectra import coarse_shape, held, prepare, rebin, spectra_dataset, with_coarse
from data_loaders.spectra.coarse import WINDOW
from data_loaders.spectra.steps import Resampled

FINE, LOW = np.arange(4000.0, 8500), np.arange(4000.0, 8497, 8)


def spectra(num=3, *, seed=0, bad=()):
    rng = np.random.default_rng(seed)
    flux = rng.uniform(0.5, 2, num)[:, None] * (1 + 0.3 * np.sin(FINE / 300) + 0.1 * rng.standard_normal((num, 4500)))
    mask = np.zeros(flux.shape, bool)
    mask[0, list(bad)] = True
    return spectra_dataset(flux, FINE, units="erg", ivar=np.ones_like(flux), mask=mask)


def test_the_coordinates_are_those_of_the_rebinned_spectra():
    ds = with_coarse(spectra(), "4000:8496:8")
    low, _, _ = rebin(FINE, LOW, ds.flux.values.astype(np.float64))
    inside = (WINDOW[0] <= LOW) & (WINDOW[1] >= LOW)
    mean = low[:, inside].mean(1)
    np.testing.assert_allclose(ds["log_norm"], np.log10(mean), rtol=1e-6)
    wanted = [np.interp(FINE, LOW, row) for row in np.arcsinh(low / mean[:, None])]
    np.testing.assert_allclose(ds["coarse"], wanted, atol=2e-6)
    assert ds["coarse"].dims == ("sample", "wavelength")
    assert ds["log_norm"].attrs["units"] == "dex"


def test_a_file_and_a_drawn_spectrum_go_the_same_way():
    ds = spectra()
    low = prepare(ds, wavelength="4000:8496:8")
    shape, log_norm = coarse_shape(low.flux.values, LOW, FINE)
    made = with_coarse(ds, "4000:8496:8")
    np.testing.assert_allclose(made["coarse"], shape, atol=2e-6)
    np.testing.assert_allclose(made["log_norm"], log_norm, rtol=1e-6)


def test_samples_come_alone_as_in_the_set():
    ds = with_coarse(spectra(5), "4000:8496:8")
    np.testing.assert_array_equal(ds["coarse"][[4, 1]].values, ds["coarse"].values[[4, 1]])
    np.testing.assert_array_equal(ds.isel(sample=2)["log_norm"], ds["log_norm"].values[2])


def test_bad_pixels_are_bridged_and_a_spectrum_without_light_is_not_known():
    bad = range(1000, 1100)
    whole, holed = (with_coarse(spectra(bad=b), "4000:8496:8")["coarse"].values[0] for b in ((), bad))
    assert np.isfinite(holed).all()
    middle = holed[1010:1090]
    np.testing.assert_allclose(np.diff(middle, 2), 0, atol=1e-6)  # a straight line
    np.testing.assert_array_equal(np.abs(holed - whole)[:900] < 1e-6, True)
    dark = spectra()
    dark["flux"][1] = -1.0
    made = with_coarse(dark, "4000:8496:8")
    assert np.isnan(made["coarse"].values).all(1).tolist() == [False, True, False]
    assert np.isnan(made["log_norm"].values).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("grid", "told"), [("4400:8496:8", "must cover"), ("4000:4100:8", "must cover"), ("8:4", "--wavelength must be")]
)
def test_grids_that_do_not_fit_are_told_at_once(grid, told):
    with pytest.raises(DataError, match=told):
        with_coarse(spectra(), grid)
    with pytest.raises(DataError, match=r"lies in 1 to 2"):
        coarse_shape(np.ones((1, 563)), LOW, FINE, window=(1, 2))


def test_flux_errors_and_masks_are_computed_once_together(monkeypatch):
    ds = prepare(spectra(), wavelength="4000:8496:8")
    asked, block = [], Resampled.block
    monkeypatch.setattr(Resampled, "block", lambda self, numbers: asked.append(len(numbers)) or block(self, numbers))
    there = held(ds)
    assert asked == [3]
    for name in ("flux", "ivar", "mask"):
        np.testing.assert_array_equal(there[name].values, ds[name].values)
        assert there[name].dtype == ds[name].dtype
    count = len(asked)
    assert there.flux.values.shape == (3, 563)
    assert len(asked) == count


def test_lazy_spectra_travel_without_what_they_remember():
    ds = with_coarse(spectra(), "4000:8496:8")
    low = prepare(spectra(), wavelength="4000:8496:8")
    assert low["flux"].values.any()
    again = pickle.loads(pickle.dumps(low))
    np.testing.assert_array_equal(again["mask"], low["mask"])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ds))["coarse"], ds["coarse"])
