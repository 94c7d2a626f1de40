"""AAOmega: real files, linear and log, air and vacuum; and what is refused."""

import numpy as np
import pytest
from astropy.io import fits
from makers_spectra import write_aaomega as write

from data_loaders import DataError, open_field


def test_targets_are_kept_and_radians_become_degrees(tmp_path):
    path = write(tmp_path / "reduced.fits")
    ds = open_field(path)
    assert ds.flux.values.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert ds.name.values.tolist() == ["o0", "o2"]
    assert ds.wavelength.values.tolist() == [5998, 6000, 6002, 6004]
    assert ds.wavelength.attrs["medium"] == "air"
    assert ds.attrs["heliocentric"] is False
    np.testing.assert_allclose([ds.ra.values[0], ds.dec.values[0]], [90, -30])
    assert ds.ivar.values[1].tolist() == [0.25, 0, 0.25, 0.25]
    assert np.argwhere(ds.mask.values).tolist() == [[0, 0], [1, 1]]
    assert open_field(path, keep="all").type.values.tolist() == ["P", "S", "P"]


def test_log_grids_in_vacuum(tmp_path):
    grid = np.tile(3.7 + 1e-3 * np.arange(4), (3, 1))
    ds = open_field(write(tmp_path / "log.fits", grid=grid, VACUUM=True, LOGSCALE=True, DO_HELIO=True))
    np.testing.assert_allclose(ds.wavelength, 10 ** grid[0])
    assert ds.wavelength.attrs["medium"] == "vacuum"
    assert ds.attrs["heliocentric"] is True


def test_what_cannot_be_one_grid_is_refused(tmp_path):
    grid = 3.7 + 1e-3 * (np.arange(4) + np.arange(3)[:, None])
    with pytest.raises(DataError, match="wavelengths of their own"):
        open_field(write(tmp_path / "a.fits", grid=grid, LOGSCALE=True))
    with pytest.raises(DataError, match="no HDU WAVELENGTH"):
        open_field(write(tmp_path / "b.fits", LOGSCALE=True))
    with pytest.raises(DataError, match="lists 3 fibers, the flux has 2"):
        open_field(write(tmp_path / "c.fits", flux=np.ones((2, 4))))
    with pytest.raises(DataError, match="none of 2 fibers is on a target"):
        open_field(write(tmp_path / "d.fits", types="SS"))
    path = write(tmp_path / "e.fits")
    path.write_bytes(path.read_bytes()[:5760])
    with pytest.raises(DataError, match=r"e.fits"):
        open_field(path, reader="aaomega")


def test_real_files(shared_data):
    folder = shared_data / "spectra/aaomega"
    many = open_field(folder / "emlLogVacuumHelioMultiple.fits")
    assert many.flux.shape == (3, 5037)
    assert many.wavelength.attrs["medium"] == "vacuum"
    # Names are coordinates: D0221394-2854323.
    degrees = 15 * (2 + 21 / 60 + 39.4 / 3600), -(28 + 54 / 60 + 32.3 / 3600)
    np.testing.assert_allclose([many.ra.values[0], many.dec.values[0]], degrees, atol=1e-3)
    one = open_field(folder / "emlLinearSkyAirHelio.fits")
    assert one.flux.shape == (1, 5037)
    assert one.wavelength.attrs["medium"] == "air"
    assert one.attrs["heliocentric"]
    quasar = open_field(folder / "quasarLinearSkyAirNoHelio.fits")
    assert quasar.flux.shape == (1, 4938)
    assert not quasar.attrs["heliocentric"]
    header = fits.getheader(folder / "quasarLinearSkyAirNoHelio.fits")
    assert quasar.wavelength.values[int(header["CRPIX1"]) - 1] == header["CRVAL1"]


def test_the_same_real_object_in_air_and_vacuum_has_its_lines_in_one_place(shared_data):
    folder = shared_data / "spectra/aaomega"
    one = open_field(folder / "emlLinearSkyAirHelio.fits", medium="vacuum")
    same = open_field(folder / "emlLogVacuumHelioMultiple.fits").isel(sample=[0])
    assert one.name.values[0] == same.name.values[0]
    peaks = []
    for ds in (one, same):
        inside = (ds.wavelength > 4200) & (ds.wavelength < 8500)
        flux = np.where(ds.mask, 0, ds.flux)[0][inside.values]
        peaks.append(float(ds.wavelength[inside][np.argmax(flux)]))
    assert abs(peaks[0] - peaks[1]) < 1.5, peaks
