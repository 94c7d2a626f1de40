"""Copies in any position are found, beside the search over all positions one by one; honest samples raise no alarm."""

import itertools

import numpy as np
import pytest
import xarray as xr

from sciffusion.figures_spectra import plot_nearest
from sciffusion.statistics import grid
from sciffusion.statistics.alignment import Alignment
from sciffusion.statistics.duplicates import copies, copy_threshold
from sciffusion.statistics.memorization import memorization_test, nearest, self_copies
from sciffusion.statistics.neighbors import Search

ALL = ("roll", "flip", "rotate90")


def labelled(values, boundary="periodic", spacings=None, mask=None, group=None):
    """Label (sample, *grid); one boundary and spacing for all axes, or one each."""
    dims = ("z", "y", "x")[4 - values.ndim :]
    boundary = (boundary,) * len(dims) if isinstance(boundary, str) else boundary
    coords = {
        dim: (dim, np.arange(n) * step, {"units": "Mpc", "boundary": kind})
        for dim, n, step, kind in zip(dims, values.shape[1:], spacings or (1.0,) * len(dims), boundary)
    }
    if mask is not None:
        coords["mask"] = (("sample", *dims), mask)
    if group is not None:
        coords["group"] = ("sample", group)
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map")


def gaussian(number, shape, seed, slope=-2.0, scatter=0.0):
    """Periodic Gaussian fields of power k^slope; their amplitude may differ from sample to sample."""
    rng = np.random.default_rng(seed)
    k = np.sqrt(sum(np.square(a) for a in np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")))
    amplitude = np.where(k > 0, np.where(k > 0, k, 1) ** (slope / 2), 0)
    axes = tuple(range(1, 1 + len(shape)))
    fields = np.fft.ifftn(np.fft.fftn(rng.normal(size=(number, *shape)), axes=axes) * amplitude, axes=axes).real
    return fields / np.sqrt((amplitude**2).mean()) * np.exp(scatter * rng.normal(size=(number, *(1 for _ in shape))))


def positions(x, flips, planes, rolled):
    """Every image of x under flips of all axes (or none), rotations in planes, rolls along axes; one by one."""
    images, new = [x], [x]
    while new:
        made = [np.flip(each, axis) for each in new for axis in (range(x.ndim) if flips else ())]
        made += [np.rot90(each, 1, plane) for each in new for plane in planes]
        new = []
        for each in made:
            if not any(np.array_equal(each, known) for known in images):
                images.append(each)
                new.append(each)
    for image in images:
        for steps in itertools.product(*(range(x.shape[axis]) for axis in rolled)):
            yield np.roll(image, steps, rolled)


CASES = [
    # shape, boundary, spacings, planes that rotate, axes that roll
    ((7,), ("periodic",), None, (), (0,)),
    ((8,), ("reflect",), None, (), ()),
    ((4, 4), ("periodic",) * 2, None, ((0, 1),), (0, 1)),
    ((5, 5), ("periodic",) * 2, None, ((0, 1),), (0, 1)),
    ((4, 6), ("periodic",) * 2, None, (), (0, 1)),
    ((4, 4), ("periodic",) * 2, (1.0, 0.5), (), (0, 1)),
    ((5, 4), ("reflect", "periodic"), None, (), (1,)),
    ((4, 4), ("periodic", "zero"), None, (), (0,)),
    ((4, 4), ("reflect",) * 2, None, ((0, 1),), ()),
    ((3, 3, 3), ("periodic",) * 3, None, ((0, 1), (0, 2), (1, 2)), (0, 1, 2)),
    ((3, 4, 4), ("periodic", "reflect", "reflect"), None, ((1, 2),), (0,)),
    ((4, 3, 4), ("periodic", "reflect", "periodic"), None, ((0, 2),), (0, 2)),
]


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize(("shape", "boundary", "spacings", "planes", "rolled"), CASES)
def test_it_is_the_search_over_all_positions(shape, boundary, spacings, planes, rolled, flips):
    rng = np.random.default_rng(0)
    training, drawn, real = (labelled(rng.normal(1e3, 2.0, (n, *shape)), boundary, spacings) for n in (9, 4, 3))
    names = ("roll", "flip", "rotate90") if flips else ("roll", "rotate90")
    found = nearest(drawn, training, real, symmetries=names, shortlist=None)
    for which, field in (("generated", drawn), ("heldout", real)):
        squares = np.array(
            [
                np.min([((each - training.values) ** 2).reshape(9, -1).mean(axis=1) for each in every], axis=0)
                for every in (positions(x, flips, planes, rolled) for x in field.values)
            ]
        )
        expected = np.sqrt(squares.min(axis=1)) / training.values.std()
        np.testing.assert_allclose(found[which], expected, rtol=1e-5)
        np.testing.assert_array_equal(found[f"{which}_index"], squares.argmin(axis=1))


@pytest.mark.parametrize(("shape", "boundary", "spacings", "planes", "rolled"), CASES)
def test_a_copy_in_any_position_is_at_no_distance(shape, boundary, spacings, planes, rolled):
    training = labelled(np.random.default_rng(1).normal(7.0, 2.0, (12, *shape)), boundary, spacings)
    every = np.stack(list(positions(training.values[5], True, planes, rolled))[:200])
    found = nearest(labelled(every, boundary, spacings), training, training, symmetries=ALL, shortlist=2)
    np.testing.assert_array_equal(found["generated"], 0)
    np.testing.assert_array_equal(found["generated_index"], 5)
    np.testing.assert_array_equal(found["heldout_index"], np.arange(12))


@pytest.mark.parametrize(
    ("shape", "boundary", "symmetries", "number"),
    [
        ((8,), "periodic", ALL, 2),
        ((8,), "periodic", ("roll", "rotate90"), 1),
        ((8, 8), "periodic", ("rotate90",), 4),
        ((8, 8), "zero", ALL, 8),
        ((8, 6), "periodic", ALL, 4),
        ((6, 6, 6), "periodic", ("rotate90",), 24),
        ((6, 6, 6), "periodic", ALL, 48),
        ((6, 4, 6), "periodic", ALL, 16),
    ],
)
def test_how_many_flips_and_rotations_there_are(shape, boundary, symmetries, number):
    alignment = Alignment.of(labelled(np.zeros((1, *shape)), boundary), symmetries)
    assert len(set(alignment.elements)) == len(alignment.elements) == number
    assert alignment.rolled == (boundary == "periodic" and "roll" in symmetries,) * len(shape)


@pytest.mark.parametrize(("shape", "rolled"), [((9,), (0,)), ((4, 5), (0, 1)), ((3, 3, 4), (0, 1, 2)), ((4, 4), ())])
def test_bad_pixels_do_not_count_in_any_position(shape, rolled):
    rng = np.random.default_rng(2)
    boundary = "periodic" if rolled else "reflect"
    values, masks = rng.normal(3.0, 1.0, (2, 6, *shape)), rng.random((2, 6, *shape)) < 0.3
    drawn, training = (labelled(np.where(m, 1e4, v), boundary, mask=m) for v, m in zip(values, masks))
    found = nearest(drawn, training, training, symmetries=("roll", "flip"), shortlist=1)
    std = values[1][~masks[1]].std()
    for i in range(6):
        best = np.inf
        for j in range(6):
            squares = []
            for flipped in itertools.product((1, -1), repeat=len(shape)):
                turned = tuple(slice(None, None, step) for step in flipped)
                pairs_here, squares_here = [], []
                for x in positions(values[0, i] + 1j * masks[0, i], False, (), rolled):
                    image = x[turned]
                    both = (image.imag == 0) & ~masks[1, j]
                    pairs_here.append(both.sum())
                    squares_here.append(((image.real - values[1, j])[both] ** 2).mean() if both.any() else np.inf)
                fewer = min((~masks[0, i]).sum(), (~masks[1, j]).sum())
                least = max(min(0.5 * fewer, max(pairs_here)), 1) if rolled else 1
                squares += [s for s, p in zip(squares_here, pairs_here) if p >= least]
            best = min(best, *squares)
        assert float(found["generated"][i]) == pytest.approx(np.sqrt(best) / std, rel=1e-5)
    np.testing.assert_array_equal(found["heldout"], 0)


def test_channels_turn_together():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(10, 2, 6, 6))
    axes = {dim: (dim, np.arange(6.0), {"boundary": "periodic"}) for dim in ("y", "x")}
    training = xr.DataArray(values, dims=("sample", "channel", "y", "x"), coords=axes)
    copied = training.copy(data=np.roll(np.rot90(values, 1, (2, 3)), 2, 3)).transpose("sample", "y", "channel", "x")
    apart = training.copy(data=np.stack([values[:, 0], np.roll(values[:, 1], 1, 2)], axis=1))
    found = nearest(copied, training, apart, symmetries=ALL, shortlist=3)
    np.testing.assert_array_equal(found["generated"], 0)
    assert float(found["heldout"].min()) > 0.5


def test_brightness_is_no_symmetry_and_without_symmetries_positions_matter():
    training = labelled(gaussian(20, (16, 16), 0))
    found = nearest(training + 0.3, training, labelled(np.roll(training.values, 3, 1)), symmetries=ALL)
    np.testing.assert_allclose(found["generated"], 0.3 / training.values.std(), rtol=1e-6)
    np.testing.assert_array_equal(found["heldout"], 0)
    plain = nearest(training, training, labelled(np.roll(training.values, 3, 1)))
    np.testing.assert_array_equal(plain["generated"], 0)
    assert float(plain["heldout"].min()) > 0.1


@pytest.mark.parametrize(("shape", "slope"), [((128,), -1.0), ((32, 32), -2.5), ((32, 32), 0.0), ((10, 10, 10), -2.0)])
def test_near_copies_are_on_the_shortlist(shape, slope):
    """Noise up to 30 %, other brightness, less of the small scales: the original is among 32 of 1500."""
    values = gaussian(1500, shape, 1, slope)
    rng = np.random.default_rng(2)
    search = Search.of(labelled(values), ALL, 32)
    some = np.arange(0, 1500, 25)
    x = values[some]
    turned = np.stack([search.alignment.turn(v, search.alignment.elements[-1], (3, 4, 5)) for v in x])
    smooth = 0.5 * turned + 0.25 * (np.roll(turned, 1, 1) + np.roll(turned, -1, 1))
    less = turned + (smooth - turned) * min(1.0, 0.2 / (smooth - turned).std())
    noisy = [turned + level * rng.normal(size=x.shape) for level in (0.0, 0.1, 0.2, 0.3)]
    for near in (*noisy, turned + 0.2, 0.8 * turned, less):
        listed = search._shortlist(search.describe(labelled(near)), False)
        assert np.mean([i in row for i, row in zip(some, listed)]) > 0.99


@pytest.mark.parametrize(("shape", "boundary"), [((15,), "periodic"), ((8, 8), "reflect"), ((6, 6, 6), "periodic")])
def test_descriptors_do_not_change_with_the_position(shape, boundary):
    values = gaussian(40, shape, 4)
    search = Search.of(labelled(values, boundary), ALL, 5)
    alignment = search.alignment
    for element in alignment.elements:
        turned = np.stack([alignment.turn(x, element, (1, 2, 3)) for x in values])
        apart = np.linalg.norm(search.describe(labelled(turned, boundary)) - search.described, axis=1)
        # single precision, beside differences of some tens between samples
        assert apart.max() < 1e-2
    assert np.linalg.norm(search.described[1:] - search.described[0], axis=1).min() > 1


def test_a_shortlist_gives_upper_bounds_that_are_close():
    sets = [labelled(gaussian(n, (16, 16), seed)) for seed, n in enumerate((40, 300, 40))]
    short, every = (nearest(*sets, symmetries=ALL, shortlist=n) for n in (64, None))
    for which in ("generated", "heldout"):
        ratio = short[which] / every[which]
        assert float(ratio.min()) > 1 - 1e-6
        assert float(ratio.mean()) < 1.05


def test_sets_may_be_read_in_parts(monkeypatch):
    sets = [labelled(gaussian(n, (8, 8), seed)) for seed, n in enumerate((30, 70, 20))]
    wanted = {n: nearest(*sets, symmetries=ALL, shortlist=n) for n in (5, None)}
    monkeypatch.setattr(grid, "_BATCH_BYTES", 3 * 64 * 8)
    for n, expected in wanted.items():
        xr.testing.assert_allclose(nearest(*sets, symmetries=ALL, shortlist=n), expected, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(("shape", "boundary"), [((96,), "periodic"), ((24, 24), "periodic"), ((24, 24), "reflect")])
def test_a_tenth_copied_is_found_to_the_last(shape, boundary, noise):
    training, real, honest = (labelled(gaussian(n, shape, s), boundary) for s, n in ((1, 400), (2, 100), (3, 150)))
    rng = np.random.default_rng(4)
    alignment = Alignment.of(training, ALL)
    drawn, originals = honest.copy(deep=True), rng.choice(400, 15, replace=False)
    for i, j in enumerate(originals):
        element = alignment.elements[rng.integers(len(alignment.elements))]
        drawn[i] = alignment.turn(training.values[j], element, rng.integers(0, 20, 3)) + noise * rng.normal(size=shape)
    found = memorization_test(drawn, training, real, symmetries=ALL)
    place = dict(zip(found["copied"].values.tolist(), found["original"].values.tolist()))
    assert place == dict(enumerate(originals))
    assert found.attrs["copies"] == 15
    assert found.attrs["heldout_copies"] == 0
    assert float(found["copy_distance"].max()) < 1.3 * noise + 1e-9
    assert np.all(np.diff(found["copy_distance"]) >= 0)
    np.testing.assert_array_equal(found["generated"][found["copied"]], found["copy_distance"])
    # what does not look at other positions finds none
    plain = memorization_test(drawn, training, real)
    assert plain.attrs["copies"] < 5


@pytest.mark.parametrize(("heldout", "number"), [(500, 1000), (40, 40), (30, 300)])
@pytest.mark.parametrize("power", [1.0, 0.2])
def test_false_alarms_are_as_rare_as_stated_where_the_tail_is_a_power_law(heldout, number, power):
    rng = np.random.default_rng(5)
    draws = 3000
    alarms = 0
    for _ in range(draws):
        threshold, _ = copy_threshold(rng.random(heldout) ** power, number, 0.05)
        alarms += (rng.random(number) ** power).min() < threshold
    assert alarms / draws < 0.05 + 3 * np.sqrt(0.05 / draws)
    assert alarms / draws > 0.02


def test_real_beside_real_raises_no_alarm():
    """One per cent of sets may; of 60 sets four would be too many (p = 0.003)."""
    alarms, p_values = 0, []
    training = labelled(gaussian(100, (16,), 0, scatter=0.4))
    every = labelled(gaussian(60 * 80, (16,), 1, scatter=0.4))
    found = nearest(every, training, training[:25] + 1, symmetries=("roll", "flip"), shortlist=None)
    for distances in found["generated"].values.reshape(60, 2, 40):
        one = xr.Dataset(
            {
                "heldout": ("sample_heldout", distances[0]),
                "generated": ("sample_generated", distances[1]),
                "generated_index": ("sample_generated", np.arange(40)),
            }
        )
        alarms += copies(one).attrs["copies"] > 0
    for part in range(0, 60 * 80, 400):
        drawn, real = every.isel(sample=slice(part, part + 200)), every.isel(sample=slice(part + 200, part + 400))
        p_values.append(memorization_test(drawn, training, real, symmetries=("roll", "flip")).attrs["decile_p_value"])
    assert alarms <= 3
    assert np.mean(np.array(p_values) < 0.05) < 0.2  # 12 values, one expected at most


def test_copying_where_the_data_are_dense_is_seen_there():
    """Half of the real samples have a fifth of the amplitude and lie close together.

    A model draws fewer of them, and those too close to the training set: of all distances together its are the larger.
    """
    rng = np.random.default_rng(6)

    def draw(number, quiet, seed):
        return gaussian(number, (64,), seed) * np.where(np.arange(number) < quiet, 0.2, 1.0)[:, None]

    training, real, drawn = draw(400, 200, 0), draw(400, 200, 1), draw(400, 100, 2)
    honest = memorization_test(*(labelled(v) for v in (drawn, training, real)), symmetries=("roll",))
    near = training.std() * float(np.quantile(honest["heldout"][:200], 0.3))
    drawn[:70] = training[:70] + near * rng.normal(size=(70, 64))
    found = memorization_test(*(labelled(v) for v in (drawn, training, real)), symmetries=("roll",))
    assert honest.attrs["decile_p_value"] > 0.05
    assert found.attrs["p_value"] > 0.05
    assert found.attrs["copies"] == 0
    assert found.attrs["decile_p_value"] < 1e-3
    dense = found["decile_p"].values
    assert dense[: len(dense) // 2].min() < 1e-3
    assert dense[(len(dense) + 1) // 2 :].min() > 0.01
    assert found["decile_heldout"][0] < 0.5 * found["decile_heldout"][-1]


@pytest.mark.parametrize(("number", "bins"), [(300, 10), (60, 3), (20, 1), (25, 1)])
def test_bins_of_density_hold_twenty_samples_of_either_set(number, bins):
    rng = np.random.default_rng(7)
    sets = [labelled(rng.normal(size=(n, 32))) for n in (number, 50, number)]
    found = memorization_test(*sets)
    assert 1 <= found.sizes["decile"] <= bins
    assert found.sizes["decile"] >= max(bins - 4, 1)
    for which in ("generated", "heldout"):
        count = np.bincount(found[f"{which}_decile"], minlength=found.sizes["decile"])
        np.testing.assert_array_equal(found[f"{which}_count"], count)
        assert count.min() >= 20
    if found.sizes["decile"] == 1:
        assert found.attrs["decile_p_value"] == found.attrs["p_value"]


def test_samples_that_repeat_one_another_are_found():
    drawn, real = labelled(gaussian(120, (24, 24), 1)), labelled(gaussian(80, (24, 24), 2))
    assert self_copies(drawn, real, symmetries=ALL).attrs["copies"] == 0
    repeated = drawn.copy(deep=True)
    repeated[7] = np.roll(np.rot90(drawn.values[40]), 5, 1)
    repeated[90] = drawn.values[40] + 0.05 * np.random.default_rng(0).normal(size=(24, 24))
    for shortlist in (32, None):
        found = self_copies(repeated, real, symmetries=ALL, shortlist=shortlist)
        assert sorted(found["copied"].values) == [7, 40, 90]
        assert set(found["original"].values[:2]) == {7, 40}
        assert not (found["generated_index"] == np.arange(120)).any()
    assert sorted(self_copies(repeated, real)["copied"].values) == [40, 90]


def test_held_out_copies_are_counted_and_do_not_hide_what_a_model_copies():
    training, real = labelled(gaussian(200, (16, 16), 1)), labelled(gaussian(100, (16, 16), 2))
    real[:5] = np.roll(training[:5], 4, 2)
    drawn = labelled(gaussian(50, (16, 16), 3))
    drawn[9] = training.values[50]
    training, real = (v.assign_coords(group=("sample", np.arange(len(v)) + s)) for v, s in ((training, 0), (real, 195)))
    found = memorization_test(drawn, training, real, symmetries=ALL)
    assert found.attrs["heldout_copies"] == 5
    assert found.attrs["shared_groups"] == 5
    np.testing.assert_array_equal(found["copied"], [9])
    assert memorization_test(drawn, training, drawn).attrs["shared_groups"] == -1


def test_copies_that_held_out_samples_come_as_near_are_none():
    """A tail with samples far below the others says that honest samples may lie there too."""
    rng = np.random.default_rng(8)
    heldout = rng.normal(1.0, 0.02, 100)
    clean, none = copy_threshold(heldout, 100)
    heldout[:4] = [0.1, 0.12, 0.09, 0.11]
    threshold, far = copy_threshold(heldout, 100)
    assert none == 0
    assert far == 4
    assert threshold < 0.09 < 0.5 < clean


def test_the_threshold_is_drawn():
    sets = [labelled(gaussian(n, (16,), seed)) for seed, n in enumerate((30, 50, 30))]
    found = memorization_test(*sets)
    without = plot_nearest(nearest(*sets))
    drawn = plot_nearest(found)
    assert len(drawn.lines) == len(without.lines) + 1
    assert drawn.lines[0].get_xdata()[0] == pytest.approx(found.attrs["threshold"])
    assert drawn.get_xlim()[0] < found.attrs["threshold"]
    assert "0 copies" in drawn.get_legend().get_texts()[0].get_text()


def test_what_is_refused():
    field = labelled(gaussian(30, (8, 8), 0))
    with pytest.raises(ValueError, match="unknown symmetry 'shear'; known are roll, flip, rotate90"):
        nearest(field, field, field, symmetries=["shear"])
    with pytest.raises(ValueError, match="a shortlist of at least 1 sample, got 0"):
        nearest(field, field, field, shortlist=0)
    with pytest.raises(ValueError, match="all but 'sample' must agree"):
        self_copies(field, field.isel(x=slice(4)))
    with pytest.raises(ValueError, match="two are needed"):
        self_copies(field[:1], field)
    with pytest.raises(ValueError, match="sample 3 of 'map' has 1 values that are not finite"):
        nearest(field.where((field.sample != 3) | (field.x > 0) | (field.y > 0)), field, field, symmetries=ALL)
    with pytest.raises(ValueError, match="0 of 30 held-out samples have a distance"):
        memorization_test(field, field, field)
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        copy_threshold(np.ones(30), 10, 2)
