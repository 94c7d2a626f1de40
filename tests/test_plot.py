"""Figures: what is on the axes, in which units, and that nothing leaks."""

import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

from sciffusion import plot
from sciffusion.validate import compare

UNITS = "(Msun/h)/(Mpc/h)^2"


def maps(seed, shape=(16, 20), samples=12):
    dims = ("z", "y", "x")[-len(shape) :]
    coords = {
        dim: (dim, (np.arange(n) + 0.5) * 0.5, {"units": "Mpc/h", "boundary": "periodic"})
        for dim, n in zip(dims, shape)
    }
    values = np.random.default_rng(seed).lognormal(2, 0.5, (samples, *shape))
    attrs = {"units": UNITS, "long_name": "surface density"}
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="Mcdm", attrs=attrs)


@pytest.fixture(scope="module")
def comparison():
    return compare(maps(1), maps(2), splits=20)


def test_fields_share_one_scale_and_carry_coordinates_and_units():
    real, generated = maps(1), 3 * maps(2)
    axes = plot.plot_fields(real, generated, columns=3)
    assert axes.shape == (2, 3)
    images = [ax.images[0] for ax in axes.flat]
    assert len({id(image.norm) for image in images}) == 1
    assert isinstance(images[0].norm, LogNorm)
    assert (images[0].norm.vmin, images[0].norm.vmax) == pytest.approx(tuple(np.quantile(real, [0.005, 0.999])))
    for image, values in zip(images, (*real.values[:3], *generated.values[:3])):
        np.testing.assert_array_equal(image.get_array(), values)
        assert image.origin == "lower"
        assert image.get_extent() == [0, 10, 0, 8]
    assert axes[1, 0].get_xlabel() == "x [Mpc/h]"
    assert axes[0, 0].get_ylabel() == "y [Mpc/h]"
    bars = [ax for ax in axes[0, 0].figure.axes if ax not in axes]
    assert [bar.get_ylabel() for bar in bars] == ["surface density [(M☉/h)/(Mpc/h)²]"]


def test_fields_with_a_sign_have_a_linear_scale():
    axes = plot.plot_fields(maps(1) - 8, maps(2) - 8)
    assert not isinstance(axes[0, 0].images[0].norm, LogNorm)


def test_fields_of_one_dimension_are_lines_and_of_three_a_slice():
    line = maps(1, (24,))
    axes = plot.plot_fields(line, line, columns=2)
    np.testing.assert_array_equal(axes[0, 1].lines[0].get_ydata(), line.values[1])
    assert axes[0, 0].get_ylabel() == "Mcdm [(M☉/h)/(Mpc/h)²]"
    cube = maps(1, (6, 8, 10))
    axes = plot.plot_fields(cube, cube, columns=2)
    np.testing.assert_array_equal(axes[0, 1].images[0].get_array(), cube.values[1, 3])


def test_fewer_samples_than_columns_leave_empty_axes():
    axes = plot.plot_fields(maps(1), maps(2, samples=1), columns=3)
    assert [ax.axison for ax in axes[1]] == [True, False, False]
    with pytest.raises(ValueError, match="expected axes"):
        plot.plot_fields(maps(1), maps(2), axes=axes[0])


def test_power_has_spectra_ratio_and_floor(comparison):
    axes = plot.plot_power(comparison)
    assert axes.shape == (2, 2)
    spectra = comparison.spectra
    for name, (top, bottom) in zip(("power", "log_power"), axes.T):
        np.testing.assert_allclose(top.lines[0].get_ydata(), spectra[f"{name}_real"])
        np.testing.assert_allclose(top.lines[1].get_ydata(), spectra[f"{name}_generated"])
        assert (top.get_xscale(), top.get_yscale()) == ("log", "log")
        np.testing.assert_allclose(bottom.lines[0].get_ydata(), spectra[f"{name}_ratio"])
        assert len(bottom.collections) == 2
        assert bottom.get_xlabel() == "k [h/Mpc]"
    assert axes[0, 0].get_ylabel() == "P(k) [(Mpc/h)²]"
    legend = axes[0, 0].get_legend()
    assert legend is not None
    assert "real / real, 6 / 6 (95 %)" in [text.get_text() for text in legend.get_texts()]
    given = Figure().subplots(2, 2)
    assert plot.plot_power(comparison, given) is given
    with pytest.raises(ValueError, match=r"expected axes \(2, 2\)"):
        plot.plot_power(comparison, given[:1])


def test_pdf_is_logarithmic_and_in_units(comparison):
    ax = plot.plot_pdf(comparison)
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "log10 surface density [(M☉/h)/(Mpc/h)²]"
    assert ax.get_ylabel() == "probability density [1/dex]"
    density = comparison.distribution["real"]
    width = float(density.value[1] - density.value[0])
    assert float(density.sum()) * width == pytest.approx(1)


def test_loss_draws_training_and_every_noise_band():
    lines = [{"samples": 16 * i, "loss": 1 / i} for i in range(1, 50)]
    lines += [{"samples": s, "heldout": {"log_snr=+2.0": 0.1, "log_snr=-2.0": 0.4}} for s in (160, 800)]
    ax = plot.plot_loss(lines)
    assert [line.get_label() for line in ax.lines[1:]] == [
        "training (smoothed)", "held out, log_snr=+2.0", "held out, log_snr=-2.0",
    ]  # fmt: skip
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), [160, 800])
    assert plot.plot_loss([]).get_xlabel() == "samples seen"


def test_trajectory_is_a_strip_of_times_with_the_ends():
    rng = np.random.default_rng(0)
    states = [maps(1, samples=1).copy(data=rng.normal(size=(1, 16, 20))) for _ in range(11)]
    times = np.linspace(1, 0, 11).tolist()
    axes = plot.plot_trajectory({"forward": states, "reverse": states[::-1]}, times, columns=6)
    assert axes.shape == (2, 6)
    assert [ax.get_title() for ax in axes[0]] == [f"t = {t:.2f}" for t in (1, 0.8, 0.6, 0.4, 0.2, 0)]
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), states[-1][0])
    assert axes[1, 0].get_ylabel() == "reverse"
    assert len({id(ax.images[0].norm) for ax in axes[0]}) == 1
    assert plot.plot_trajectory([s.isel(y=0) for s in states], times).shape == (1, 8)
    both = [xr.concat([s, -s], "channel").transpose("sample", "channel", ...) for s in states]
    first = plot.plot_trajectory(both, times)[0, -1].images[0]
    np.testing.assert_array_equal(first.get_array(), states[-1][0])
    with pytest.raises(ValueError, match="expected 3 states"):
        plot.plot_trajectory(states, times[:3])


def test_animation_has_a_frame_for_each_time(tmp_path):
    rng = np.random.default_rng(0)
    states = [maps(1, samples=1).copy(data=rng.normal(size=(1, 16, 20))) for _ in range(4)]
    path = tmp_path / "reverse.gif"
    plot.animate_trajectory(states, [1, 0.6, 0.3, 0], path)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 4
    with pytest.raises(FileExistsError):
        plot.animate_trajectory(states, [1, 0.6, 0.3, 0], path)
    with pytest.raises(ValueError, match=r"is a \.gif"):
        plot.animate_trajectory(states, [1, 0.6, 0.3, 0], tmp_path / "reverse.mp4")
    with pytest.raises(ValueError, match="one state for each time"):
        plot.animate_trajectory(states, [1, 0], path, overwrite=True)


def test_figures_are_saved_whole_and_not_replaced_unasked(tmp_path, comparison):
    path = tmp_path / "pdf.png"
    ax = plot.plot_pdf(comparison)
    plot.save(ax, path)
    with Image.open(path) as image:
        assert image.size == (750, 570)
    with pytest.raises(FileExistsError):
        plot.save(ax.figure, path)
    plot.save(np.array([[ax]]), path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["pdf.png"]


def test_pyplot_is_never_touched(tmp_path, comparison):
    code = "import sys, sciffusion.plot; assert 'matplotlib.pyplot' not in sys.modules"
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_curve_is_drawn_over_what_real_halves_differ():
    compared = compare(maps(1), maps(2), splits=20, diagnostics=["minkowski", "bispectrum"], tests=False)
    for name in ("peaks", "minkowski", "bispectrum"):
        axes = plot.draw_result(compared, name)
        curves = compared.results[name]
        panels = [str(key).removesuffix("real") for key in curves if str(key).endswith("real")]
        assert axes.shape == (2, len(panels))
        for (top, bottom), panel in zip(axes.T, panels):
            real, generated = (curves[f"{panel}{which}"].values for which in ("real", "generated"))
            for line, expected in zip((*top.lines, bottom.lines[0]), (real, generated, generated - real)):
                y = np.asarray(line.get_ydata())
                gaps = np.isnan(y)
                np.testing.assert_allclose(y[~gaps], expected)
                kinds = {str(each).split()[0] for each in curves.triangle.values} if name == "bispectrum" else {name}
                assert gaps.sum() == len(kinds) - 1  # triangles of another shape are another curve
            assert len(bottom.collections) == 1
            assert top.get_ylabel()
            assert bottom.get_xlabel()
    with pytest.raises(ValueError, match="expected axes"):
        plot.plot_curves(compared, "peaks", Figure().subplots(3, 1, squeeze=False))


def test_the_scorecard_has_every_line_in_units_of_its_limit(comparison):
    ax = plot.plot_scorecard(comparison)
    rows = [row for row in comparison.scores["statistics"] if row["floor"]["limit"] is not None]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert len(labels) == len(rows)
    for label, row in zip(labels, rows):
        assert label.startswith(row["label"])
    drawn = [line for line in ax.lines if str(line.get_label()).startswith("score: ")]
    scores = np.concatenate([line.get_xdata() for line in drawn])
    np.testing.assert_allclose(np.sort(scores), np.sort([row["score"] / (row["floor"]["limit"] or 1) for row in rows]))
    assert {str(line.get_label()).removeprefix("score: ") for line in drawn} == {row["level"] for row in rows}
    given = Figure().subplots()
    assert plot.plot_scorecard(comparison, given) is given


def test_every_result_that_is_written_as_a_figure_can_be_drawn():
    """Of fields, with everything that is measured; those of spectra are drawn where their statistics are tested."""
    compared = compare(
        maps(1, samples=30), maps(2, samples=30), splits=10, diagnostics="all", train=maps(3, samples=30)
    )
    for name in compared.results:
        if f"{name}.png" in compared.files:
            figure = plot.figure_of(plot.draw_result(compared, name))
            assert isinstance(figure, Figure)
            assert any(ax.has_data() for ax in figure.axes)
    drawn = {name.removesuffix(".png") for name in compared.files if name.endswith(".png")}
    assert {"minkowski", "bispectrum", "scattering", "delta_variance", "power_correlation", "nearest"} <= drawn
