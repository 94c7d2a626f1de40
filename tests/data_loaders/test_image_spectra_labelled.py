"""Spectra with the image beside them in the labelled layout, as a simulation writes them."""

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, main_variable, open_field, open_image_spectra, write_field
from data_loaders.spectra import spectra_dataset, with_aperture_colors


def labelled(path, n=4, size=32, seed=0, colors=True, wavelength=None, scale=0.792):
    """What a simulation writes: spectra with the image beside them."""
    rng = np.random.default_rng(seed)
    grid = 4000.0 + 8 * np.arange(60) if wavelength is None else wavelength
    ids = np.arange(n) + 100 * seed
    objects = {"object_id": ids, "group": ids, "redshift": np.linspace(0.05, 0.15, n), "A_V": rng.uniform(0, 1, n)}
    flux = (1 + rng.random((n, len(grid)))).astype(np.float32)
    ds = spectra_dataset(
        flux, grid, units="1e-17 erg / (s cm2 Angstrom)", ivar=np.ones_like(flux), mask=flux > 1.99, objects=objects
    )
    attrs = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
    offset = (np.arange(size) - (size - 1) / 2) * scale / 3600
    ds = ds.assign_coords(band=("band", list("ugriz")), y=("y", offset, attrs), x=("x", offset, attrs))
    image = rng.uniform(1, 2, (n, 5, size, size)).astype(np.float32)
    ds["image"] = (("sample", "band", "y", "x"), image, {"units": "nanomaggy", "long_name": "image"})
    ds = with_aperture_colors(ds) if colors else ds
    write_field(ds, path)
    return ds


def test_a_labelled_file_opens_as_it_is_and_reads_nothing(tmp_path):
    ds = labelled(tmp_path / "set.h5")
    opened = open_image_spectra(tmp_path / "set.h5")
    assert not opened.image.variable._in_memory
    assert not opened.flux.variable._in_memory
    xr.testing.assert_identical(opened.load(), ds)
    assert main_variable(opened).name == "flux"


def test_open_field_keeps_the_image_through_every_option_and_a_join(tmp_path):
    parts = [labelled(tmp_path / f"{i}.h5", seed=i) for i in (1, 2)]
    paths = [tmp_path / "1.h5", tmp_path / "2.h5"]
    options = {"wavelength": "4040:4400:20", "medium": "air", "normalize": "4100:4300", "samples": [5, 0]}
    ds = open_field(paths, **options)
    assert not ds.image.variable._in_memory
    np.testing.assert_array_equal(ds.image, [parts[1].image.values[1], parts[0].image.values[0]])
    assert ds.flux.shape == (2, 19)
    assert ds.norm.dims == ("sample",)
    rest = open_field(paths, wavelength="3600:3800:20", frame="rest", select={"redshift": (0.1, None)})
    np.testing.assert_array_equal(rest.image.values[:2], parts[0].image.values[2:])
    both = open_image_spectra(paths, **options)
    xr.testing.assert_identical(both.load(), ds.load())


def test_files_whose_spectra_start_elsewhere_keep_their_images(tmp_path):
    grid = 10 ** (3.6 + 1e-4 * np.arange(62))
    parts = [labelled(tmp_path / f"{i}.h5", seed=i, wavelength=grid[2 * i : 58 + 2 * i]) for i in (1, 2)]
    ds = open_image_spectra([tmp_path / "1.h5", tmp_path / "2.h5"])
    assert ds.sizes["wavelength"] == 60
    np.testing.assert_array_equal(ds.image, np.concatenate([part.image for part in parts]))


def test_files_of_other_images_do_not_join(tmp_path):
    labelled(tmp_path / "1.h5")
    labelled(tmp_path / "2.h5", size=16, seed=1)
    with pytest.raises(DataError, match=r"2\.h5: image .*'y': 16.* differs from image .*'y': 32"):
        open_field([tmp_path / "1.h5", tmp_path / "2.h5"])
    labelled(tmp_path / "3.h5", seed=1, scale=0.396)
    with pytest.raises(DataError, match=r"3\.h5: coordinate '[xy]' differs"):
        open_field([tmp_path / "1.h5", tmp_path / "3.h5"])


def test_a_labelled_file_takes_another_form_on_request_and_is_measured_where_it_is_not(tmp_path):
    ds = labelled(tmp_path / "set.h5")
    coarse = open_image_spectra(tmp_path / "set.h5", size=16)
    np.testing.assert_allclose(coarse.image, ds.image.values.reshape(4, 5, 16, 2, 16, 2).sum(axis=(3, 5)), rtol=1e-6)
    np.testing.assert_array_equal(coarse.g_r, ds.g_r)
    middle = open_image_spectra(tmp_path / "set.h5", pixel_scale=0.792, size=8, bands="rg")
    np.testing.assert_array_equal(middle.image, ds.image[:, [2, 1], 12:20, 12:20])
    np.testing.assert_array_equal(open_image_spectra(tmp_path / "set.h5", pixel_scale=1.584).image, coarse.image)
    labelled(tmp_path / "bare.h5", colors=False)
    np.testing.assert_allclose(open_image_spectra(tmp_path / "bare.h5").u_g, ds.u_g)
