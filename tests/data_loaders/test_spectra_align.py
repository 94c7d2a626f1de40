"""Files that hold runs of one lattice are put side by side; others are told what to do."""

import numpy as np
import pytest

from data_loaders import DataError, open_field, write_field
from data_loaders.spectra import align, prepare, spectra_dataset

LATTICE = np.arange(35800, 39400)


def sdss(start, n, dtype=np.float64, **axis):
    grid = 10.0 ** (LATTICE[start : start + n] * 1e-4).astype(dtype).astype(np.float64)
    flux = np.full((1, n), start + 1.0, np.float32)
    return spectra_dataset(flux, grid, units="", ivar=flux, mask=np.zeros((1, n), bool), **axis)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_runs_of_a_logarithmic_lattice(dtype):
    starts, lengths = (200, 0, 333), (3000, 2500, 3100)
    parts = [sdss(start, n, dtype) for start, n in zip(starts, lengths)]
    aligned = align(parts, ["a", "b", "c"])
    for ds, start, n in zip(aligned, starts, lengths):
        assert ds.sizes["wavelength"] == 3433
        assert np.allclose(ds.wavelength, 10.0 ** (LATTICE[:3433] * 1e-4), rtol=4e-7)
        assert np.array_equal(ds.wavelength, aligned[0].wavelength)
        inside = np.zeros(3433, bool)
        inside[start : start + n] = True
        assert np.array_equal(~ds.mask.values[0], inside)
        assert np.array_equal(ds.flux.values[0], np.where(inside, start + 1, 0))
        assert np.array_equal(ds.ivar.values[0], ds.flux.values[0])
        assert ds.wavelength.attrs == parts[0].wavelength.attrs


def test_runs_of_a_linear_lattice():
    grids = [3600 + 0.8 * np.arange(100), 3600 + 0.8 * np.arange(50, 200)]
    parts = [spectra_dataset(np.ones((2, len(grid))), grid, units="") for grid in grids]
    first, second = align(parts, ["a", "b"])
    assert np.allclose(first.wavelength, 3600 + 0.8 * np.arange(200))
    assert (~first.mask.values).sum(axis=1).tolist() == [100, 100]
    assert (~second.mask.values).sum(axis=1).tolist() == [150, 150]


def test_equal_grids_are_left_alone():
    parts = [sdss(0, 10), sdss(0, 10)]
    assert all(a is b for a, b in zip(align(parts, ["a", "b"]), parts))


def test_files_are_joined_on_the_union(tmp_path):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, start in zip(paths, (0, 40)):
        write_field(sdss(start, 300), path)
    ds = open_field(paths)
    assert ds.flux.shape == (2, 340)
    assert ds.mask.values.sum(axis=1).tolist() == [40, 40]


def test_grids_of_no_lattice():
    parts = [sdss(0, 100), prepare(sdss(0, 100), wavelength="3805:3850:0.77")]
    with pytest.raises(DataError, match=r"b: .*no parts of one linear or logarithmic grid; give --wavelength"):
        align(parts, ["a", "b"])


def test_grids_between_the_pixels():
    other = spectra_dataset(np.ones((1, 100)), 10.0 ** ((LATTICE[:100] + 0.5) * 1e-4), units="")
    with pytest.raises(DataError, match="no parts of one"):
        align([sdss(0, 100), other], ["a", "b"])


def test_lattices_far_apart_are_refused():
    parts = [spectra_dataset(np.ones((1, 9)), start + 1e-4 * np.arange(9), units="") for start in (4000.0, 9000.0)]
    with pytest.raises(DataError, match="no parts of one"):
        align(parts, ["a", "b"])


def test_media_are_not_mixed():
    with pytest.raises(
        DataError, match=r"b: medium 'air' .* differs from 'vacuum' of a; bring all to one with --medium"
    ):
        align([sdss(0, 10), sdss(2, 10, medium="air")], ["a", "b"])
