"""Writing files: names that a crash leaves are known again."""

from __future__ import annotations

from pathlib import Path

import pytest

from uir.core.files import is_unfinished, remove_unfinished, replacing


@pytest.mark.parametrize("name", ["net_g_3.pth", "run.json", "no_suffix", "名.state", "x" * 250 + ".pth"])
def test_the_name_that_is_written_to_is_known_as_unfinished(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_bytes(b"half")
        assert is_unfinished(temporary)
        assert not is_unfinished(tmp_path / name)
        (tmp_path / "kept").write_bytes(temporary.read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["kept", name])


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "x.pth") as temporary:
        temporary.write_bytes(b"half")
        left = tmp_path / "below" / temporary.name
        left.parent.mkdir()
        left.write_bytes(b"half")
    remove_unfinished(tmp_path)
    assert not left.exists()
    assert (tmp_path / "x.pth").exists()


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")

    def write() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
