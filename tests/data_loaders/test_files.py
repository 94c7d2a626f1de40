import hashlib
import os

import pytest

from data_loaders.files import content_hash, replacing


def test_the_file_appears_whole_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.h5"
    with replacing(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".h5"
        temporary.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert os.listdir(target.parent) == ["a.h5"]


def test_an_error_leaves_the_old_file_and_no_trace(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted():
        with replacing(target, overwrite=True) as temporary:
            temporary.write_text("new")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_existing_file_is_refused_before_work_starts(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(FileExistsError, match=r"a\.txt exists.*--overwrite"), replacing(target):
        pytest.fail("the block must not run")
    with replacing(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "a.txt"

    def race():
        with replacing(target) as temporary:
            temporary.write_text("mine")
            target.write_text("theirs")

    with pytest.raises(FileExistsError, match="--overwrite"):
        race()
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path, overwrite=True):
        pytest.fail("the block must not run")


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass


def test_content_hash_is_sha256_across_blocks(tmp_path):
    content = bytes(range(256)) * 8200
    (tmp_path / "a").write_bytes(content)
    assert content_hash(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_file_is_as_readable_as_any_new_one(tmp_path):
    """Some writers (safetensors) give their owner alone the right to read."""
    with replacing(tmp_path / "a") as temporary:
        temporary.touch(mode=0o600)
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
