"""``data fetch`` from a local server that offers phantoms in the official archives."""

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest
from file_server import Served, as_json, serving, write_addresses
from pydicom import dcmread

from benchmark.__main__ import main
from datamodules.phantoms.ct import write_lidc, write_qin
from datamodules.sources import open_source

TERMS = {"terms": "Free for research; cite Jaeger 2014.", "page": "https://example.org/set"}


def zipped(folder: Path, above: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, above + str(path.relative_to(folder.parent)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archives(phantom_root) -> dict[str, bytes]:
    return {
        "/NLM-MontgomeryCXRSet.zip": zipped(phantom_root / "MontgomerySet"),
        "/ChinaSet_AllFiles.zip": zipped(phantom_root / "ChinaSet_AllFiles"),
    }


@pytest.fixture
def served(archives):
    with serving(Served(files=dict(archives))) as served:
        yield served


def offer(served, name="NLM-MontgomeryCXRSet.zip", folder="MontgomerySet", **more) -> dict:
    archive = {"url": f"{served.url}/{name}", "inside": folder, "folder": folder, "at_most_gb": 1}
    return {**TERMS, "archives": [{**archive, **more}]}


@pytest.fixture
def fetch(served, tmp_path, capsys):
    """Run the command; gives the exit code and what was said."""
    offers = {"montgomery": offer(served)}

    def run(*arguments: str, more: dict | None = None, accept: bool = True):
        file = write_addresses(tmp_path / "addresses.yaml", {**offers, **(more or {})})
        words = ["data", "fetch", *arguments, "--data-root", str(tmp_path / "root")]
        words += ["--addresses", str(file), *(["--accept-terms"] if accept else [])]
        code = main(words)
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return run


def test_a_set_is_fetched_unpacked_and_checked_and_a_second_call_does_nothing(
    fetch, served, tmp_path, phantom_root
):
    code, said = fetch("montgomery")
    assert code == 0
    assert "Free for research; cite Jaeger 2014." in said
    assert "not tried yet by the project" in said
    assert "MontgomerySet: fetched" in said
    assert "sound (PHANTOM)" in said
    root = tmp_path / "root"
    kept = sorted(str(path.relative_to(root / ".fetched")) for path in root.glob(".fetched/*"))
    assert [name for name in kept if name != "lock"] == ["NLM-MontgomeryCXRSet.zip.sha256"]
    for path in (phantom_root / "MontgomerySet").rglob("*.png"):
        assert (root / path.relative_to(phantom_root)).read_bytes() == path.read_bytes()
    asked = len(served.asked)
    code, said = fetch("montgomery", accept=False)
    assert (code, len(served.asked)) == (0, asked)
    assert "there already, nothing to fetch" in said


def test_nobody_at_a_terminal_must_accept_by_the_option(fetch, served, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    code, said = fetch("montgomery", accept=False)
    assert code == 2
    assert "add --accept-terms" in said
    assert served.asked == []
    assert not (tmp_path / "root").exists()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of POSIX")
@pytest.mark.parametrize(("typed", "code"), [("yes", 0), ("no", 1), ("", 1)])
def test_a_person_at_a_terminal_is_asked(fetch, served, monkeypatch, typed, code):
    person, terminal = os.openpty()
    with os.fdopen(terminal) as stdin, os.fdopen(person, "wb", buffering=0) as keyboard:
        keyboard.write(f"{typed}\n".encode())
        monkeypatch.setattr(sys, "stdin", stdin)
        found, said = fetch("montgomery", accept=False)
    assert found == code
    assert "Type yes to accept these terms:" in said
    assert ("nothing was fetched" in said) == (code == 1)
    assert bool(served.asked) == (code == 0)


def test_a_download_that_breaks_off_goes_on(fetch, served, archives):
    whole = len(archives["/NLM-MontgomeryCXRSet.zip"])
    served.breaks = [whole - 1]
    assert fetch("montgomery")[0] == 0
    assert len(served.asked) == 2
    assert served.asked[1].startswith("bytes=")


def test_a_wrong_digest_leaves_nothing_of_the_set(fetch, served, tmp_path):
    code, said = fetch("montgomery", more={"montgomery": offer(served, sha256="1" * 64)})
    assert code == 2
    assert "another SHA-256 digest" in said
    assert not (tmp_path / "root/MontgomerySet").exists()


def test_a_page_in_place_of_the_archive_is_no_set_and_pins_nothing(fetch, served, tmp_path):
    served.files["/NLM-MontgomeryCXRSet.zip"] = b"<!DOCTYPE html>moved"
    code, said = fetch("montgomery")
    assert code == 2
    assert "a web page" in said
    assert [path.name for path in (tmp_path / "root/.fetched").iterdir()] in ([], ["lock"])


def test_steps_by_hand_are_told_and_the_check_follows(fetch, served, tmp_path, phantom_root):
    films = offer(served, "ChinaSet_AllFiles.zip", "ChinaSet_AllFiles")
    films["by_hand"] = ["sign in and download the masks", "move them to ChinaSet_AllFiles/mask/"]
    masks = phantom_root / "ChinaSet_AllFiles" / "mask"
    content = io.BytesIO(served.files["/ChinaSet_AllFiles.zip"])
    without = io.BytesIO()
    with zipfile.ZipFile(content) as given, zipfile.ZipFile(without, "w") as taken:
        for name in given.namelist():
            if "_mask" not in name:
                taken.writestr(name, given.read(name))
    served.files["/ChinaSet_AllFiles.zip"] = without.getvalue()
    code, said = fetch("shenzhen", more={"shenzhen": films})
    assert code == 1
    assert "1. sign in and download the masks" in said
    assert "3. lungbench data check --data-root" in said
    assert "images without masks" in said
    target = tmp_path / "root/ChinaSet_AllFiles/mask"
    target.mkdir()
    for path in masks.glob("*_mask.png"):
        (target / path.name).write_bytes(path.read_bytes())
    code, said = fetch("shenzhen", more={"shenzhen": films})
    assert code == 0, said


def test_what_needs_an_account_is_told_step_by_step(fetch, served, tmp_path):
    by_hand = {**TERMS, "by_hand": ["register", "unpack to All247images/"]}
    code, said = fetch("jsrt", more={"jsrt": by_hand}, accept=False)
    assert code == 1
    assert "2. unpack to All247images/" in said
    assert served.asked == []


def test_an_unknown_set_and_a_wrong_file_of_addresses_are_told(fetch, served, tmp_path):
    code, said = fetch("montgomry")
    assert code == 2
    assert "did you mean 'montgomery'?" in said
    wrong = {"montgomery": offer(served, folder="../elsewhere")}
    code, said = fetch("montgomery", more=wrong)
    assert code == 2
    assert "montgomery: archives[0].inside: found '../elsewhere'; expected a folder's name" in said


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    write_qin(root, 2, size=64, slices=8)
    write_lidc(root, 1, size=64, slices=8)
    return root


def serve_collection(served: Served, home: Path) -> dict:
    """Offer each CT series below a folder as NBIA's service does; gives the collection."""
    rows = []
    for folder in sorted({path.parent for path in home.rglob("*.dcm")}):
        files = sorted(folder.glob("*.dcm"))
        header = dcmread(files[0], stop_before_pixels=True)
        if header.Modality != "CT":
            continue
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("LICENSE", "CC BY 3.0")
            for path in files:
                archive.write(path, path.name)
        served.files[f"/v1/getImage?{header.SeriesInstanceUID}"] = buffer.getvalue()
        names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        row = {name: str(getattr(header, name)) for name in names}
        rows.append({**row, "ImageCount": len(files), "FileSize": len(buffer.getvalue())})
    served.files["/v1/getSeries"] = as_json(rows)
    service = {"service": f"{served.url}/v1", "name": home.name, "modality": "CT"}
    return {**service, "folder": home.name}


def test_a_collection_comes_series_by_series_and_goes_on_where_it_stopped(
    fetch, served, tmp_path, scans
):
    more = {"qin_lung_ct": {**TERMS, "collection": serve_collection(served, scans / "QIN LUNG CT")}}
    images = [name for name in served.files if "getImage" in name]
    kept = served.files.pop(images[-1])
    code, said = fetch("qin_lung_ct", more=more)
    assert code == 2
    assert "404 (Not Found)" in said
    served.files[images[-1]] = kept
    code, said = fetch("qin_lung_ct", more=more)
    assert "1 series of QIN LUNG CT: fetched" in said
    assert "1 series of QIN LUNG CT: there already" in said
    found = open_source("qin_lung_ct", tmp_path / "root").survey_scans()[0]
    wanted = open_source("qin_lung_ct", scans).survey_scans()[0]
    assert sorted(scan.case_id for scan in found) == sorted(scan.case_id for scan in wanted)
    assert list((tmp_path / "root/.fetched").glob("*.zip*")) == []
    asked = len(served.asked)
    code, said = fetch("qin_lung_ct", more=more)
    assert code == 0
    assert len(served.asked) == asked + 1  # the list alone
    assert "2 series of QIN LUNG CT: there already, left as it is" in said


def test_a_series_with_fewer_images_than_stated_is_not_taken(fetch, served, tmp_path, scans):
    collection = serve_collection(served, scans / "QIN LUNG CT")
    name = next(name for name in served.files if "getImage" in name)
    with zipfile.ZipFile(io.BytesIO(served.files[name])) as given:
        members = {member: given.read(member) for member in given.namelist()[:-1]}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    served.files[name] = buffer.getvalue()
    code, said = fetch("qin_lung_ct", more={"qin_lung_ct": {**TERMS, "collection": collection}})
    assert code == 2
    assert "7 images; expected the 8 that getSeries states" in said
    assert list((tmp_path / "root/QIN LUNG CT").rglob("*.dcm")) == []


@pytest.mark.parametrize(
    "row",
    [
        {"PatientID": "../../evil", "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5"},
        {"PatientID": "P-1", "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "/etc/x"},
        "no row",
    ],
)
def test_names_from_a_service_that_would_lead_elsewhere_are_refused(fetch, served, tmp_path, row):
    served.files["/v1/getSeries"] = as_json([row])
    collection = {"service": f"{served.url}/v1", "name": "Q", "modality": "CT", "folder": "Q"}
    code, said = fetch("qin_lung_ct", more={"qin_lung_ct": {**TERMS, "collection": collection}})
    assert code == 2
    assert "plain identifiers" in said
    assert not (tmp_path / "root/Q").exists()


def test_lidc_comes_with_its_masks_and_readings_apart(fetch, served, tmp_path, scans):
    collection = serve_collection(served, scans / "LIDC-IDRI")
    readings = io.BytesIO()
    with zipfile.ZipFile(readings, "w") as archive:
        for path in (scans / "LIDC-IDRI").rglob("*.xml"):
            archive.write(path, f"tcia-lidc-xml/157/{path.name}")
    masks = scans / "LUNA16/seg-lungs-LUNA16"
    served.files |= {"/seg-lungs-LUNA16.zip": zipped(masks), "/xml.zip": readings.getvalue()}
    offers = offer(served, "seg-lungs-LUNA16.zip", "seg-lungs-LUNA16")
    offers["archives"][0]["folder"] = "LUNA16/seg-lungs-LUNA16"
    second = offer(served, "xml.zip", "tcia-lidc-xml")["archives"][0]
    offers["archives"].append({**second, "folder": "LIDC-IDRI/tcia-lidc-xml"})
    _, said = fetch("lidc_idri", more={"lidc_idri": {**offers, "collection": collection}})
    assert "1 series of LIDC-IDRI: fetched" in said
    (scan,), faults = open_source("lidc_idri", tmp_path / "root").survey_scans()
    assert not faults
    assert scan.masks
    assert open_source("lidc_idri", tmp_path / "root")._separate_readings


def test_real_scans_are_not_put_among_phantoms(fetch, served, tmp_path, scans):
    collection = serve_collection(served, scans / "QIN LUNG CT")
    write_qin(tmp_path / "root", 1, size=64, slices=8)
    code, said = fetch("qin_lung_ct", more={"qin_lung_ct": {**TERMS, "collection": collection}})
    assert code == 2
    assert "found phantoms" in said
