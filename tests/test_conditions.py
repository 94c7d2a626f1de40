"""Conditions: scalars and maps, their scale over the training set, what is not known, and the mask of bad pixels."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sciffusion import conditions
from sciffusion.conditions import Conditions, Scale, has_bad_pixels, read_condition

DIMS = ("z", "y", "x")
GRIDS = [(6,), (4, 3), (2, 3, 4)]


def spectra(num=12, grid=(6,), mask=False):
    """Fields with a scalar and a map of errors, the map of sample 2 not known at one pixel."""
    rng = np.random.default_rng(0)
    dims = ("sample", *DIMS[-len(grid) :])
    error = rng.normal(-2, 0.3, (num, *grid)).astype(np.float32)
    error[2].flat[1] = np.nan
    color = rng.normal(0.6, 0.1, num)
    color[3] = np.nan
    coords = {"J_H": ("sample", color, {"units": "mag"}), "log_error": (dims, error, {"units": "dex"})}
    if mask:
        bad = np.zeros((num, *grid), bool)
        bad[:, ..., 0] = True
        coords["mask"] = (dims, bad)
    return xr.DataArray(rng.normal(size=(num, *grid)), dims=dims, coords=coords, name="flux")


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=9), min_size=1, max_size=5), st.floats(-1e9, 1e9))
def test_the_scale_of_blocks_is_that_of_all_their_values(blocks, offset):
    blocks = [np.array(block) + offset for block in blocks]
    values = np.concatenate(blocks)
    scale = Scale.of(blocks)
    if not values.size:
        assert np.isnan(scale).all()
        return
    assert (scale.low, scale.high) == (values.min(), values.max())
    assert scale.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
    expected = values.std() if np.ptp(values) else 1.0
    assert scale.std == pytest.approx(expected, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_map_is_standardized_over_the_pixels_of_the_samples_that_know_it(grid):
    field = spectra(grid=grid)
    known = Conditions.of(field, ["J_H", "log_error"])
    assert (known.scalars, known.maps) == (("J_H",), ("log_error",))
    whole = np.delete(field["log_error"].values, 2, axis=0)
    assert known.scales["log_error"] == pytest.approx((whole.mean(), whole.std(), whole.min(), whole.max()), rel=1e-5)
    cond = known.standardize(known.values(field))["log_error"]
    assert cond.value.shape == (12, 1, *grid)
    assert cond.value.dtype == torch.float32
    assert cond.present.tolist() == [i != 2 for i in range(12)]
    assert float(cond.value[2].abs().max()) == 0
    np.testing.assert_allclose(cond.value[5, 0], (field["log_error"][5] - whole.mean()) / whole.std(), atol=1e-5)


def test_an_unknown_scalar_is_absent_in_its_sample_alone():
    field = spectra()
    known = Conditions.of(field, ["J_H"])
    cond = known.standardize(known.values(field))["J_H"]
    assert cond.present.tolist() == [i != 3 for i in range(12)]
    values = np.delete(field["J_H"].values, 3)
    np.testing.assert_allclose(cond.value[4], (field["J_H"][4] - values.mean()) / values.std(), rtol=1e-5)
    assert known.range("J_H") == (values.min(), values.max())


def test_dims_may_come_in_any_order():
    field = spectra(grid=(4, 3))
    turned = field.assign_coords(log_error=field["log_error"].transpose("x", "sample", "y"))
    np.testing.assert_array_equal(read_condition(turned, "log_error"), field["log_error"])


def test_the_mask_is_neither_standardized_nor_kept():
    field = spectra(mask=True)
    known = Conditions.of(field, ["mask", "J_H"])
    assert known.table["mask"].shape == (1, 6)
    assert not known.table["mask"].any()
    assert known.range("mask") == (0.0, 1.0)
    assert len(known.table["J_H"]) == 12
    cond = known.standardize(known.values(field))["mask"]
    np.testing.assert_array_equal(cond.value[:, 0], field["mask"].values.astype(float))
    assert cond.present.all()
    bits = field.assign_coords(mask=field["mask"].astype(int) * 1024)  # bits of a survey: any is bad
    np.testing.assert_array_equal(known.values(bits)["mask"], known.values(field)["mask"])


def test_a_large_table_keeps_the_same_samples_of_all_conditions(monkeypatch):
    monkeypatch.setattr(conditions, "_MOST_ROWS", 5)
    field = spectra(40)
    field["J_H"][:] = np.arange(40)
    field["log_error"][:] = np.arange(40)[:, None]
    known = Conditions.of(field, ["J_H", "log_error"])
    assert known.table["J_H"].tolist() == [0, 9, 19, 29, 39]
    assert known.table["log_error"][:, 0].tolist() == [0, 9, 19, 29, 39]
    assert known.table["log_error"].dtype == np.float32
    assert known.scales["J_H"].mean == pytest.approx(19.5)  # of all, not of those kept
    assert len(Conditions.of(field, ["J_H"]).table["J_H"]) == 40  # scalars alone are all kept
    monkeypatch.setattr(conditions, "_TABLE_BYTES", 3 * 6 * 4)
    assert len(Conditions.of(field, ["log_error"]).table["log_error"]) == 3


def test_what_cannot_be_a_condition_is_refused():
    field = spectra(mask=True).assign_coords(sample=np.arange(100, 112), kind=("sample", ["M5"] * 12))
    with pytest.raises(ValueError, match=r"no condition 'z' along sample or on \(sample, x\); the data have J_H, log_"):
        Conditions.of(field, ["z"])
    with pytest.raises(ValueError, match="no condition 'x' along sample"):
        Conditions.of(field, ["x"])
    with pytest.raises(ValueError, match=r"'kind': expected numbers, got <U2; encode it"):
        Conditions.of(field, ["kind"])
    with pytest.raises(ValueError, match=r"'J_H': unknown \(nan\) in all 12 training samples"):
        Conditions.of(field.assign_coords(J_H=("sample", np.full(12, np.nan))), ["J_H"])
    field["log_error"][7, 2] = -np.inf
    with pytest.raises(ValueError, match="'log_error': infinite in sample 107; use nan"):
        Conditions.of(field, ["log_error"])
    with pytest.raises(ValueError, match=r"no condition 'mask' .* on \(sample, x\)"):
        Conditions.of(field.assign_coords(mask=("sample", np.zeros(12, bool))), ["mask"])


def test_bad_pixels_are_found_and_a_sample_of_bad_pixels_alone_is_named(monkeypatch):
    monkeypatch.setattr(conditions, "BLOCK", 5)
    field = spectra(mask=True)
    assert has_bad_pixels(field)
    assert not has_bad_pixels(spectra())
    assert not has_bad_pixels(field.assign_coords(mask=field["mask"] & False))
    last = np.zeros((12, 6), bool)
    last[11, 3] = True
    assert has_bad_pixels(field.assign_coords(mask=(("sample", "x"), last)))
    last[8] = True
    with pytest.raises(ValueError, match="sample 8: all its pixels are marked bad by 'mask'; leave it out"):
        has_bad_pixels(field.assign_coords(mask=(("sample", "x"), last)))


def test_scales_are_measured_from_the_table_where_a_file_has_none():
    table = np.linspace(0.1, 0.5, 12)
    scale = Conditions({"Omega_m": table}, {"Omega_m": ""}).scales["Omega_m"]
    assert scale == pytest.approx((table.mean(), table.std(), 0.1, 0.5))


def test_an_unknown_condition_is_told_beside_those_that_may_be_chosen():
    coords = {"age": ("sample", [1.0, 2.0]), "kind": ("sample", ["a", "b"]), "sample": [0, 1]}
    field = xr.DataArray(np.ones((2, 4)), dims=("sample", "x"), coords=coords)
    with pytest.raises(ValueError, match=r"no condition 'agee'.*the data have age$"):
        Conditions.of(field, ["agee"])
