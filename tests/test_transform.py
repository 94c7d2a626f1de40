"""Transforms invert, fit on what they are given and refuse what they cannot take."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sciffusion.transform import Asinh, BoxCox, Chain, Log10, Log10Offset, Standardize, base, chain, from_dict


def field(values, *dims):
    return xr.DataArray(values, dims=("sample", *dims), name="rho", attrs={"units": "K"})


def test_standardize_known_answer():
    fitted = Standardize().fit(field([[1.0, 3.0], [5.0, 7.0]], "x"))
    assert fitted.mean == (4.0,)
    assert fitted.std == pytest.approx((np.sqrt(5.0),))


def test_standardize_per_channel():
    values = np.random.default_rng(0).normal([[5.0], [-3.0]], [[2.0], [0.1]], (400, 2, 50))
    fitted = Standardize().fit(field(values, "channel", "x"))
    np.testing.assert_allclose(fitted.mean, values.mean((0, 2)))
    np.testing.assert_allclose(fitted.std, values.std((0, 2)))
    seen = fitted(field(values, "channel", "x"))
    np.testing.assert_allclose(seen.std(("sample", "x")), 1.0)


def test_a_large_mean_does_not_spoil_the_scatter():
    values = 1e9 + np.random.default_rng(1).normal(size=(64, 32))
    assert Standardize().fit(field(values, "x")).std == pytest.approx((values.std(),), rel=1e-9)


def test_fit_in_blocks_equals_fit_at_once(monkeypatch):
    values = np.random.default_rng(2).lognormal(size=(37, 8))
    whole = chain(["log10", "standardize"]).fit(field(values, "x"))
    monkeypatch.setattr(base, "_BLOCK", 24)
    parts = chain(["log10", "standardize"]).fit(field(values, "x"))
    np.testing.assert_allclose(whole.parts[1].std, parts.parts[1].std, rtol=1e-12)
    np.testing.assert_allclose(whole.parts[1].mean, parts.parts[1].mean, rtol=1e-12)


@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(1e-6, 1e15)),
    st.sampled_from(["log10", "asinh", "boxcox", "boxcox:0.05"]),
)
def test_inverse_undoes(values, name):
    values[0, 0] = 2 * values[0, 1] + 1  # something must vary
    fitted = chain([name, "standardize"]).fit(field(values, "x"))
    back = fitted.inverse(fitted(field(values, "x")))
    np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-9 * values.max())
    assert back.attrs == {"units": "K"}


def test_stored_and_read_back():
    fitted = Chain((Asinh(), Standardize())).fit(field(np.random.default_rng(3).normal(size=(9, 4)), "x"))
    assert from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_log10_says_how_many_values_and_where():
    bad = field([[1.0, 2.0], [0.0, -3.0]], "x")
    with pytest.raises(ValueError, match=r"rho: 2 of 4 values are not positive, the first at sample 1, x 0.*asinh"):
        Log10()(bad)


def test_non_finite_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"1 of 2 values are not finite, the first at sample 0, x 1"):
        Standardize((0.0,), (1.0,))(field([[1.0, np.nan]], "x"))


@pytest.mark.parametrize("unfitted", [Asinh(), BoxCox(), Standardize()])
def test_unfitted_is_refused(unfitted):
    with pytest.raises(ValueError, match="fit it"):
        unfitted(field([[1.0, 2.0]], "x"))


def test_constant_field_is_refused():
    with pytest.raises(ValueError, match="varies"):
        Standardize().fit(field(np.ones((3, 3)), "x"))
    with pytest.raises(ValueError, match="positive scale"):
        Asinh().fit(field(np.zeros((3, 3)), "x"))


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown transform 'log2'; known are log10"):
        chain(["log2"])


def test_boxcox_known_answers():
    """A square root, and the logarithm in the limit."""
    values = field(np.geomspace(0.01, 100, 9).reshape(3, 3), "x")
    np.testing.assert_allclose(BoxCox(0.5, 1.0)(values), 2 * (np.sqrt(values) - 1), rtol=1e-12)
    np.testing.assert_allclose(BoxCox(1e-7, 1.0)(values), np.log(values), atol=1e-5)
    assert BoxCox(0.3).fit(values).scale == pytest.approx(1.0)


def test_boxcox_is_smooth_and_invertible_on_the_whole_line():
    y = field(np.linspace(-60.0, 60.0, 4801).reshape(1, -1), "x")
    x = BoxCox(0.2, 3.0).inverse(y)
    assert (x > 0).all()
    np.testing.assert_allclose(BoxCox(0.2, 3.0)(x), y, rtol=1e-9, atol=1e-9)
    slope = np.diff(np.log(x.values[0]))
    assert np.abs(np.diff(slope)).max() < 0.02  # no jump where the tail begins


def test_boxcox_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="exponent above 0"):
        BoxCox(0.0)
    with pytest.raises(ValueError, match="not positive"):
        BoxCox().fit(field([[1.0, 0.0]], "x"))


@pytest.mark.parametrize("text", ["log10:3", "cubic:3"])
def test_parameters_that_make_no_sense(text):
    with pytest.raises(ValueError, match="expected NAME, amplitude:LOW:HIGH, boxcox:EXPONENT, log10"):
        chain([text])


@pytest.mark.parametrize("channels", [0, 2])
def test_each_wavelength_has_its_own_mean_and_scatter(channels):
    rng = np.random.default_rng(0)
    mean, std = rng.normal(5, 3, (2, 7)), rng.uniform(0.1, 4, (2, 7))
    values = mean + std * rng.normal(size=(4000, 2, 7))
    dims = ("sample", "channel", "wavelength")
    field = xr.DataArray(values, dims=dims) if channels else xr.DataArray(values[:, 0], dims=(dims[0], dims[2]))
    fitted = chain(["standardize:wavelength"]).fit(field)
    part = fitted.parts[0]
    wanted = mean.ravel() if channels else mean[0]
    assert np.allclose(part.mean, wanted, atol=5 * std.max() / 4000**0.5)
    seen = fitted(field)
    assert np.allclose(seen.mean("sample"), 0, atol=1e-12)
    assert np.allclose(seen.std("sample"), 1)
    again = from_dict(fitted.to_dict())
    assert np.allclose(again.inverse(seen), field)
    with pytest.raises(ValueError, match="fitted on"):
        again(field.isel(wavelength=slice(0, 3)))


def test_a_wavelength_that_does_not_vary_is_named():
    field = xr.DataArray([[1.0, 2.0, 3.0], [2.0, 2.0, 5.0]], dims=("sample", "wavelength"))
    with pytest.raises(ValueError, match=r"1 of 3 standard deviations are 0\.0, the first number 1"):
        chain(["standardize:wavelength"]).fit(field)


def test_standardize_along_a_dim_that_is_not_there():
    field = xr.DataArray([[1.0, 2.0]], dims=("sample", "x"))
    with pytest.raises(ValueError, match="no such dim; it has sample, x"):
        chain(["standardize:wavelength"]).fit(field)


def channels_of(values, names):
    """Fields ``(sample, channel, x)`` with named channels."""
    return xr.DataArray(np.asarray(values, float), dims=("sample", "channel", "x")).assign_coords(channel=list(names))


def test_each_channel_has_a_transform_of_its_own():
    rng = np.random.default_rng(0)
    density, velocity, stars = 10 ** rng.normal(11, 1, (50, 8)), rng.normal(0, 3, (50, 8)), np.zeros((50, 8))
    stars[:, 3:] = 10 ** rng.normal(9, 1, (50, 5))
    joint = channels_of(np.stack([stars, density, velocity], axis=1), ["Mstar", "Mgas", "v"])
    texts = ["Mgas=log10", "Mcdm=boxcox:0.2", "v=standardize", "Mstar=log10_offset:1e7,standardize", "standardize"]
    fitted = chain(texts).fit(joint)
    assert fitted.parts[0].channels == ("Mstar", "Mgas", "v")  # as the data have them, and no other
    seen = fitted(joint)
    assert np.allclose(seen.mean(["sample", "x"]), 0, atol=1e-12)
    assert np.allclose(seen.std(["sample", "x"]), 1)
    alone = chain(["log10", "standardize"]).fit(joint.sel(channel="Mgas", drop=True))
    assert np.allclose(seen.sel(channel="Mgas"), alone(joint.sel(channel="Mgas", drop=True)))
    again = from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert np.allclose(again.inverse(seen), joint)
    assert again.inverse(seen).dims == joint.dims


def test_channels_go_by_their_names_in_any_order():
    joint = channels_of([[[1.0, 10.0], [2.0, 3.0]]], ["T", "v"])
    fitted = chain(["v=asinh:1", "T=log10"]).fit(joint)
    other = joint.isel(channel=[1, 0])
    assert np.allclose(fitted(other), fitted(joint).isel(channel=[1, 0]))
    assert np.allclose(fitted(joint).sel(channel="T"), [[0.0, 1.0]])


def test_channels_without_names_are_numbered_and_a_field_alone_goes_by_its_own():
    joint = channels_of([[[1.0, 10.0], [2.0, 3.0]]], ["a", "b"]).drop_vars("channel")
    assert np.allclose(chain(["1=asinh:1", "0=log10"]).fit(joint)(joint)[:, 0], [[0.0, 1.0]])
    alone = xr.DataArray([[1.0, 100.0]], dims=("sample", "x"), name="T")
    fitted = chain(["Mgas=boxcox:0.2", "T=log10", "standardize"]).fit(alone)
    assert fitted.parts[0].channels == ("T",)
    # Samples are called by the field of the model ("camels"), not by its only channel.
    assert np.allclose(fitted.inverse(fitted(alone).rename("camels")), alone)


def test_channels_and_their_mistakes():
    joint = channels_of([[[1.0, 10.0], [-2.0, 3.0]]], ["T", "v"])
    with pytest.raises(ValueError, match=r"no transform for the channel 'v'; there are some for T, Mgas: give v=log10"):
        chain(["T=log10", "Mgas=log10"]).fit(joint)
    with pytest.raises(ValueError, match=r"v: 1 of 2 values are not positive, the first at sample 0, x 0"):
        chain(["T=log10", "v=log10"]).fit(joint)(joint)
    with pytest.raises(ValueError, match="the channel 'T' is given twice"):
        chain(["T=log10", "v=log10", "T=asinh"])
    with pytest.raises(ValueError, match="unknown transform 'cubic'"):
        chain(["T=cubic"])


def test_zeros_among_many_decades_come_back_small():
    values = field([[0.0, 1e3, 1e7, 1e12]], "x")
    offset = Log10Offset(1e7)
    np.testing.assert_allclose(offset(values), [[7, np.log10(1e7 + 1e3), np.log10(2e7), np.log10(1e12 + 1e7)]])
    np.testing.assert_allclose(offset.inverse(offset(values)), values, atol=1e-6)
    # A network is never exact: zero comes back within its error times the offset, and nothing below -offset.
    assert abs(offset.inverse(field([[7.01]], "x")).item()) < 0.03e7
    assert offset.inverse(field([[-50.0]], "x")).item() >= -1e7
    with pytest.raises(ValueError, match="not above -1e\\+07, the first at sample 0, x 0; raise the offset"):
        offset(field([[-2e7]], "x"))
    with pytest.raises(ValueError, match="offset above 0"):
        Log10Offset(0.0)
