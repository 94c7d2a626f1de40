"""Spectra are prepared as they are opened, each file on its own, and brought to one axis before they are joined."""

import numpy as np
import pytest

from data_loaders import DataError, open_field, write_field
from data_loaders.spectra import prepare, spectra_dataset


def spectra(path, first, n=200, seed=0):
    rng = np.random.default_rng(seed)
    wavelength = 10 ** (3.6 + 1e-4 * (first + np.arange(n)))
    flux = rng.lognormal(size=(3, n)).astype(np.float32)
    ds = spectra_dataset(
        flux,
        wavelength,
        units="",
        ivar=np.ones((3, n), np.float32),
        mask=rng.random((3, n)) > 0.95,
        objects={"redshift": [0.1, 0.2, 0.3], "object_id": np.arange(3) + 10 * seed},
    )
    write_field(ds, path)
    return path, ds


def test_options_of_preparation_are_handed_on(tmp_path):
    path, ds = spectra(tmp_path / "a.h5", 0)
    options = {"wavelength": "4000:4100:2", "frame": "observed", "normalize": "median"}
    opened = open_field(path, **options, samples=slice(1, 3))
    assert not opened.flux.variable._in_memory
    expected = prepare(ds, **options).isel(sample=slice(1, 3))
    np.testing.assert_allclose(opened.flux, expected.flux, rtol=1e-6)
    np.testing.assert_array_equal(opened.mask, expected.mask)
    np.testing.assert_allclose(opened.norm, expected.norm, rtol=1e-6)


def test_axes_of_one_lattice_are_aligned(tmp_path):
    (a, one), (b, two) = spectra(tmp_path / "a.h5", 0), spectra(tmp_path / "b.h5", 50, seed=1)
    ds = open_field([a, b])
    assert ds.sizes == {"sample": 6, "wavelength": 250}
    halves = (
        ds.isel(sample=slice(0, 3), wavelength=slice(0, 200)),
        ds.isel(sample=slice(3, 6), wavelength=slice(50, 250)),
    )
    for opened, made in zip(halves, (one, two)):
        np.testing.assert_array_equal(opened.mask, made.mask)
        np.testing.assert_array_equal(opened.flux.where(~opened.mask), made.flux.where(~made.mask))
    assert ds.mask[:3, 200:].all()
    assert ds.mask[3:, :50].all()
    assert not np.any(ds.ivar[:3, 200:])


def test_one_grid_for_all(tmp_path):
    a, b = spectra(tmp_path / "a.h5", 0)[0], spectra(tmp_path / "b.h5", 50.5, seed=1)[0]
    with pytest.raises(DataError, match="wavelength"):
        open_field([a, b])
    assert open_field([a, b], wavelength="4050:4100:2").sizes["sample"] == 6


def test_a_grid_that_is_none_names_the_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.h5: "):
        open_field(spectra(tmp_path / "a.h5", 0)[0], wavelength="4100:4000")


def test_joining_normalized_spectra_reads_none(tmp_path, monkeypatch):
    from data_loaders.spectra.steps import Normalized

    asked, norm = [], Normalized.norm
    monkeypatch.setattr(Normalized, "norm", lambda self, block: asked.append(1) or norm(self, block))
    paths = [spectra(tmp_path / f"{seed}.h5", 0, seed=seed)[0] for seed in (0, 1)]
    ds = open_field(paths, normalize="median")
    assert not asked
    alone = [open_field(path, normalize="median").norm.values for path in paths]
    np.testing.assert_array_equal(ds.norm, np.concatenate(alone))
    np.testing.assert_array_equal(ds.norm[[4, 1]], np.concatenate(alone)[[4, 1]])
