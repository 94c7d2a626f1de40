"""Writing and reading is the identity: values, dtypes, dims, coordinates, attributes, in every format."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data_loaders import DataError, main_variable, open_field, write_field

SUFFIXES = [".h5", ".nc", ".fits", ".npy", ".zarr"]
GRIDS = [("x",), ("wavelength",), ("y", "x"), ("z", "y", "x")]

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,7}", fullmatch=True)
text = st.text(st.characters(codec="utf-8"), max_size=12)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
attributes = st.dictionaries(
    names.filter(lambda name: name not in {"dtype", "field", "units", "boundary", "bounds", "coordinates"}),
    st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)),
    max_size=3,
)
labels_of_samples = st.sampled_from([np.int64, np.int32, np.uint8, np.uint64, np.float32, np.float64, np.bool_, "U"])


@st.composite
def datasets(draw):
    grid = draw(st.sampled_from(GRIDS))
    channel = draw(st.booleans())
    dims = ("sample", *(("channel",) if channel else ()), *grid)
    shape = draw(st.tuples(*(st.integers(1, 4) for _ in dims)))
    sizes = dict(zip(dims, shape))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32]))
    coords = {dim: draw(axes(dim, sizes[dim])) for dim in grid}
    taken = {*dims, "density"}
    for name in draw(st.lists(names.filter(lambda name: name not in taken), max_size=3, unique=True)):
        coords[name] = ("sample", draw(values(sizes["sample"])), draw(attributes))
    if draw(st.booleans()):
        coords["scalar"] = ((), draw(st.integers(-5, 5)))
    if channel and draw(st.booleans()):
        coords["channel"] = ("channel", np.array(list("griz"))[: sizes["channel"]])
    field = draw(arrays.arrays(dtype, shape))
    attrs = {"units": draw(text), "long_name": draw(text), **draw(attributes)}
    return xr.Dataset({"density": (dims, field, attrs)}, coords, {"field": "density", **draw(attributes)})


@st.composite
def axes(draw, dim, n):
    steps = draw(st.lists(st.floats(1e-3, 1e3), min_size=n, max_size=n))
    labels = {"units": draw(text), "boundary": draw(st.sampled_from(["periodic", "reflect", "zero"]))}
    return dim, np.cumsum(steps), {**labels, **draw(attributes)}


@st.composite
def values(draw, n):
    dtype = draw(labels_of_samples)
    if dtype == "U":
        # numpy's own strings drop trailing NULs.
        return np.array(draw(st.lists(text.filter(lambda t: "\0" not in t), min_size=n, max_size=n)), dtype=str)
    return draw(arrays.arrays(dtype, n))


# .nc is the writer of .h5.
@pytest.mark.parametrize("suffix", [".h5", ".fits", ".npy", ".zarr"])
@settings(max_examples=25, deadline=None)
@given(ds=datasets())
def test_writing_and_reading_is_the_identity(suffix, ds):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        before = ds.copy(deep=True)
        write_field(ds, path)
        with open_field(path) as back:
            xr.testing.assert_identical(back, ds)
            assert {name: v.dtype for name, v in back.variables.items()} == {
                n: v.dtype for n, v in ds.variables.items()
            }
            assert set(back.coords) == set(ds.coords)
        xr.testing.assert_identical(ds, before)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_label_survives(tmp_path, suffix, field):
    write_field(field, tmp_path / f"a{suffix}")
    back = open_field(tmp_path / f"a{suffix}")
    assert not back.density.variable._in_memory
    xr.testing.assert_identical(back, field)
    assert back.group.dtype == np.int64
    assert back.split.dtype.kind == "U"
    assert back.x.dtype == np.float64
    assert back.attrs["steps"] == [50, 250]
    # Again: nothing of the storage sticks to the dataset.
    write_field(back, tmp_path / f"b{suffix}")
    xr.testing.assert_identical(open_field(tmp_path / f"b{suffix}"), field)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("grid", [("x",), ("y", "x"), ("z", "y", "x")])
def test_channels_survive(tmp_path, make_field, suffix, grid):
    ds = make_field(grid, (3, *(4, 2, 5)[: len(grid)]), channels=2)
    write_field(ds, tmp_path / f"a{suffix}")
    xr.testing.assert_identical(open_field(tmp_path / f"a{suffix}"), ds)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_array_alone_is_named_and_labelled(tmp_path, make_field, suffix):
    array = main_variable(make_field(("y", "x"), (3, 4, 4)))
    write_field(array, tmp_path / f"a{suffix}")
    xr.testing.assert_identical(main_variable(open_field(tmp_path / f"a{suffix}")), array)
    write_field(array.rename(None), tmp_path / f"b{suffix}")
    assert main_variable(open_field(tmp_path / f"b{suffix}")).name == "field"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numpy_attributes_come_back_plain(tmp_path, make_field, suffix):
    ds = make_field(("x",), (2, 4))
    ds.attrs |= {"k": np.array([0.1, 0.2]), "n": np.int64(3), "model": {"width": (1, 2)}}
    write_field(ds, tmp_path / f"a{suffix}")
    back = open_field(tmp_path / f"a{suffix}").attrs
    assert {key: back[key] for key in ("k", "n", "model")} == {"k": [0.1, 0.2], "n": 3, "model": {"width": [1, 2]}}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_swapped_bytes_are_written_native(tmp_path, make_field, suffix):
    ds = make_field(("x",), (2, 4), dtype=">f4")
    write_field(ds, tmp_path / f"a{suffix}")
    back = open_field(tmp_path / f"a{suffix}").density
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, ds.density)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("grid", [("wavelength",), ("y", "x"), ("z", "y", "x")])
def test_what_belongs_to_the_pixels_survives_and_stays_in_the_file(tmp_path, make_field, suffix, grid):
    ds = make_field(grid, (5, *(6, 4, 3)[: len(grid)]))
    rng = np.random.default_rng(1)
    dims = ds.density.dims
    ds = ds.assign_coords(
        mask=(dims, rng.random(ds.density.shape) > 0.5, {"long_name": "bad pixel"}),
        ivar=(dims, rng.random(ds.density.shape).astype(np.float32), {"units": "s"}),
        bits=(dims, rng.integers(-(2**62), 2**62, ds.density.shape)),
    )
    write_field(ds, tmp_path / f"a{suffix}")
    back = open_field(tmp_path / f"a{suffix}")
    for name in ("mask", "ivar", "bits"):
        assert not back[name].variable._in_memory
        assert back[name].dtype == ds[name].dtype
    np.testing.assert_array_equal(back.mask[[3, 0]], ds.mask[[3, 0]])
    xr.testing.assert_identical(back, ds)
    # The field alone carries them.
    write_field(main_variable(back), tmp_path / f"b{suffix}")
    xr.testing.assert_identical(main_variable(open_field(tmp_path / f"b{suffix}")), ds.density)


def test_flipped_bits_of_labels_are_found(tmp_path, make_field):
    """Without a checksum they would be other parameters."""
    ds = make_field(("x",), (50, 8))
    write_field(ds, tmp_path / "a.h5")
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[content.find(ds.Omega_m.values.tobytes()) + 83] ^= 0x10
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5: "):
        open_field(tmp_path / "a.h5")
