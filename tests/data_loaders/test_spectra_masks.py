"""Mask bits by name and number; values under a mask; the error as a condition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_loaders import DataError
from data_loaders.spectra import bad_pixels, fill, filled, spectra_dataset, usable, with_log_error
from data_loaders.spectra.masks import MASK_BITS


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
def test_names_numbers_and_text_of_numbers(dtype):
    bits = np.array([0, 1 << 23, 1 << 24, 1 << 3, (1 << 23) | 1], dtype)
    assert bad_pixels(bits, "BRIGHTSKY").tolist() == [False, True, False, False, True]
    assert bad_pixels(bits, ["NODATA", "badarc"]).tolist() == [False, False, True, True, False]
    assert bad_pixels(bits, "NODATA,BADARC").tolist() == [False, False, True, True, False]
    assert bad_pixels(bits, 1 << 24).tolist() == bad_pixels(bits, str(1 << 24)).tolist()
    assert bad_pixels(bits, -1).tolist() == [False, True, True, True, True]
    assert not bad_pixels(bits, 0).any()


def test_a_sign_bit_counts():
    assert bad_pixels(np.array([-(2**31)], np.int32), -1).tolist() == [True]


def test_desi_drops_any_bit_by_default():
    bits = np.array([0, *(1 << bit for bit in MASK_BITS["desi"].values())])
    assert bad_pixels(bits, table="desi").tolist() == [False] + [True] * len(MASK_BITS["desi"])


def test_what_is_no_bit():
    with pytest.raises(ValueError, match=r"sdss has no bit COSMIC; it has NOPLUG"):
        bad_pixels(np.zeros(1, int), "COSMIC")
    with pytest.raises(ValueError, match="found dtype float64"):
        bad_pixels(np.zeros(1))
    with pytest.raises(ValueError, match="no table of mask bits 'eso'"):
        bad_pixels(np.zeros(1, int), table="eso")


@given(hnp.arrays(np.float64, (3, 12), elements=st.floats(-5, 5)), hnp.arrays(bool, (3, 12)))
def test_filling_keeps_good_pixels_and_stays_between_them(flux, mask):
    poisoned = np.where(mask, np.nan, flux)
    new = fill(poisoned, mask)
    assert np.array_equal(new[~mask], flux[~mask])
    assert np.isfinite(new).all()
    for row, good in zip(new, ~mask):
        low, high = (row[good].min(), row[good].max()) if good.any() else (0, 0)
        assert low - 1e-12 <= row.min() <= row.max() <= high + 1e-12


def test_a_straight_line_is_filled_exactly():
    line = np.linspace(0, 11, 12)
    mask = np.zeros(12, bool)
    mask[[3, 4, 8]] = True
    assert np.allclose(fill(np.where(mask, 99, line), mask), line)


def noisy():
    sigma = np.array([[0.1] * 6, [0.01] * 6, [1.0] * 6])
    ivar = sigma**-2
    mask = np.zeros((3, 6), bool)
    mask[0, 2], mask[2] = True, True
    ivar[1, 3] = 0
    return spectra_dataset(np.ones((3, 6)), np.arange(6.0) + 5000, units="", ivar=ivar, mask=mask)


def test_the_error_is_finite_under_the_mask():
    log = with_log_error(noisy())["log_error"]
    assert np.allclose(log[0], -1)
    assert np.allclose(log[1], -2)
    assert np.isnan(log[2]).all()  # nothing of this spectrum is known
    assert log.attrs["units"] == "dex"


def test_spectra_without_a_good_pixel_are_found():
    assert usable(noisy()).tolist() == [True, True, False]


def test_filling_a_dataset_keeps_the_mask():
    ds = noisy()
    ds["flux"] = ds.flux.copy(data=np.where(ds.mask, np.nan, np.arange(6.0)))
    new = filled(ds)
    assert np.array_equal(new.mask, ds.mask)
    assert np.allclose(new.flux[0], np.arange(6.0))
    assert np.allclose(new.flux[2], 0)


def test_no_error_is_known():
    ds = spectra_dataset(np.ones((1, 3)), np.arange(3.0) + 5000, units="")
    with pytest.raises(DataError, match="no 'ivar'"):
        with_log_error(ds)
