import ast
import multiprocessing
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint

import h5py
import numpy as np
import pytest
import xarray as xr

import data_loaders
from data_loaders import DataError, check_target, main_variable, open_field, readers, registry, write_field

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


@pytest.fixture
def npy(tmp_path):
    path = tmp_path / "maps.npy"
    np.save(path, np.arange(2 * 4 * 8, dtype=np.float32).reshape(2, 4, 8))
    return path


@pytest.fixture
def own_readers(monkeypatch):
    readers()
    monkeypatch.setattr(registry, "_READERS", dict(registry._READERS))


def test_readers_say_what_they_read():
    for name, each in readers().items():
        assert each.summary.endswith("."), name


def test_units_that_contradict_the_file_are_not_converted(tmp_path, make_field):
    ds = make_field(("x",), (2, 4))
    ds.density.attrs["units"] = "km / s"
    write_field(ds, tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"units = 'km / s', given was 'm / s'; .*multiply them by 1000 after opening"):
        open_field(tmp_path / "a.h5", units="m / s")
    with pytest.raises(DataError, match=r"given was 'K'; leave that flag out: it labels values, and converts none$"):
        open_field(tmp_path / "a.h5", units="K")


@pytest.mark.parametrize("option", ["frame", "nothing"])
def test_options_that_nothing_knows_list_what_is_known(npy, option):
    words = {
        "frame": "frame prepare spectra, and this field has dims .*sample",
        "nothing": "takes no option nothing; it takes: none; spectra also take: wavelength, frame, medium, normalize",
    }
    with pytest.raises(DataError, match=rf"maps\.npy: .*{words[option]}"):
        open_field(npy, **{option: "rest"}, **BARE)


def test_importing_is_light():
    code = "import sys, data_loaders; print([m for m in ('numpy', 'xarray', 'torch', 'astropy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data_loaders.nothing  # noqa: B018
    assert set(data_loaders.__all__) <= set(dir(data_loaders))


def test_neither_torch_nor_sciffusion_is_imported():
    code = "import sys, data_loaders; data_loaders.readers(); print({'torch', 'sciffusion'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_unknown_reader_names_the_known(npy):
    with pytest.raises(DataError, match=r"maps\.npy: no reader 'nyp'; known readers: .*camels, .*fits, .*hdf5, .*npy"):
        open_field(npy, reader="nyp", **BARE)


def test_unknown_content_names_the_known(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match=r"a\.txt: no reader knows this content .*known readers: .*camels"):
        open_field(tmp_path / "a.txt")


def test_two_readers_that_match_are_an_error(npy, own_readers):
    registry.reader("other", lambda path, head: head.startswith(b"\x93NUMPY"))(lambda path: xr.Dataset())
    with pytest.raises(DataError, match=r"several readers match: npy, other; choose one with reader="):
        open_field(npy, **BARE)
    assert open_field(npy, reader="npy", **BARE).sizes["sample"] == 2


def test_a_reader_that_refines_another_wins(npy, own_readers):
    made = xr.Dataset({"a": (("sample", "x"), np.ones((3, 2)))}, attrs={"field": "a"})
    registry.reader("special", lambda path, head: path.name == "maps.npy", refines=("npy",))(lambda path: made)
    assert open_field(npy, **BARE).sizes["sample"] == 3


def test_a_name_is_taken_once(own_readers):
    with pytest.raises(ValueError, match="reader named 'npy' exists"):
        registry.reader("npy", lambda path, head: False)(lambda path: xr.Dataset())


class _Entry:
    def __init__(self, load):
        self.name, self.value, self.load = "mine", "mine.module", load


@pytest.fixture
def entry_points(monkeypatch, own_readers):
    def install(load):
        monkeypatch.setattr(registry, "entry_points", lambda group: [_Entry(load)] * (group == "sciffusion.readers"))
        monkeypatch.setattr(registry, "_BUILT_IN", ())
        registry._load.cache_clear()

    yield install
    registry._load.cache_clear()
    monkeypatch.undo()
    registry._load()


def test_other_packages_add_readers(entry_points):
    entry_points(lambda: registry.reader("theirs", lambda path, head: False)(lambda path: xr.Dataset()))
    assert "theirs" in readers()
    assert EntryPoint("a", "b", registry.ENTRY_POINT_GROUP).group == "sciffusion.readers"


def test_a_broken_reader_of_another_package_warns(entry_points, npy):
    entry_points(lambda: 1 / 0)
    with pytest.warns(RuntimeWarning, match="reader 'mine' of 'mine.module' does not load.*ZeroDivisionError"):
        assert "npy" in readers()
    assert open_field(npy, **BARE).sizes["sample"] == 2


def test_options_are_checked_by_the_reader(npy):
    with pytest.raises(DataError, match="reader 'npy' takes no option dataset; it takes: none"):
        open_field(npy, dataset="maps", **BARE)


@pytest.mark.parametrize("what", ["missing", "empty", "folder"])
def test_no_readable_file(tmp_path, what):
    path = tmp_path / "a.npy"
    if what == "empty":
        path.touch()
    if what == "folder":
        path.mkdir()
    words = {"missing": "no such file", "empty": "the file is empty", "folder": "no reader knows"}[what]
    with pytest.raises(DataError, match=rf"a\.npy: {words}"):
        open_field(path)


def test_paths_are_checked(npy):
    with pytest.raises(DataError, match=r"maps\.npy: is given twice"):
        open_field([npy, npy.parent / "." / npy.name], **BARE)
    with pytest.raises(DataError, match="at least one path"):
        open_field([])


@pytest.mark.parametrize(
    ("left_out", "flags"),
    [
        (("box_size", "units", "boundary"), ("--box_size", "--units", "--boundary")),
        (("units",), ("--units",)),
        (("box_size",), ("--box_size",)),
        (("boundary",), ("--boundary",)),
    ],
)
def test_a_bare_array_is_refused_with_the_flags_it_needs(npy, left_out, flags):
    with pytest.raises(DataError, match=r"maps\.npy: the array is bare") as caught:
        open_field(npy, **{key: value for key, value in BARE.items() if key not in left_out})
    named = {flag for flag in ("--box_size", "--units", "--boundary") if flag in str(caught.value)}
    assert named == set(flags)


def test_labels_of_a_bare_array(npy):
    ds = open_field(npy, box_size=["10", "1000 Angstrom"], units="", boundary=("zero", "reflect"))
    assert main_variable(ds).attrs == {"units": "", "long_name": "maps"}
    np.testing.assert_allclose(ds.y, [1.25, 3.75, 6.25, 8.75])
    np.testing.assert_allclose(ds.x, 1000 / 8 * (np.arange(8) + 0.5))
    assert ds.y.attrs == {"units": "Mpc/h", "boundary": "zero"}
    assert ds.x.attrs == {"units": "Angstrom", "boundary": "reflect"}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"box_size": -1}, "--box_size must be a positive number"),
        ({"box_size": "wide"}, "--box_size must be a positive number"),
        ({"box_size": [1, 2, 3]}, "--box_size takes one value or one for each of y x"),
        ({"boundary": "open"}, "must be one of periodic, reflect, zero; found 'open'"),
        ({"dims": "sample x"}, r"--dims needs one name for each axis, 'sample' first; the array has shape \(2, 4, 8\)"),
        ({"dims": "y sample x"}, "'sample' first"),
    ],
)
def test_labels_that_do_not_fit(npy, labels, words):
    with pytest.raises(DataError, match=words):
        open_field(npy, **{**BARE, **labels})


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3, 4), ("sample", "x")),
        ((3, 4, 4), ("sample", "y", "x")),
        ((3, 2, 4, 4, 4), ("sample", "channel", "z", "y", "x")),
    ],
)
def test_dims_follow_from_the_number_of_axes(tmp_path, shape, dims):
    np.save(tmp_path / "a.npy", np.ones(shape))
    assert main_variable(open_field(tmp_path / "a.npy", **BARE)).dims == dims


def test_four_axes_ask(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2, 4, 4)))
    with pytest.raises(DataError, match="--dims 'sample z y x' or --dims 'sample channel y x'"):
        open_field(tmp_path / "a.npy", **BARE)
    for dims in ("sample z y x", ["sample", "channel", "y", "x"]):
        ds = open_field(tmp_path / "a.npy", dims=dims, **BARE)
        assert main_variable(ds).dims == tuple(dims.split() if isinstance(dims, str) else dims)


@pytest.mark.parametrize("shape", [(7,), (0, 4), (2, 2, 2, 2, 2, 2)])
def test_shapes_that_are_no_fields(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(DataError, match=r"a\.npy: expected"):
        open_field(tmp_path / "a.npy", **BARE)


def test_labels_that_contradict_the_file(tmp_path, field):
    write_field(field, tmp_path / "a.h5")
    same = open_field(tmp_path / "a.h5", box_size=25, units=field.density.attrs["units"], boundary="periodic")
    xr.testing.assert_identical(same, field)
    for wrong in ({"box_size": 50}, {"box_size": "25 kpc"}, {"units": "K"}, {"boundary": "zero"}):
        with pytest.raises(DataError, match="the file says"):
            open_field(tmp_path / "a.h5", **wrong)


def test_samples_selects(tmp_path, make_field):
    ds = make_field(("y", "x"), (6, 4, 4))
    write_field(ds, tmp_path / "a.h5")
    xr.testing.assert_identical(open_field(tmp_path / "a.h5", samples=slice(1, 4)), ds.isel(sample=slice(1, 4)))
    xr.testing.assert_identical(open_field(tmp_path / "a.h5", samples=[5, 0]), ds.isel(sample=[5, 0]))
    with pytest.raises(DataError, match="selects none"):
        open_field(tmp_path / "a.h5", samples=slice(6, 9))


@pytest.mark.parametrize("suffix", [".h5", ".npy", ".fits"])
def test_files_are_joined_along_sample(tmp_path, make_field, suffix):
    parts = [make_field(("y", "x"), (n, 4, 6), seed=n) for n in (5, 2, 3)]
    paths = [tmp_path / f"{i}{suffix}" for i in range(3)]
    for part, path in zip(parts, paths):
        write_field(part, path)
    joined = open_field(paths)
    np.testing.assert_array_equal(joined.density, np.concatenate([part.density for part in parts]))
    np.testing.assert_array_equal(joined.Omega_m, np.concatenate([part.Omega_m for part in parts]))
    first = 39_627_835_000_000_001
    np.testing.assert_array_equal(joined.group - first, [0, 0, 1, 1, 2, 3, 3, 4, 4, 5])
    assert joined.group.dtype == np.int64
    picked = joined.density[[9, 0, 6, 6], 1:3, ::-2]
    np.testing.assert_array_equal(picked, joined.density.values[[9, 0, 6, 6], 1:3, ::-2])
    np.testing.assert_array_equal(joined.density[7], parts[2].density[0])
    np.testing.assert_array_equal(joined.density[4:6, [0, 3]], joined.density.values[4:6, [0, 3]])


def test_files_that_differ_are_not_joined(tmp_path, make_field):
    first = make_field(("y", "x"), (2, 4, 4))
    wider = make_field(("y", "x"), (2, 4, 4)).assign_coords(x=("x", 2 * first.x.values, first.x.attrs))
    others = {
        "shape": make_field(("y", "x"), (2, 4, 6)),
        "coordinate 'x'": wider,
        "variables": first.drop_vars("Omega_m"),
        "dims": make_field(("x",), (2, 4)),
    }
    kelvin = first.copy(deep=True)
    kelvin.density.attrs["units"] = "K"
    others["units"] = kelvin
    write_field(first, tmp_path / "first.h5")
    for what, other in others.items():
        write_field(other, tmp_path / "other.h5", overwrite=True)
        with pytest.raises(DataError, match=rf"other\.h5: {what}.*first\.h5; join files of one"):
            open_field([tmp_path / "first.h5", tmp_path / "other.h5"])


def test_groups_too_large_to_shift(tmp_path, make_field):
    for seed, name in enumerate("ab"):
        ds = make_field(("x",), (2, 4), seed=seed).assign_coords(group=("sample", np.array([0, 2**63 - 2])))
        write_field(ds, tmp_path / f"{name}.h5")
    with pytest.raises(DataError, match=r"b\.h5: the numbers in group are too large"):
        open_field([tmp_path / "a.h5", tmp_path / "b.h5"])


def simulations(make_field, numbers, seed=0, maps=2, **coords):
    """Maps of simulations whose parameters follow from their number and the seed of the suite."""
    group = np.repeat(np.asarray(numbers), maps)
    drawn = {i: np.random.default_rng([seed, i]).uniform(0.1, 0.5) for i in numbers}
    ds = make_field(("y", "x"), (len(group), 4, 4)).drop_vars(["split", "good", "axis", "redshift"])
    labels = {"Omega_m": [drawn[i] for i in group], "slab": np.tile(np.arange(maps), len(numbers))}
    return ds.assign_coords(group=("sample", group), **{k: ("sample", v) for k, v in (labels | coords).items()})


def joined_groups(tmp_path, *datasets):
    paths = [tmp_path / f"{i}.h5" for i in range(len(datasets))]
    for ds, path in zip(datasets, paths):
        write_field(ds, path, overwrite=True)
    return np.split(open_field(paths).group.values, np.cumsum([ds.sizes["sample"] for ds in datasets])[:-1])


def test_the_same_simulations_keep_their_groups(tmp_path, make_field):
    """Two redshifts of one simulation must not be on both sides of a split."""
    early = simulations(make_field, [0, 1, 2], redshift=[1.0] * 6)
    late = simulations(make_field, [0, 1, 2], maps=3, redshift=[0.0] * 9)
    first, second = joined_groups(tmp_path, early, late)
    np.testing.assert_array_equal(first, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(second, [0, 0, 0, 1, 1, 1, 2, 2, 2])


def test_other_simulations_between_them_get_other_groups(tmp_path, make_field):
    parts = [simulations(make_field, *of) for of in (([0, 1], 7), ([0, 1, 2], 8), ([1, 2, 3], 7), ([2, 0], 8))]
    groups = [group[::2].tolist() for group in joined_groups(tmp_path, *parts)]
    assert groups == [[0, 1], [4, 5, 6], [1, 2, 3], [6, 4]]


def test_two_parts_are_tied_by_a_third_that_holds_both(tmp_path, make_field):
    parts = [simulations(make_field, numbers) for numbers in ([0, 1], [2, 3], [0, 1, 2, 3])]
    groups = [group[::2].tolist() for group in joined_groups(tmp_path, *parts)]
    assert groups == [[0, 1], [2, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("differs", ["seed", "suite", "set", "one parameter", "no label"])
def test_simulations_that_may_be_others_are_numbered_apart(tmp_path, make_field, differs):
    seed = np.repeat([11, 12, 13], 2)
    first, second = (simulations(make_field, [0, 1, 2], seed=0).assign_coords(seed=("sample", seed)) for _ in "ab")
    assert joined_groups(tmp_path, first, second)[1].tolist() == [0, 0, 1, 1, 2, 2]
    if differs == "seed":
        second["seed"] = ("sample", np.repeat([11, 12, 14], 2))
    if differs in ("suite", "set"):
        first.attrs[differs], second.attrs[differs] = "IllustrisTNG", "SIMBA"
    if differs == "one parameter":
        second.Omega_m[4:] += 0.01
    if differs == "no label":
        first, second = (ds.drop_vars(["seed", "Omega_m"]) for ds in (first, second))
    assert joined_groups(tmp_path, first, second)[1].tolist() == [3, 3, 4, 4, 5, 5]


def _sum(ds):
    return float(main_variable(ds)[1].sum())


@pytest.fixture
def opened(tmp_path, make_field):
    """One field through every kind of source."""
    ds = make_field(("y", "x"), (4, 4, 4))
    for name in ("a.h5", "a.npy", "a.fits"):
        write_field(ds, tmp_path / name)
    write_field(ds, tmp_path / "packed.h5", packing="log10")
    np.save(tmp_path / "bare.npy", ds.density.values)
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["maps"] = ds.density.values
    labelled = [open_field(tmp_path / name) for name in ("a.h5", "a.npy", "a.fits", "packed.h5")]
    return labelled + [open_field(tmp_path / name, **BARE) for name in ("bare.npy", "bare.h5")]


def test_forked_workers_read(opened):
    expected = [_sum(ds) for ds in opened]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_sum, opened) == expected


def test_workers_started_anew_read(opened):
    expected = [_sum(ds) for ds in opened]
    code = "import pickle, sys; print([float(ds[ds.attrs['field']][1].sum()) for ds in pickle.load(sys.stdin.buffer)])"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, input=pickle.dumps(opened), capture_output=True, check=True)
    assert ast.literal_eval(out.stdout.decode()) == expected


def test_writing_refuses(tmp_path, make_field):
    ds = make_field(("y", "x"), (2, 4, 4))
    with pytest.raises(DataError, match=r"no format has the suffix '\.txt'; known: \.fits, \.h5"):
        write_field(ds, tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"\.fits knows no packing; write \.h5"):
        write_field(ds, tmp_path / "a.fits", packing="log10")
    for suffix in (".h5", ".nc", ".fits", ".npy"):
        write_field(ds, tmp_path / f"a{suffix}")
        with pytest.raises(FileExistsError, match="--overwrite"):
            write_field(ds, tmp_path / f"a{suffix}")
        write_field(ds.isel(sample=[0]), tmp_path / f"a{suffix}", overwrite=True)
        assert open_field(tmp_path / f"a{suffix}").sizes["sample"] == 1


def test_a_target_is_checked_as_writing_checks_it(tmp_path, make_field):
    check_target(tmp_path / "new" / "a.h5", packing="log10")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"no format has the suffix '\.txt'"):
        check_target(tmp_path / "a.txt", overwrite=True)
    with pytest.raises(DataError, match=r"\.npy knows no packing; write \.h5"):
        check_target(tmp_path / "a.npy", packing="log10")
    write_field(make_field(("x",), (2, 4)), tmp_path / "a.h5")
    with pytest.raises(FileExistsError, match=r"a\.h5 exists.*--overwrite"):
        check_target(tmp_path / "a.h5")
    check_target(tmp_path / "a.h5", overwrite=True)
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path / "folder.h5", overwrite=True)
    with pytest.raises(PermissionError, match=r"a\.h5 is no folder that can be written to"):
        check_target(tmp_path / "a.h5" / "new" / "b.h5")


def test_a_failed_write_leaves_no_file(tmp_path, make_field):
    ds = make_field(("y", "x"), (2, 4, 4))
    ds["error"] = (ds.density / 1e12).astype(np.float16)
    for suffix in (".h5", ".fits", ".npy"):
        with pytest.raises(DataError):
            write_field(ds, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def _change(ds, name, **kwargs):
    changed = ds.copy(deep=True)
    for key, value in kwargs.items():
        if value is None:
            del changed[name].attrs[key]
        else:
            changed[name].attrs[key] = value
    return changed


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda ds: ds.transpose("y", "sample", "x"), r"expected dims \(sample, \[channel,\] \*grid\)"),
        (lambda ds: ds.drop_vars("x"), "grid dim 'x' has no coordinate"),
        (lambda ds: _change(ds, "x", units=None), "coordinate 'x' has no units"),
        (lambda ds: _change(ds, "x", boundary=None), "'boundary'. of 'x' must be one of"),
        (lambda ds: _change(ds, "density", units=None), "'density' has no units"),
        (
            lambda ds: _change(ds, "density", scale_factor=2.0),
            "attribute 'scale_factor' of 'density': the name is taken",
        ),
        (lambda ds: _change(ds, "density", model=object()), "attribute 'model' of 'density': expected text"),
        (lambda ds: ds.assign_coords(x=("x", [0, 2, 1, 3], ds.x.attrs)), "coordinate 'x' must rise or fall"),
        (lambda ds: ds.assign_coords(x=("x", [0, 1, 2, np.nan], ds.x.attrs)), "coordinate 'x' must be finite"),
        (lambda ds: ds.assign_coords(split=("sample", np.array(["a", None], object))), "'split' has dtype object"),
        (lambda ds: ds.assign_coords({"a b": ("sample", [0, 1])}), "'a b' is no name"),
        (lambda ds: ds.assign(density=ds.density + 1j).assign_attrs(field="density"), "expected numbers in 'density'"),
        (
            lambda ds: ds.assign_attrs(field="nothing"),
            r"must name the main variable, found 'nothing'; variables: density",
        ),
        (lambda ds: ds.isel(sample=slice(0)), "at least one sample"),
    ],
)
def test_a_field_without_its_labels_is_not_written(tmp_path, make_field, spoil, words):
    with pytest.raises(DataError, match=words):
        write_field(spoil(make_field(("y", "x"), (2, 4, 4))), tmp_path / "a.h5")


def test_a_data_error_survives_pickle():
    error = pickle.loads(pickle.dumps(DataError("a.npy", "is bad")))
    assert str(error) == "a.npy: is bad"
    assert error.where == "a.npy"
