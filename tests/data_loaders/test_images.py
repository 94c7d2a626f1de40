"""Images without their spectra: the same pixels and colors as beside them."""

import numpy as np
import pytest
import xarray as xr
from makers_fields import write_galaxies
from makers_spectra import write_spec
from test_image_spectra import write_cube, write_multimodal_images

from data_loaders import DataError, open_image_spectra, open_images, write_field
from data_loaders.images import hold_images_alone
from data_loaders.simulate.galaxies import Galaxies, galaxies


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("galaxies") / "galaxies.h5"
    write_field(galaxies(Galaxies(num=3)), path)
    return path


def test_a_cube_of_images_alone(tmp_path):
    path = write_cube(tmp_path / "sdss.npz", [7, 8, 9])
    ds = open_images(path)
    assert ds.attrs["field"] == "image"
    assert ds.image.shape == (3, 5, 32, 32)
    np.testing.assert_allclose(ds.image[:, :, 0, 0], 4 * (1 + np.arange(3)[:, None] + np.arange(5) / 8))
    assert ds.object_id.values.tolist() == [7, 8, 9]
    np.testing.assert_allclose(ds.u_g, 2.5 * np.log10((np.arange(1, 4) + 1 / 8) / np.arange(1, 4)), rtol=1e-5)
    few = open_images(path, size=16, pixel_scale=0.792, bands="rg", samples=[2])
    assert few.image.shape == (1, 2, 16, 16)
    assert few.band.values.tolist() == ["r", "g"]
    xr.testing.assert_allclose(open_images(path, select={"g_r": (None, float(ds.g_r[1]))}), ds.isel(sample=[1, 2]))


def test_a_survey_without_a_band_and_with_other_pixels(tmp_path):
    path = write_multimodal_images(tmp_path / "images.hdf5", [1, 2], [(10.0, 0.0), (20.0, 0.0)])
    ds = open_images(path, size=50, pixel_scale=0.504)
    assert np.isnan(ds.image.isel(band=[0, 1])).all(("y", "x")).values.tolist() == [[True, False]] * 2
    assert np.isnan(ds.u_g).all()
    with pytest.raises(DataError, match="these work: size="):
        open_images(path)


@pytest.mark.parametrize("form", [{}, {"size": 16}, {"bands": "gr", "size": 8, "pixel_scale": 1.584}])
def test_files_with_spectra_give_their_images(tmp_path, simulated, form):
    for path in (simulated, write_galaxies(tmp_path / "sdss", numbers=(1, 2), ids=[5, 6])):
        pair, ds = open_image_spectra(path, **form), open_images(path, **form)
        xr.testing.assert_equal(ds.image.variable, pair.image.variable)
        np.testing.assert_array_equal(ds.g_r, pair.g_r)
        assert "wavelength" not in ds.sizes


def test_what_files_hold(tmp_path, simulated):
    cube, spec = write_cube(tmp_path / "sdss.npz", [7]), tmp_path / "spec-0266-51602-0001.fits"
    write_spec(spec)
    assert hold_images_alone(cube)
    assert hold_images_alone([cube])
    maps = tmp_path / "maps.npy"
    np.save(maps, np.ones((3, 8, 8)))
    for paths in (simulated, spec, [cube, spec], maps, tmp_path / "nothing"):
        assert not hold_images_alone(paths)
    with pytest.raises(DataError, match=r"expected files of images, of one kind; found 1 of images .*1 of spectra"):
        open_images([cube, spec])
    with pytest.raises(DataError, match=r"found 1 of spectra \(spec-0266"):
        open_images(spec)
    with pytest.raises(DataError, match="takes no option colour"):
        open_images(cube, colour=1)
