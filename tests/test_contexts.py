"""Contexts: the encoding of each channel, channels by their names, what is not known, and what is refused."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from sciffusion import conditions, contexts
from sciffusion.conditions import Conditions, field_of, read_condition
from sciffusion.contexts import Context
from sciffusion.nn.embed import ContextShape

BANDS = ("u", "g", "r")


def axis(dim, num, step=0.1, **attrs):
    return xr.DataArray((np.arange(num) - (num - 1) / 2) * step, dims=dim, attrs={"units": "deg", **attrs})


def galaxies(num=12, seed=0, size=6):
    """Spectra with images of three bands of unlike brightness, a vector of photometry, and the image's means."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1, 2, (num, 3, size, size)) * np.array([0.1, 1.0, 50.0])[:, None, None]
    ds = xr.Dataset(
        {
            "flux": (("sample", "wavelength"), rng.normal(5, 1, (num, 8))),
            "image": (("sample", "band", "y", "x"), image.astype(np.float32), {"units": "nanomaggy"}),
            "magnitudes": (("sample", "band"), rng.normal(18, 1, (num, 3)), {"units": "mag"}),
        },
        coords={
            "wavelength": ("wavelength", np.linspace(4000.0, 8000, 8), {"units": "Angstrom", "boundary": "reflect"}),
            "band": list(BANDS),
            "y": axis("y", size, boundary="reflect"),
            "x": axis("x", size, boundary="zero"),
            "g_r": ("sample", image[:, 1].mean((1, 2))),
            "group": ("sample", np.arange(num) // 2),
        },
        attrs={"field": "flux"},
    )
    return ds


def known(ds=None, names=("image", "g_r", "magnitudes")):
    return Conditions.of(galaxies() if ds is None else ds, names)


def test_kinds_by_dims():
    found = known()
    assert (found.scalars, found.maps, tuple(found.contexts)) == (("g_r",), (), ("image", "magnitudes"))
    assert found.shapes == {
        "image": ContextShape(3, (6, 6), ("reflect", "zero")),
        "magnitudes": ContextShape(3, (), ()),
    }
    assert found.units == {"image": "nanomaggy", "g_r": "", "magnitudes": "mag"}
    assert found.contexts["image"].labels == BANDS
    assert found.contexts["image"].spacing == pytest.approx((0.1, 0.1))


def test_each_channel_is_asinh_of_its_median_standardized():
    ds = galaxies(40)
    context = known(ds).contexts["image"]
    condition = context.encode(ds["image"].values)
    for i, values in enumerate(ds["image"].values.astype(float).transpose(1, 0, 2, 3)):
        assert context.soft[i] == pytest.approx(np.median(np.abs(values)), rel=1e-6)
        encoded = np.arcsinh(values / context.soft[i])
        np.testing.assert_allclose(condition.value[:, i], (encoded - encoded.mean()) / encoded.std(), atol=1e-5)
        means = ((encoded - encoded.mean()) / encoded.std()).mean((1, 2))
        assert (context.low[i], context.high[i]) == pytest.approx((means.min(), means.max()), abs=1e-5)
    assert condition.value.dtype == torch.float32
    assert condition.present.all()


def test_zeros_do_not_spoil_the_scale_and_a_constant_channel_stays_finite():
    ds = galaxies()
    ds["image"][:, 0, :, :4] = 0  # most pixels of this band are padding
    ds["image"][:, 1] = 0.3
    ds["image"][:, 2] = 0
    context = known(ds, ["image"]).contexts["image"]
    assert context.soft[0] == pytest.approx(np.median(np.abs(ds["image"][:, 0, :, 4:])), rel=1e-6)
    value = context.encode(ds["image"].values).value
    assert value[:, 1:].abs().max() < 1e-5


def test_what_is_nan_is_absent_pixel_by_pixel():
    ds = galaxies()
    ds["image"][3, 1] = np.nan
    ds["image"][4, 0, 2, 5] = np.nan
    ds["magnitudes"][5, 2] = np.nan
    found = known(ds)
    cond = found.standardize(found.values(ds))
    expected = np.ones((12, 3, 6, 6), bool)
    expected[3, 1] = expected[4, 0, 2, 5] = False
    np.testing.assert_array_equal(cond["image"].present, expected)
    assert torch.isfinite(cond["image"].value).all()
    assert cond["magnitudes"].present[5].tolist() == [True, True, False]
    assert cond["magnitudes"].value.shape == (12, 3)


def test_channels_go_by_their_names_and_those_that_are_missing_are_not_known():
    ds, found = galaxies(), known()
    image = found.contexts["image"]
    whole = image.arrange(ds["image"])
    np.testing.assert_array_equal(whole, ds["image"].values)
    turned = ds["image"].isel(band=[2, 0, 1]).transpose("x", "band", "sample", "y")
    np.testing.assert_array_equal(image.arrange(turned), whole)
    few = ds["image"].sel(band=["r", "u"])
    arranged = image.arrange(few)
    assert np.isnan(arranged[:, 1]).all()
    np.testing.assert_array_equal(arranged[:, [0, 2]], whole[:, [0, 2]])
    more = xr.concat([ds["image"], ds["image"].isel(band=[0]).assign_coords(band=["z"])], "band")
    np.testing.assert_array_equal(image.arrange(more), whole)
    np.testing.assert_array_equal(image.arrange(ds["image"].drop_vars("band")), whole)  # without names: by place
    np.testing.assert_array_equal(image.arrange(ds["image"].isel(sample=4)), whole[4])
    np.testing.assert_array_equal(found.contexts["magnitudes"].arrange(ds["magnitudes"]), ds["magnitudes"].astype("f4"))
    np.testing.assert_array_equal(found.values(ds.sel(band=["r", "u"]))["image"], arranged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.isel(x=slice(5)), r"'image': expected \{'y': 6, 'x': 6\} pixels, found \{'x': 5\}; crop it"),
        (lambda i: i.rename(x="lon"), r"'image': expected the dims \('band', 'y', 'x'\), found"),
        (lambda i: i.assign_coords(band=["J", "H", "K"]), r"'image': expected band among .* found \['J', 'H', 'K'\]"),
        (lambda i: i.drop_vars("band").isel(band=[0, 1]), r"'image': expected 3 band, found 2"),
        (
            lambda i: i.assign_coords(x=axis("x", 6, 0.2)),
            r"'image': expected pixels of 0.1 along x, found 0.2 \[deg\]; rebin",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        known().contexts["image"].arrange(change(galaxies()["image"]))


def test_pixels_a_little_larger_and_pixels_of_unknown_size_are_taken():
    image, context = galaxies()["image"], known().contexts["image"]
    for close in (image.assign_coords(x=axis("x", 6, 0.1 * 1.02)), image.drop_vars(["x", "y"])):
        np.testing.assert_array_equal(context.arrange(close), image.values)


def test_the_range_is_that_of_all_samples_and_what_lies_outside_is_told(monkeypatch):
    monkeypatch.setattr(contexts, "_MOST", 4)
    monkeypatch.setattr(contexts, "_BLOCK", 5)
    ds = galaxies(23)
    found = known(ds, ["image"])
    assert found.outside("image", ds["image"].values) is None
    for i in range(23):  # whatever else is in its batch
        assert found.outside("image", ds["image"].values[i : i + 1]) is None
    bright = ds["image"].values[:3].copy()
    bright[1, 2] *= 30
    told = found.outside("image", bright)
    assert "in 'r' the mean" in told
    assert "outside the training set's range" in told
    bright[1, 2, 0, 0] = np.nan  # the mean of a part says nothing
    assert found.outside("image", bright) is None
    magnitudes = known(ds, ["magnitudes"])
    assert magnitudes.outside("magnitudes", np.full((1, 3), 18.0)) is None
    assert "'u'" in magnitudes.outside("magnitudes", np.array([[30.0, 18.0, 18.0]]))


def test_the_table_is_bounded_in_bytes_and_rows_belong_together(monkeypatch):
    ds = galaxies(40)
    ds["g_r"][:] = np.arange(40)
    assert len(known(ds).table["image"]) == 40
    monkeypatch.setattr(conditions, "_CONTEXT_BYTES", 5 * 4 * 3 * 36)
    table = known(ds).table
    assert table["image"].nbytes == 5 * 4 * 3 * 36
    assert {name: len(values) for name, values in table.items()} == {"image": 5, "g_r": 5, "magnitudes": 5}
    rows = table["g_r"].astype(int)
    np.testing.assert_array_equal(table["image"], ds["image"].values[rows])
    np.testing.assert_array_equal(table["magnitudes"], ds["magnitudes"].values[rows].astype(np.float32))
    monkeypatch.setattr(conditions, "_CONTEXT_BYTES", 1)
    assert len(known(ds).table["image"]) == 1  # one at least


def test_the_scale_is_measured_within_bounds_of_memory(monkeypatch):
    ds = galaxies(50)
    whole = known(ds, ["image"]).contexts["image"]
    monkeypatch.setattr(contexts, "_MOST_VALUES", 10 * 3 * 36)
    asked = []
    found = Context.of(
        ds["image"], lambda rows: asked.append(rows.sizes["sample"]) or read_condition(rows, "image"), ds
    )
    assert sum(asked) == 10 + 50  # ten to measure on, all for the range
    np.testing.assert_allclose(found.soft, whole.soft, rtol=0.2)


def test_a_spectrum_as_a_context_of_a_map():
    ds = galaxies().rename(flux="spectrum")
    sky = xr.DataArray(np.random.default_rng(1).normal(size=(12, 4, 4)), dims=("sample", "lat", "lon"))
    ds = ds.assign(rate=sky).assign_attrs(field="rate")
    assert field_of(ds).name == "rate"
    found = Conditions.of(ds, ["spectrum", "g_r"])
    assert found.shapes == {"spectrum": ContextShape(1, (8,), ("reflect",))}
    cond = found.standardize(found.values(ds))["spectrum"]
    assert cond.value.shape == (12, 1, 8)
    np.testing.assert_allclose(cond.value.std(), 1, atol=0.02)
    assert found.contexts["spectrum"].labels == ()


def test_plain_numbers_in_a_file_give_the_same_context():
    found = known()
    stored = json.loads(json.dumps(found.header()))
    again = Conditions.stored(found.table, stored)
    assert again.contexts == found.contexts
    assert again.shapes == found.shapes
    values = found.values(galaxies())
    for ours, theirs in zip(found.standardize(values).values(), again.standardize(values).values()):
        assert torch.equal(ours.value, theirs.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [3, 10**9, 10**9]}, r"'image': described as \(3, 1000000000, 1000000000\), stored as \(3, 6, 6\)"),
        ({"sizes": [2, 6, 6]}, "whose sizes do not fit"),
        ({"mean": [0.0]}, "whose mean do not fit"),
        ({"boundary": ["zero"]}, "whose boundary do not fit"),
        ({"labels": ["u", "g"]}, "whose labels do not fit"),
    ],
)
def test_a_description_that_does_not_fit_itself_or_the_table_is_refused(change, message):
    found = known()
    header = found.header()
    header["contexts"]["image"] |= change
    with pytest.raises(ValueError, match=message):
        Conditions.stored(found.table, header)


def test_what_cannot_be_a_context_is_refused():
    ds = galaxies()
    ds["image"][:, 1] = np.nan
    with pytest.raises(ValueError, match=r"condition 'image', 'g': unknown \(nan\) in all training samples"):
        known(ds)
    ds = galaxies()
    ds["image"][7, 1, 2, 3] = np.inf
    with pytest.raises(ValueError, match="'image': infinite in sample 7"):
        known(ds)
    with pytest.raises(ValueError, match=r"the coordinate of 'filter' is no number.* call the dim 'band' or 'channel'"):
        known(galaxies().drop_vars(["image"]).rename(band="filter"), ["magnitudes"])
    ds = galaxies().assign(clean=lambda d: d["flux"] * 1.0)
    with pytest.raises(ValueError, match="'clean' is on the grid of the field: make it a coordinate"):
        known(ds, ["clean"])
    assert known(ds.set_coords("clean"), ["clean"]).maps == ("clean",)
    with pytest.raises(ValueError, match="no condition 'flux' along sample"):
        known(ds, ["flux"])
    with pytest.raises(ValueError, match="no condition 'wavelength' along sample"):
        known(ds, ["wavelength"])
