"""What lies in the cache is not believed for being there: each damage is said and mended."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules import cache_parts
from datamodules.cache import prepare
from datamodules.cache_parts import CHECKSUMS, ENTRIES, IMAGES, MASKS, PARTS, REFERENCES
from datamodules.checks.audit import audit
from datamodules.digests import Digests
from datamodules.preprocessing import Preprocessing
from datamodules.remembered import recall, remember
from datamodules.sources import open_source

SMALL = Preprocessing(size=16)


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def zeros_within(path):
    content = bytearray(path.read_bytes())
    content[-200:] = bytes(200)
    path.write_bytes(content)


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[-40] ^= 4
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path):
    path.write_bytes(b"")


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def folder(path):
    path.unlink()
    path.mkdir()


def foreign_shape(path):
    array = np.load(path)
    with path.open("wb") as file:
        np.save(file, array.reshape(-1, array.shape[1] * 2, array.shape[2] // 2))


def foreign_kind(path):
    array = np.load(path)
    with path.open("wb") as file:
        np.save(file, array.view(np.int8))


def text(content):
    def write(path):
        path.write_bytes(content)

    write.__name__ = f"text {content[:20]!r}"
    return write


GARBAGE = (
    b"[]", b"7", b'"entries"', b"null", b"{}", b"NaN", b"[" * 60_000, b"\xff\xfe", b'{"ids": 3}',
    b"1" * 5_000, b"{",
)  # fmt: skip
ON_PARTS = (zeros, zeros_within, one_bit, truncated, empty, longer, Path.unlink, folder)
WRONG_TYPES = [
    json.dumps(dict.fromkeys(PARTS, of_each)).encode()
    for of_each in ({"bytes": "1", "head": 0}, {"bytes": 1, "head": [], "whole": None}, [1, 2, 3])
]
DAMAGES = [
    *((part, damage) for part in PARTS for damage in ON_PARTS),
    *((part, damage) for part in (IMAGES, MASKS) for damage in (foreign_shape, foreign_kind)),
    *((ENTRIES, text(content)) for content in GARBAGE),
    *((CHECKSUMS, text(content)) for content in GARBAGE),
    *((CHECKSUMS, damage) for damage in (truncated, empty, Path.unlink, folder)),
    *((CHECKSUMS, text(content)) for content in WRONG_TYPES),
]
CHEAP = {zeros, truncated, empty, longer, Path.unlink, folder, foreign_shape, foreign_kind}
"""What is found without reading everything."""


@pytest.fixture(scope="module")
def source(phantom_root):
    return open_source("montgomery", phantom_root)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def other_process(monkeypatch):
    """Forget what this process has read whole, as a cell of its own would."""
    monkeypatch.setattr(cache_parts, "_verified", {})


def opened(source, cache, whole=True):
    """Return everything that a cache says."""
    prepared = prepare(source, source.cases(), SMALL, cache, whole=whole)
    references = [prepared.reference(i) for i in range(len(prepared.entries))]
    return [
        np.array(prepared.images), np.array(prepared.masks), prepared.entries, prepared.places,
        references,
    ]  # fmt: skip


def place(cache):
    (found,) = (path for path in cache.glob("montgomery-*") if path.is_dir())
    return found


@pytest.mark.parametrize(
    ("part", "damage"), DAMAGES, ids=lambda of: getattr(of, "__name__", str(of))
)
def test_a_damaged_cache_is_said_in_one_line_and_built_anew(source, cache, caplog, part, damage):
    before = opened(source, cache)
    damage(place(cache) / part)
    cache_parts._verified.clear()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_equal(opened(source, cache, whole=damage not in CHEAP), before)
    (said,) = caplog.messages
    assert str(place(cache)) in said and (part in said or part == CHECKSUMS)
    assert "built anew" in said and "\n" not in said
    caplog.clear()
    np.testing.assert_equal(opened(source, cache), before)
    assert not caplog.messages


FINDERS = """
import sys
from pathlib import Path
from datamodules.cache import prepare
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
source = open_source("montgomery", Path(sys.argv[1]))
sys.stdin.readline()
prepared = prepare(source, source.cases(), Preprocessing(size=16), Path(sys.argv[2]))
print(int(prepared.images.sum()), int(prepared.masks.sum()), prepared.reference(3)["lungs"].sum())
"""


def test_several_that_find_the_damage_at_once_mend_it_while_others_have_it_mapped(
    source, phantom_root, tmp_path
):
    whole = prepare(source, source.cases(), SMALL, tmp_path)
    sums = f"{whole.images.sum()} {whole.masks.sum()} {whole.reference(3)['lungs'].sum()}"
    zeros(place(tmp_path) / MASKS)  # in place, so that whoever has it mapped sees zeros
    command = [sys.executable, "-c", FINDERS, str(phantom_root), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    finders = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for finder in finders:
        finder.stdin.write("now\n")
        finder.stdin.flush()
    told = [finder.communicate() for finder in finders]
    assert [out.strip() for out, _ in told] == [sums] * 3, told
    assert "is damaged (masks.npy" in "".join(error for _, error in told)
    assert not whole.masks.any() and whole.images.any()  # the old files are still there
    assert str(whole.reference(3)["lungs"].sum()) == sums.split()[2]
    assert cache_parts.find_damage(place(tmp_path)) == ""


def test_a_sound_cache_is_never_replaced_by_another_builder(source, tmp_path):
    opened(source, tmp_path)
    first = place(tmp_path).stat().st_ino
    new = tmp_path / ".new"
    new.mkdir()
    for path in place(tmp_path).iterdir():
        (new / path.name).write_bytes(path.read_bytes())
    cache_parts.put_in_place(new, place(tmp_path))
    assert place(tmp_path).stat().st_ino == first and new.is_dir()


def test_everything_is_on_the_disk_before_the_folder_gets_its_name(source, tmp_path, monkeypatch):
    flushed, named = [], []
    fsync, rename = cache_parts.os.fsync, Path.rename

    def flush(descriptor):
        flushed.append(cache_parts.os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def name(path, target):
        parts = [path / part for part in (*PARTS, CHECKSUMS)]
        named.append({p.stat().st_ino for p in (path, *parts)} - set(flushed))
        return rename(path, target)

    monkeypatch.setattr(cache_parts.os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", name)
    opened(source, tmp_path)
    assert named == [set()]
    assert flushed[-1] == tmp_path.stat().st_ino  # the name itself, last


def test_a_cache_is_read_whole_once_a_process_and_again_after_it_changed(
    source, tmp_path, monkeypatch
):
    read = []
    measured = cache_parts._measured
    monkeypatch.setattr(
        cache_parts, "_measured", lambda path, *rest: read.append(path.name) or measured(path)
    )
    opened(source, tmp_path)  # sealed
    read.clear()
    opened(source, tmp_path)
    assert sorted(read) == sorted(PARTS)
    read.clear()
    opened(source, tmp_path)
    opened(source, tmp_path, whole=False)
    assert read == [ENTRIES] * 2
    one_bit(place(tmp_path) / REFERENCES)
    opened(source, tmp_path)
    assert REFERENCES in read


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
CONTENTS = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda said: json.dumps(said).encode()),
    JSON.map(lambda said: json.dumps({"checksum": "0" * 32, "content": said}).encode()),
    st.sampled_from(GARBAGE),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENTS)
def test_a_memory_of_any_content_is_none(tmp_path, content):
    path = tmp_path / "digests.json"
    path.write_bytes(content)
    assert recall(path) is None
    film = tmp_path / "film"
    film.write_bytes(b"film")
    digests = Digests(path)
    found = digests.of_file(film)
    digests.save()
    assert found == Digests(tmp_path / "absent").of_file(film)
    assert recall(path) == digests._known and list(digests._known) == [str(film)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_memory_with_any_byte_changed_is_none(tmp_path, data):
    path = tmp_path / "memory.json"
    remember(path, {"films": [1, 2.5, "digest"], "other": None})
    assert json.loads(path.read_bytes())["content"] == recall(path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))
    content[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    path.write_bytes(content)
    assert recall(path) is None


def test_wrong_digests_in_the_index_change_no_identity_and_no_cache(source, tmp_path):
    opened(source, tmp_path)
    before = place(tmp_path)
    index = tmp_path / "digests.json"
    known = json.loads(index.read_text())
    for entry in known["content"].values():
        entry[2] = "0" * 32
    index.write_text(json.dumps(known))
    opened(source, tmp_path)
    assert place(tmp_path) == before and recall(index) != known["content"]


def test_an_audit_of_any_content_is_done_again(source, tmp_path):
    before = audit([source], tmp_path)
    (stored,) = tmp_path.glob("audit-*.json")
    for content in GARBAGE:
        stored.write_bytes(content)
        assert audit([source], tmp_path) == before
    assert recall(stored) is not None
