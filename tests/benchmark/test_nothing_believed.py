"""Files that say who works on a cell and how far it is are believed as far as they can be true."""

import json
import os
import platform
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.cell import ownership, signature
from benchmark.cell.cell import Cell
from benchmark.cell.ownership import (
    BusyError,
    Owner,
    bury,
    clear_leftovers,
    describe_owner,
    is_owned,
    owner_job,
)
from benchmark.launchers.display import Board
from benchmark.launchers.forecast import Gauge
from benchmark.progress import CellProgress, ProgressFile, duration, read_progress

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
GARBAGE = st.one_of(
    st.binary(max_size=100),
    ANY_JSON.map(lambda said: json.dumps(said).encode()),
    st.sampled_from([b"", b"[" * 60_000, b'{"a":' * 60_000, b"1" * 5_000, b" " * (2 << 20)]),
)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def content_with(fields):
    """Objects in which some of the right fields hold anything."""
    anything = st.dictionaries(st.sampled_from(sorted(fields)), ANY_JSON | st.just("../../../x"))
    return anything.map(lambda wrong: json.dumps({**fields, **wrong}).encode())


def sign(folder, content=None, **said):
    """Lay a foreign owner into a cell's folder."""
    owner = {"host": "elsewhere", "pid": 1, "born": "1", "job": None, "starts": 0, "token": "t"}
    (folder / "owner").mkdir(parents=True, exist_ok=True)
    signed = folder / "owner" / "owner.json"
    signed.write_bytes(json.dumps(owner | said).encode() if content is None else content)
    return signed


@pytest.fixture
def briefly(monkeypatch):
    """Listen for a moment instead of half a minute."""
    monkeypatch.setattr(ownership, "WATCH_S", 0.4)


@pytest.mark.parametrize("ahead_s", [-7200, -95, -80, 0, 80, 95, 7200])
def test_a_judge_whose_clock_is_wrong_judges_by_the_file_servers(tmp_path, monkeypatch, ahead_s):
    signed = sign(tmp_path)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead_s)
    assert is_owned(tmp_path)
    with pytest.raises(BusyError), Owner(tmp_path):
        pass
    past = right() - ownership.DEAD_AFTER_S - 1
    os.utime(signed, (past, past))
    assert not is_owned(tmp_path)


@pytest.mark.parametrize("ahead_s", [-80, 0, 80])
def test_a_folder_made_a_moment_ago_is_somebodys_by_any_clock(tmp_path, monkeypatch, ahead_s):
    (tmp_path / "owner").mkdir()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead_s)
    assert is_owned(tmp_path)


@pytest.mark.parametrize("off_s", [-86400, -100, 100, 86400])
def test_a_heartbeat_of_a_wrong_clock_that_moves_keeps_its_cell(tmp_path, briefly, off_s):
    signed = sign(tmp_path)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.1):
            os.utime(signed, (time.time() + off_s,) * 2)

    os.utime(signed, (time.time() + off_s,) * 2)
    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(BusyError, match="process 1 on elsewhere"), Owner(tmp_path):
            pass
    finally:
        stop.set()
        beating.join()


@pytest.mark.parametrize("off_s", [-86400, -100, 100, 86400, 30 * 365 * 86400])
def test_a_heartbeat_of_a_wrong_clock_that_stands_still_loses_its_cell(tmp_path, briefly, off_s):
    signed = sign(tmp_path)
    os.utime(signed, (time.time() + off_s,) * 2)
    assert not is_owned(tmp_path)
    with Owner(tmp_path) as owner:
        assert owner.holds()
    assert not list(tmp_path.iterdir())


def test_a_look_leaves_nothing_behind_and_works_in_a_folder_that_others_keep(tmp_path):
    sign(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert is_owned(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert ownership._server_time(tmp_path / "absent") == pytest.approx(time.time(), abs=5)


FIELDS = {"host": platform.node(), "pid": 1, "born": "1", "job": "7", "starts": 0, "token": "t"}


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(content=st.one_of(GARBAGE, content_with(FIELDS)))
def test_an_owner_file_of_any_content_is_a_signature_or_none(tmp_path, content):
    cell = tmp_path / "runs" / "cell"
    signed = sign(cell, content)
    who = signature.signature_of(cell)
    assert describe_owner(cell).isprintable() and owner_job(cell) in (None, who and who.job)
    if who is None:
        assert describe_owner(cell) == "another process" and is_owned(cell)  # signed a moment ago
        os.utime(signed, (1, 1))
        assert not is_owned(cell)
    bury(cell, "7")
    dead = ownership._dead(cell)
    if dead is not None:
        ownership._bury(cell, dead)
        assert not (cell / "owner").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"cell"}
    clear_leftovers(cell)
    for grave in cell.iterdir():
        for path in grave.iterdir():
            path.unlink()
        grave.rmdir()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"7", b'"owner"', b"{}", b"{", b"\xff\xfe\x00", b"[" * 60_000,
        b'{"host": "h", "pid": "abc", "born": "1", "job": null}',
        b'{"host": "h", "pid": true, "born": "1", "job": null}',
        b'{"host": "h", "pid": 1, "born": "1", "job": null, "starts": "many"}',
        b'{"host": "h", "pid": 1, "born": 1, "job": null}',
        b'{"host": "h\\u001b[31m", "pid": 1, "born": "1", "job": null}',
        b'{"host": "h", "pid": 1, "born": "1", "job": null, "token": "../../../gone"}',
        b'{"host": "h", "pid": 1' + b"0" * 5_000 + b', "born": "1", "job": null}',
        b'{"host": "' + b"h" * (1 << 17) + b'", "pid": 1, "born": "1", "job": null}',
    ],
    ids=lambda content: repr(content[:50]),
)  # fmt: skip
def test_who_cannot_be_read_counts_as_unsigned(tmp_path, briefly, content):
    signed = sign(tmp_path, content)
    assert signature.signature_of(tmp_path) is None
    with pytest.raises(BusyError, match="another process works on"), Owner(tmp_path):
        pass
    os.utime(signed, (1, 1))
    with Owner(tmp_path) as owner:
        assert owner.holds()
    assert not list(tmp_path.iterdir())


def test_an_owner_whose_file_was_damaged_goes_on_beating(tmp_path, monkeypatch, briefly):
    monkeypatch.setattr(ownership, "BEAT_S", 0.1)
    with Owner(tmp_path):
        signed = tmp_path / "owner" / "owner.json"
        signed.write_bytes(b"[]")
        os.utime(signed, (1, 1))
        with pytest.raises(BusyError), Owner(tmp_path):
            pass


def test_nobody_beats_for_another_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "BEAT_S", 0.1)
    with Owner(tmp_path):
        signed = sign(tmp_path)
        os.utime(signed, (1, 1))
        time.sleep(0.5)
        assert signed.stat().st_mtime == 1


PROGRESS = {"done": 3, "total": 10, "what": "training"}


@pytest.fixture
def cell(tmp_path):
    config = {"trainer": {"max_epochs": 4}, "data": {"init_args": {"preprocessing": {"size": 8}}}}
    return Cell("s", "u", "m_to_s", 0, tmp_path, "m", "s", placed=lambda: config, counts=(3, 1, 2))


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(contents=st.lists(st.one_of(GARBAGE, content_with(PROGRESS)), min_size=1, max_size=4))
def test_progress_of_any_content_is_told_or_left_out(cell, contents):
    path = cell.folder / "progress.json"
    path.unlink(missing_ok=True)
    board = Board([cell], 1, ())
    board.begin(cell)
    gauge, said = Gauge(cell), None
    for content in contents:
        path.write_bytes(content)
        gauge.read()
        gauge.left_s, gauge.pace, duration(gauge.left_s or 0.0), board.line()
        said = read_progress(path) or said
    if said is not None:
        assert (gauge.done, gauge.total, gauge.what) == (said.done, said.total, said.what)
    else:
        assert (gauge.done, gauge.total, gauge.what) == (0, 0, "starting")


@pytest.mark.parametrize(
    "wrong",
    [
        {"done": None}, {"done": "3"}, {"done": float("nan")}, {"total": float("inf")},
        {"done": True}, {"done": 10**400}, {"done": -1}, {"total": [1]}, {"what": None},
        {"what": "[/red]"}, {"what": "a\nb"}, {"what": "a" * 500}, {"done": 5e-324},
    ],
    ids=str,
)  # fmt: skip
def test_progress_that_cannot_be_is_not_told(tmp_path, wrong):
    path = tmp_path / "progress.json"
    ProgressFile(path).write(3, 10, "training", now=True)
    assert read_progress(path) == CellProgress(3.0, 10.0, "training")
    path.write_text(json.dumps({**PROGRESS, **wrong}))
    assert read_progress(path) is None


def test_a_time_left_without_end_is_told_all_the_same():
    assert duration(1e300).endswith("days, 1:46:40")
    assert duration(3661.2) == "1:01:01"
