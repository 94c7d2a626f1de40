"""What was drawn for an object: the image in colors, the chosen spectrum, the envelope of all."""

import numpy as np
import pytest
import xarray as xr

from sciffusion import plot

UNITS = "1e-17 erg / (s cm2 Angstrom)"
PIXELS = 20


def drawn(candidates=101, **more):
    """Candidates 0, 1, ..., 100 everywhere, the chosen one 7; the second object a hundred higher."""
    axis = {"wavelength": ("wavelength", np.linspace(4000, 8000, PIXELS), {"units": "Angstrom"})}
    values = np.arange(candidates)[:, None] + 100.0 * np.arange(2)[:, None, None] + np.zeros(PIXELS)
    samples = xr.DataArray(values, dims=("sample", "candidate", "wavelength"), coords=axis)
    flux = samples[:, 7].assign_attrs(units=UNITS, choice="best match")
    return xr.Dataset({"flux": flux, "samples": samples, **more}, attrs={"field": "flux"})


def image(bands="ugriz", size=6):
    offset = (np.arange(size) - (size - 1) / 2) * 2.0 / 3600
    values = np.zeros((len(bands), size, size), np.float32)
    values[:, 3, 4] = np.arange(len(bands)) + 1.0
    axes = {dim: (dim, offset, {"units": "deg"}) for dim in ("y", "x")}
    return xr.DataArray(values, dims=("band", "y", "x"), coords={"band": list(bands), **axes})


def test_the_chosen_spectrum_lies_in_the_envelope_of_its_object():
    (ax,) = plot.plot_candidates(drawn(), 1)
    (line,) = ax.lines
    assert np.all(line.get_ydata() == 107)
    wide, narrow = (set(each.get_paths()[0].vertices[:, 1].round(6)) for each in ax.collections)
    assert wide == {102.5, 197.5}
    assert narrow == {116.0, 184.0}
    assert ax.get_ylabel() == "flux [1e-17 erg / (s cm2 Å)]"
    assert [text.get_text() for text in ax.get_legend().texts] == ["95 % of 101", "68 % of 101", "best match"]


def test_the_truth_lies_on_top_without_its_bad_pixels():
    flux = drawn()["flux"]
    bad = np.arange(PIXELS) == 4
    truth = flux[0].assign_coords(mask=("wavelength", bad))
    cosine = xr.DataArray(np.linspace(-1, 0.5, 101)[None].repeat(2, 0), dims=("sample", "candidate"))
    (ax,) = plot.plot_candidates(drawn(cosine=cosine), 0, truth)
    assert np.array_equal(np.isnan(ax.lines[-1].get_ydata()), bad)
    assert "best match (cosine 0.50)" in [text.get_text() for text in ax.get_legend().texts]
    with pytest.raises(ValueError, match="truth is in 'Jy', the spectra in '1e-17 erg"):
        plot.plot_candidates(drawn(), 0, truth.assign_attrs(units="Jy"))


def test_the_image_is_upright_in_arcsec_and_has_the_colors_of_its_bands():
    ax = plot.plot_candidates(drawn(), 0, image=image())[0]
    (shown,) = ax.images
    assert shown.origin == "lower"
    np.testing.assert_allclose(shown.get_extent(), [-6, 6, -6, 6])
    rgb = np.asarray(shown.get_array())
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    np.testing.assert_allclose(rgb[3, 4], np.array([4, 3, 2]) / 4)  # i, r, g
    assert not rgb[0].any()


@pytest.mark.parametrize("lost", ["band", "values"])
def test_without_one_of_the_three_bands_it_is_gray(lost):
    seen = image()
    seen = seen.isel(band=[0, 1, 2, 4]) if lost == "band" else seen.where(seen["band"] != "i")
    rgb = np.asarray(plot.plot_candidates(drawn(), 0, image=seen)[0].images[0].get_array())
    np.testing.assert_allclose(rgb[3, 4], rgb[3, 4, 0])
    assert rgb[3, 4, 0] > 0.9


def test_objects_one_above_the_other_with_what_is_known_of_them():
    seen = image().expand_dims(sample=2)
    truth = drawn()["flux"] + 3.0
    objects = xr.Dataset({"image": seen, "flux": truth.assign_attrs(units=UNITS)}, attrs={"field": "flux"})
    axes = plot.plot_objects(drawn(), objects)
    assert axes.shape == (2, 2)
    for i, (left, right) in enumerate(axes):
        assert len(left.images) == 1
        assert [set(line.get_ydata()) for line in right.lines] == [{7.0 + 100 * i}, {10.0 + 100 * i}]
    # Spectra on other pixels are no truth, and without images there is a column less.
    alone = plot.plot_objects(drawn(), objects[["flux"]].isel(wavelength=slice(1, None)), num=1)
    assert alone.shape == (1, 1)
    assert len(alone[0, 0].lines) == 1


def test_other_axes_are_refused():
    axes = plot.plot_candidates(drawn(), 0, image=image())
    with pytest.raises(ValueError, match=r"expected 1 axes, got \(2,\)"):
        plot.plot_candidates(drawn(), 0, axes=axes)
