"""Files are replaced as a whole, by text, bytes or whoever writes to an open file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from contract.errors import UserError
from contract.files import folder_to_write, hash_of_text, replacing, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as file:
        file.write(b"half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize("content", ["Größe", "Größe".encode()])
def test_text_and_bytes_take_the_place_of_the_old_file(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "made" / "page.md"
    for text in ("old", content):
        write_atomically(path, text)
    assert path.read_text("utf-8") == "Größe"
    assert [p.name for p in path.parent.iterdir()] == ["page.md"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_library_may_write_to_the_open_file(tmp_path: Path, durable: bool) -> None:
    table = pa.table({"dice": [0.5, None]})
    path = tmp_path / "rows.parquet"
    with replacing(path, durable=durable) as file:
        pq.write_table(table, file)
        assert not path.exists()
    assert pq.read_table(path).equals(table)


def test_no_hash_is_a_number_where_yaml_is_read() -> None:
    """Of 3,000 hashes, some five would be: `12e4567890123456`, or sixteen digits."""
    hashes = [hash_of_text(str(number)) for number in range(3000)]
    assert len(set(hashes)) == 3000
    for text in hashes:
        assert isinstance(yaml.safe_load(text), str)
        with pytest.raises(ValueError, match="could not convert"):
            float(text)


def test_a_folder_to_write_is_looked_at_and_not_made(tmp_path: Path) -> None:
    for name in ("", "new", "new/below"):
        assert folder_to_write("--out", str(tmp_path / name)) == tmp_path / name
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("nowhere", "nowhere/below", "long" * 99):
        with pytest.raises(UserError, match=r"--out .*: found a .*; expected a folder"):
            folder_to_write("--out", tmp_path / name)
