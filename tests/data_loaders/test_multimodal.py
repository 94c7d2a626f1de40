"""Multimodal Universe: files written in its layout (no real one is at hand)."""

import pickle

import h5py
import numpy as np
import pytest
from makers_spectra import MULTIMODAL_GRID as GRID
from makers_spectra import write_multimodal as write

from data_loaders import DataError, open_field
from data_loaders.spectra import prepare, spectra_dataset


def test_spectra_padded_at_the_end_have_one_axis(tmp_path):
    ds = open_field(write(tmp_path / "001-of-001.hdf5"))
    assert ds.wavelength.values.tolist() == GRID.tolist()
    assert ds.wavelength.attrs["medium"] == "vacuum"
    assert ds.flux.values.tolist() == [[1] * 4, [2] * 4, [3, 3, 3, -1]]
    assert np.argwhere(ds.mask.values).tolist() == [[0, 1], [1, 1], [2, 1], [2, 3]]
    assert ds.ivar.values[2].tolist() == [2, 2, 2, 0]
    assert ds.object_id.values.tolist() == [39633559463397282, 39633559463397283, 39633559463397284]
    assert ds.redshift.values.tolist() == np.float32([0.1, 0.2, 0.3]).tolist()
    assert ds.ra.attrs["units"] == "deg"
    again = pickle.loads(pickle.dumps(ds.flux))
    assert again.isel(sample=[2, 0], wavelength=0).values.tolist() == [3, 1]


def test_rows_of_other_wavelengths_need_a_grid(tmp_path):
    path = write(tmp_path / "a.hdf5", wavelength=np.array([GRID, GRID + 0.5, GRID]))
    with pytest.raises(DataError, match=r"row 1 has 4 pixels of other wavelengths.*give wavelength="):
        open_field(path)
    ds = open_field(path, wavelength="4000:4003:1")
    assert ds.wavelength.values.tolist() == GRID.tolist()
    assert ds.flux.values[1, 2] == 2
    assert ds.flux.values[0, 3] == 1


def test_a_row_that_differs_and_was_not_seen_at_opening_is_named_when_it_is_read(tmp_path):
    lam = np.tile(GRID, (200, 1))
    n = len(lam)
    path = tmp_path / "a.hdf5"
    seen = np.linspace(0, n - 1, 64).astype(int)
    odd = next(i for i in range(n) if i not in seen)
    lam[odd] += 0.25
    with h5py.File(path, "w") as file:
        file["object_id"] = np.arange(n)
        for name, values in {"lambda": lam, "flux": lam, "ivar": lam, "mask": lam < 0}.items():
            file[f"spectrum_{name}"] = values
    ds = open_field(path)
    assert ds.flux.isel(sample=odd - 1).shape == (4,)
    with pytest.raises(DataError, match=f"row {odd} "):
        ds.flux.isel(sample=odd).load()


def test_images_have_bands_as_channels(tmp_path):
    path = write(tmp_path / "a.hdf5", images=True)
    with pytest.raises(DataError, match=r"choose one with dataset=.*spectrum, image"):
        open_field(path)
    ds = open_field(path, dataset="image")
    assert ds.image.dims == ("sample", "channel", "y", "x")
    assert ds.channel.values.tolist() == ["g", "r"]
    np.testing.assert_array_equal(ds.image.values, np.arange(72.0).reshape(3, 2, 4, 3))
    assert ds.image.attrs["units"] == "nanomaggy"
    assert not ds.mask.values.any()
    assert open_field(write(tmp_path / "b.hdf5", spectra=False, images=True)).image.shape == (3, 2, 4, 3)


def test_what_does_not_fit_is_refused(tmp_path):
    short = write(tmp_path / "a.hdf5", spectrum_flux=np.ones((3, 3), np.float32))
    with pytest.raises(DataError, match=r"of one shape, found flux \(3, 3\)"):
        open_field(short)
    rows = write(tmp_path / "b.hdf5", spectrum_ivar=np.ones((2, 4), np.float32))
    with pytest.raises(DataError, match=r"spectrum_ivar has shape \(2, 4\), spectrum_flux has 3 rows"):
        open_field(rows)
    path = write(tmp_path / "c.hdf5")
    with h5py.File(path, "a") as file:
        del file["spectrum_ivar"]
    with pytest.raises(DataError, match="expected a dataset spectrum_ivar; the file holds: "):
        open_field(path)
    mixed = np.array([[b"g", b"r"], [b"r", b"g"], [b"g", b"r"]])
    with pytest.raises(DataError, match="bands of row 1"):
        open_field(write(tmp_path / "d.hdf5", spectra=False, images=True, image_band=mixed))
    with pytest.raises(DataError, match="dataset='cube'"):
        open_field(write(tmp_path / "e.hdf5"), dataset="cube")


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "a.hdf5")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"a\.hdf5: "):
        open_field(path).flux.load()


def test_rows_of_their_own_wavelengths_go_to_a_grid_of_the_rest_frame(tmp_path):
    """The grid is that of the frame that is asked for, as for any other spectra."""
    z = np.array([0.1, 0.2], np.float64)
    lam = 3700.0 + np.arange(700) + np.array([[0.0], [0.3]])
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["object_id"], file["Z"] = np.arange(2), z
        # A line at 3500 Angstrom at rest.
        flux = 1 + np.exp(-0.5 * ((lam / (1 + z[:, None]) - 3500) / 3) ** 2)
        values = {"lambda": lam, "flux": flux, "ivar": np.ones_like(lam), "mask": np.zeros(lam.shape, bool)}
        for name, value in values.items():
            file[f"spectrum_{name}"] = value
    with pytest.raises(DataError, match="row 1 has 700 pixels of other wavelengths"):
        open_field(path, frame="rest")
    ds = open_field(path, wavelength="3450:3550:2", frame="rest")
    assert ds.wavelength.attrs["frame"] == "rest"
    assert not ds.mask.values[0].any()
    assert ds.wavelength.values[np.argmax(ds.flux.values[0])] == 3500
    np.testing.assert_allclose(ds.flux.values[0, 0], 1.1, rtol=1e-6)
    one = spectra_dataset(flux[:1], lam[0], ivar=np.ones((1, 700)), units="", objects={"redshift": z[:1]})
    one = prepare(one, wavelength="3450:3550:2", frame="rest")
    np.testing.assert_allclose(ds.ivar.values[0], one.ivar.values[0], rtol=1e-6)
    air = open_field(path, wavelength="3450:3550:2", frame="rest", medium="air")
    assert air.wavelength.values.tolist() == ds.wavelength.values.tolist()
    shift = np.average(air.wavelength, weights=air.flux[0] - 1.1) - np.average(ds.wavelength, weights=ds.flux[0] - 1.1)
    np.testing.assert_allclose(shift, -1.0, atol=0.05)
    with pytest.raises(DataError, match="frame must be one of"):
        open_field(path, wavelength="3450:3550:2", frame="galactic")
