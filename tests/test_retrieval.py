"""The library of embeddings: equal to brute force, ties in order, ids and precision through the file."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sciffusion import retrieval
from sciffusion.retrieval import SpectrumIndex


def vectors(num=700, dim=16, seed=0):
    values = np.random.default_rng(seed).normal(size=(num, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that the library and the queries take many, the last ones incomplete."""
    monkeypatch.setattr(retrieval, "_ROWS", 64)
    monkeypatch.setattr(retrieval, "_QUERIES", 7)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("num", [1, 5, 100, 700])
def test_equal_to_brute_force(num):
    """Also for more neighbors than a block holds, and for all of them."""
    library, query = vectors(), vectors(30, seed=1)
    found = SpectrumIndex.of(library).search(query, num)
    cosine = query.astype(np.float64) @ library.T.astype(np.float64)
    order = np.argsort(-cosine, axis=1)[:, :num]
    assert np.array_equal(found.index, order)
    np.testing.assert_allclose(found.cosine, np.take_along_axis(cosine, order, 1), atol=1e-6)
    assert found.index.dtype == np.int64
    assert found.cosine.dtype == np.float32


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("num", [1, 3, 10, 90, 200])
def test_equals_come_in_the_order_of_the_library(num):
    """Axes of a cube: cosines are 0 and 1 exactly, with many of each in every block and across blocks."""
    axis = np.random.default_rng(2).integers(0, 3, 300)
    found = SpectrumIndex.of(np.eye(3)[axis]).search(np.eye(3), num)
    for row in range(3):
        expected = np.lexsort([np.arange(300), axis != row])[:num]
        assert np.array_equal(found.index[row], expected)
        assert np.array_equal(found.cosine[row], (axis[expected] == row).astype(np.float32))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_sum_of_the_softmax(scale):
    library, query = vectors(), vectors(30, seed=1)
    expected = np.log(np.exp(scale * query.astype(np.float64) @ library.T.astype(np.float64)).sum(1))
    np.testing.assert_allclose(SpectrumIndex.of(library).log_sum(query, scale), expected, rtol=1e-5)


def test_lengths_do_not_matter():
    library, query = vectors(), vectors(3, seed=1)
    scaled = SpectrumIndex.of(library * np.linspace(1e-3, 1e3, len(library))[:, None])
    found, expected = scaled.search(50 * query, 8), SpectrumIndex.of(library).search(query, 8)
    assert np.array_equal(found.index, expected.index)
    assert np.array_equal(scaled.search(query[0], 8).index, expected.index[:1])


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float16", 3e-4), ("bfloat16", 3e-3)])
def test_saved_and_opened_in_every_precision(tmp_path, dtype, error):
    library, query = vectors(), vectors(20, seed=1)
    index = SpectrumIndex.of(library, dtype=dtype, attrs={"checkpoint": "0123"})
    index.save(tmp_path / "library.safetensors")
    opened = SpectrumIndex.open(tmp_path / "library.safetensors")
    assert str(opened.vectors.dtype) == f"torch.{dtype}"
    assert torch.equal(opened.vectors, index.vectors)
    assert opened.attrs == {"checkpoint": "0123"}
    found = opened.search(query, 10)
    true = np.take_along_axis(query @ library.T, found.index, 1)
    assert np.abs(found.cosine - true).max() < error
    with pytest.raises(FileExistsError):
        index.save(tmp_path / "library.safetensors")


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(700) + 2**62 + 1,  # beyond the integers of a float64
        np.array([f"spec-0266-51602-{i:04d} é" for i in range(700)]),
    ],
    ids=["integers", "text"],
)
def test_ids_come_back_as_they_were(tmp_path, ids):
    SpectrumIndex.of(vectors(), ids).save(tmp_path / "library.safetensors")
    opened = SpectrumIndex.open(tmp_path / "library.safetensors")
    assert np.array_equal(opened.ids, ids)
    assert opened.ids.dtype.kind == ids.dtype.kind
    assert opened.ids[opened.search(vectors()[431], 1).index].item() == ids[431]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_vectors_stay_in_the_file(tmp_path):
    """The memory of an opened library is that of the mapped file."""
    path = tmp_path / "library.safetensors"
    SpectrumIndex.of(vectors()).save(path)
    code = (
        f"from sciffusion.retrieval import SpectrumIndex; index = SpectrumIndex.open({str(path)!r})\n"
        "at = index.vectors.data_ptr()\n"
        "for line in open('/proc/self/maps'):\n"
        "    low, high = (int(end, 16) for end in line.split()[0].split('-'))\n"
        "    if low <= at < high: print(line.split()[-1])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": np.zeros((2, 3))}, "vector 0 is zero or not finite"),
        ({"vectors": np.array([[1.0, 0], [np.nan, 1]])}, "vector 1 is zero or not finite"),
        ({"vectors": np.ones(3)}, r"expected an array \(vector, dim\)"),
        ({"vectors": np.eye(3), "ids": [1, 2]}, "expected 3 ids"),
        ({"vectors": np.eye(3), "ids": [1.0, 2.0, 3.0]}, "integers or text"),
        ({"vectors": np.eye(3), "dtype": "float64"}, "known are float32"),
    ],
)
def test_what_is_no_library(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpectrumIndex.of(**arguments)


@pytest.mark.parametrize(
    ("query", "num", "message"),
    [(np.eye(4), 1, "4 dimensions, the library 3"), (np.eye(3), 4, "1 to 3"), (np.zeros((1, 3)), 1, "query 0 is zero")],
)
def test_what_is_no_query(query, num, message):
    with pytest.raises(ValueError, match=message):
        SpectrumIndex.of(np.eye(3)).search(query, num)


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "library.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        SpectrumIndex.open(path)
    path.write_bytes(b"no library at all")
    with pytest.raises(ValueError, match=r"library.safetensors: not a library"):
        SpectrumIndex.open(path)
    save_file({"vectors": torch.eye(3)}, path)
    with pytest.raises(ValueError, match="no library of embeddings"):
        SpectrumIndex.open(path)
    tensors = {"vectors": torch.eye(3), "ids": torch.arange(2)}
    for version, message in [(9, "library format 9"), (1, "it is damaged")]:
        header = {"format_version": version, "text": False, "attrs": {}}
        save_file(tensors, path, metadata={"sciffusion_index": json.dumps(header)})
        with pytest.raises(ValueError, match=message):
            SpectrumIndex.open(path)
