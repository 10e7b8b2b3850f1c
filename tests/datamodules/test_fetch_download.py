"""Downloads that break off go on, and what comes is checked."""

import hashlib
import os
import socket
import stat
import zipfile
from pathlib import Path

import pytest
from file_server import Served, serving

from contract.errors import UserError
from datamodules.digests import no_progress
from datamodules.fetch.addresses import read_addresses
from datamodules.fetch.download import TRIES, ResumingDownloader, download
from datamodules.fetch.unpacking import require_room, unpack

CONTENT = os.urandom(3 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = {"wait_s": 0.01, "timeout_s": (2.0, 0.4)}


@pytest.fixture
def served():
    with serving(Served(files={"/set.zip": CONTENT})) as served:
        yield served


def fetched(served, home: Path, known=None, progress=no_progress) -> str:
    downloader = ResumingDownloader(home / "set.zip.part", progress, **QUICK)
    to = home / "set.zip"
    return download(f"{served.url}/set.zip", to, known, downloader, home / "set.zip.sha256")


def test_a_file_arrives_whole_and_its_digest_is_kept(served, tmp_path):
    assert fetched(served, tmp_path) == DIGEST
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert (tmp_path / "set.zip.sha256").read_text() == DIGEST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.zip", "set.zip.sha256"]


def test_a_download_goes_on_where_it_broke_off(served, tmp_path):
    served.breaks = [1 << 20, 1 << 19]
    assert fetched(served, tmp_path) == DIGEST
    assert served.asked == [None, f"bytes={1 << 20}-", f"bytes={3 << 19}-"]


def test_what_came_before_a_download_gave_up_is_kept_for_the_next_call(served, tmp_path):
    served.breaks = [100_000] * TRIES  # of which whole pieces of 64 KiB are written
    with pytest.raises(UserError, match=r"broke off, 5 times; 327,680 bytes came") as caught:
        fetched(served, tmp_path)
    assert "it goes on from there" in caught.value.todo
    assert fetched(served, tmp_path, DIGEST) == DIGEST
    assert served.asked[-1] == "bytes=327680-"


def test_a_file_of_unknown_length_and_version_begins_anew_when_it_breaks_off(served, tmp_path):
    served.chunked, served.breaks = True, [1 << 20]
    assert fetched(served, tmp_path) == DIGEST
    assert served.asked == [None, None]


def test_a_part_that_is_the_whole_file_is_taken(served, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    (tmp_path / "set.zip.version").write_text(served.version)
    assert fetched(served, tmp_path, DIGEST) == DIGEST


@pytest.mark.parametrize("changed", [{"version": '"two"'}, {"ranges": False}])
def test_a_file_that_changed_or_comes_in_one_piece_alone_begins_anew(served, tmp_path, changed):
    (tmp_path / "set.zip.part").write_bytes(b"old" * 1000)
    (tmp_path / "set.zip.version").write_text('"one"')
    for name, value in changed.items():
        setattr(served, name, value)
    assert fetched(served, tmp_path, DIGEST) == DIGEST


def test_a_part_longer_than_the_file_begins_anew(served, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    (tmp_path / "set.zip.version").write_text(served.version)
    assert fetched(served, tmp_path, DIGEST) == DIGEST


def test_another_digest_than_the_stated_one_is_refused_and_nothing_stays(served, tmp_path):
    with pytest.raises(UserError, match=r"another SHA-256 digest.*the file of addresses states"):
        fetched(served, tmp_path, "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_another_digest_than_that_of_the_last_time_is_refused_and_told_how_to_accept(
    served, tmp_path
):
    fetched(served, tmp_path)
    (tmp_path / "set.zip").unlink()
    served.files["/set.zip"] = b"another release"
    with pytest.raises(UserError, match=r"set\.zip\.sha256 states.*remove .*set\.zip\.sha256"):
        fetched(served, tmp_path)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, r"404 \(Not Found\).*address has changed"),
        (500, r"500 \(Internal Server Error\).*try again later"),
        (403, r"403 \(Forbidden\).*account"),
    ],
)
def test_a_server_that_refuses_is_told_in_words(served, tmp_path, status, words):
    served.status = status
    with pytest.raises(UserError, match=words):
        fetched(served, tmp_path)
    assert len(served.asked) == 1


def test_a_server_that_falls_silent_is_left_and_what_came_is_kept(tmp_path):
    with serving(Served(files={"/set.zip": CONTENT}, silent_s=2)) as served:
        downloader = ResumingDownloader(
            tmp_path / "set.zip.part", no_progress, wait_s=0.01, timeout_s=(2.0, 0.1)
        )
        with pytest.raises(UserError, match="a server that fell silent, 5 times"):
            downloader(f"{served.url}/set.zip", str(tmp_path / "set.zip"), None)
    assert (tmp_path / "set.zip.part").stat().st_size > 0


def test_no_server_is_told_in_words(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match="no connection to the server, 5 times; 0 bytes came"):
        fetched(Served(url=url), tmp_path)


def test_a_disk_without_room_is_told_before_downloading(served, tmp_path):
    served.claims = 10**17
    with pytest.raises(UserError, match=r"GB free; expected 100000000.20 GB to download set.zip"):
        fetched(served, tmp_path)
    assert not (tmp_path / "set.zip.part").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_disk_that_fills_meanwhile_is_told(served, tmp_path):
    (tmp_path / "set.zip.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        fetched(served, tmp_path)


def test_progress_counts_what_is_left(served, tmp_path):
    seen = []

    def watch(items, total, title):
        seen.append((total, title))
        return items

    served.breaks = [2 << 20]
    fetched(served, tmp_path, progress=watch)
    assert seen == [(3, "set.zip, MiB"), (1, "set.zip, MiB after the first 2")]


def zipped(path: Path, files: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.filename = name
            member.external_attr = attributes.get("mode", 0o100644) << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def test_the_folder_that_is_wanted_is_unpacked_from_any_depth(tmp_path):
    files = {"top/Set/a/1.png": b"1", "top/Set/2.png": b"2", "top/else.txt": b"",
             "__MACOSX/top/Set/._2.png": b""}  # fmt: skip
    archive = zipped(tmp_path / "x.zip", files)
    assert unpack(archive, "Set", tmp_path / "Set", 100, no_progress) == 2
    assert (tmp_path / "Set/a/1.png").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Set", "x.zip"]


@pytest.mark.parametrize(
    "name", ["../evil", "Set/../../evil", "/evil", "Set\\..\\evil", "\\evil", "C:/evil"]
)
def test_a_path_that_leads_outside_is_refused_before_anything_is_written(tmp_path, name):
    archive = zipped(tmp_path / "x.zip", {"Set/good": b"1", name: b"2"})
    with pytest.raises(UserError, match="would be written outside its folder"):
        unpack(archive, "Set", tmp_path / "in" / "Set", 100, no_progress)
    assert not (tmp_path / "in").exists()


def test_an_archive_with_the_separators_of_windows_is_unpacked(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Set\\a\\": b"", "Set\\a\\1.png": b"1"})
    assert unpack(archive, "Set", tmp_path / "Set", 100, no_progress) == 1
    assert (tmp_path / "Set/a/1.png").read_bytes() == b"1"


def test_a_link_is_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Set/link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(UserError, match="a link or a device"):
        unpack(archive, "Set", tmp_path / "Set", 100, no_progress)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Set/zeros": bytes(1 << 20)})
    with pytest.raises(UserError, match=r"1 files of 1,048,576 bytes in .*at most .* 1,000 bytes"):
        unpack(archive, "Set", tmp_path / "Set", 1000, no_progress)


def test_an_archive_that_says_less_than_it_holds_is_refused(tmp_path):
    content = bytearray(zipped(tmp_path / "x.zip", {"Set/zeros": bytes(1 << 20)}).read_bytes())
    stated, lie = (1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert content.count(stated) == 2
    (tmp_path / "x.zip").write_bytes(content.replace(stated, lie))
    with pytest.raises(UserError, match="damaged ZIP file"):
        unpack(tmp_path / "x.zip", "Set", tmp_path / "Set", 1000, no_progress)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_files_that_one_disk_takes_for_the_same_are_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Set/a.png": b"1", "Set/A.png": b"2"})
    with pytest.raises(UserError, match="twice"):
        unpack(archive, "Set", tmp_path / "Set", 100, no_progress)


def test_what_is_interrupted_leaves_no_half_set(tmp_path):
    archive = zipped(tmp_path / "x.zip", {f"Set/{n}": b"x" for n in range(5)})

    def interrupt(items, total, title):
        yield from items[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, "Set", tmp_path / "Set", 100, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
    (tmp_path / ".Set.unpacking").mkdir()  # as a killed process leaves it
    (tmp_path / ".Set.unpacking" / "0").write_bytes(b"half")
    assert unpack(archive, "Set", tmp_path / "Set", 100, no_progress) == 5


def test_a_disk_without_room_is_told_before_unpacking(tmp_path):
    with pytest.raises(UserError, match=r"GB free; expected 1000000000.20 GB to unpack"):
        require_room(tmp_path, 1e18, "to unpack x.zip")


def test_a_damaged_archive_is_told(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Set/a": os.urandom(5000)})
    content = bytearray(archive.read_bytes())
    content[2000] ^= 255
    archive.write_bytes(content)
    with pytest.raises(UserError, match="a damaged ZIP file"):
        unpack(archive, "Set", tmp_path / "Set", 1e6, no_progress)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<!DOCTYPE html><p>Sign in", "a web page"), (b"\x1f\x8b tar", "6 bytes of another kind")],
)
def test_what_is_no_archive_is_told(tmp_path, content, words):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=f"no ZIP file: .*{words}"):
        unpack(tmp_path / "x.zip", "Set", tmp_path / "Set", 1e6, no_progress)


def test_an_archive_without_the_folder_is_told(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"Other/a": b"1"})
    with pytest.raises(UserError, match="no folder 'Set' of files"):
        unpack(archive, "Set", tmp_path / "Set", 1e6, no_progress)


def test_every_official_set_has_an_offer_whose_addresses_are_encrypted():
    names = ["montgomery", "shenzhen", "jsrt", "lidc_idri", "qin_lung_ct"]
    offers = read_addresses(names)
    assert list(offers) == names
    assert all(url.startswith("https:") for offer in offers.values() for url in offer.untried)
    assert [name for name, offer in offers.items() if offer.by_hand] == ["shenzhen", "jsrt"]
