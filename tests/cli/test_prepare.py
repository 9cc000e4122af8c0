"""`uir prepare`."""

import json

import numpy as np
import pytest

from uir.cli.prepare import prepare_app
from uir.core.images import write_image


def call(*argv):
    return prepare_app([str(word) for word in argv], standalone_mode=False)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "in" / name, np.zeros((8, 8, 3), np.uint8))
    return tmp_path / "in"


def test_each_command_says_what_it_wrote(folder, tmp_path, capsys):
    call("subimages", folder, "-o", tmp_path / "sub", "--crop_size", 4, "--step", 4)
    assert capsys.readouterr().out == f"8 images in {tmp_path / 'sub'}\n"
    call("lmdb", tmp_path / "sub", "-o", tmp_path / "sub.lmdb", "--keep_png", "--workers", 1)
    assert capsys.readouterr().out == f"8 images in {tmp_path / 'sub.lmdb'}\n"
    call("meta", folder, "-o", tmp_path / "meta.txt", "--json")
    assert json.loads(capsys.readouterr().out) == {"images": 2, "output": str(tmp_path / "meta.txt")}


def test_a_store_is_replaced_when_asked(folder, tmp_path):
    call("lmdb", folder, "-o", tmp_path / "x.lmdb")
    with pytest.raises(ValueError, match="--overwrite"):
        call("lmdb", folder, "-o", tmp_path / "x.lmdb", "--compress_level", 3)
    call("lmdb", folder, "-o", tmp_path / "x.lmdb", "--compress_level", 3, "--overwrite")
    assert (tmp_path / "x.lmdb" / "meta_info.txt").read_text().splitlines() == ["a.png (8,8,3) 3", "b.png (8,8,3) 3"]


def test_nothing_is_said_of_others_where_every_image_is_damaged(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"^the only image cannot be used: .*a\.png") as error:
        call("subimages", tmp_path / "in", "-o", tmp_path / "sub")
    assert "The others" not in str(error.value)
