"""The local page in a real browser, and what its server refuses."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browser import start_chromium
from films import write_dicom
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from benchmark.prediction.networks import choose_cells, load_networks
from benchmark.prediction.segmentation import segment
from benchmark.prediction.serve import create_app, serve
from contract.errors import UserError
from datamodules.sources.films import read_film

SYSTEM = "tiny/unet/m_to_s"
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def film(phantom_root, tmp_path_factory) -> Path:
    """A DICOM film."""
    source = sorted((phantom_root / "ChinaSet_AllFiles" / "CXR_png").glob("*.png"))[0]
    path = tmp_path_factory.mktemp("film") / "ward film.dcm"
    write_dicom(path, read_film(source).pixels)
    return path


@pytest.fixture(scope="module")
def address(trained_runs) -> str:
    """The page as ``lungbench serve`` serves it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    threading.Thread(target=serve, args=(trained_runs, port), daemon=True).start()
    url = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=10):
                return url
        except urllib.error.URLError:
            threading.Event().wait(0.1)
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chrome = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield chrome
    chrome.quit()


@pytest.fixture
def opened(browser, address):
    browser.get_log("browser")
    browser.get(address)
    return browser


def form(name: str, content: bytes, system: str = SYSTEM) -> tuple[bytes, dict[str, str]]:
    """Return a form's body and its headers."""
    body = io.BytesIO()
    body.write(f'--q\r\nContent-Disposition: form-data; name="system"\r\n\r\n{system}\r\n'.encode())
    head = f'--q\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body.write(head.encode() + content + b"\r\n--q--\r\n")
    return body.getvalue(), {"Content-Type": "multipart/form-data; boundary=q"}


def send(address: str, name: str, content: bytes, **headers: str) -> tuple[int, dict]:
    body, typed = form(name, content)
    request = urllib.request.Request(f"{address}/segment", body, {**typed, **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("film.png", b"x")
    return made.getvalue()


def drop(browser, name: str, content: bytes | int) -> None:
    """Drop a file of this content, or of this many zeros, onto the page."""
    browser.execute_script(
        """
        const [name, content] = arguments;
        const bytes = typeof content === "number"
            ? new Uint8Array(content)
            : Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        """,
        name,
        content if isinstance(content, int) else base64.b64encode(content).decode(),
    )


def wait_for(browser, element: str) -> None:
    WebDriverWait(browser, 60, 0.05).until(lambda b: b.find_element(By.ID, element).is_displayed())


def loaded_width(browser, selector: str) -> int:
    picture = browser.find_element(By.CSS_SELECTOR, selector)
    WebDriverWait(browser, 20, 0.05).until(lambda _: picture.get_property("complete"))
    return picture.get_property("naturalWidth")


def test_a_chosen_film_shows_its_mask_overlay_and_numbers(opened, trained_runs, film, tmp_path):
    Select(opened.find_element(By.ID, "system")).select_by_value(SYSTEM)
    opened.find_element(By.ID, "image").send_keys(str(film))
    wait_for(opened, "result")
    shape = read_film(film).shape
    assert loaded_width(opened, "#overlay") == loaded_width(opened, "#masks img") == shape[1]
    assert opened.find_element(By.ID, "result-heading").text == film.name
    assert "PHANTOM DATA" in opened.find_element(By.ID, "phantom").text
    found = segment(load_networks(choose_cells(trained_runs, None, None, None)), read_film(film))
    numbers = opened.find_element(By.ID, "numbers").text.replace("\u202f", "")
    assert f"{found.masks['lungs'].sum()} px" in numbers
    assert f"{found.measured['lungs']['area_mm2']:.0f} mm²" in numbers
    assert "disagreement between networks" in numbers  # two seeds
    flag = opened.find_element(By.ID, "flag")
    assert ("raised" in flag.get_attribute("class")) == found.quality.flagged
    assert all(reason in flag.text for reason in found.quality.reasons)

    link = opened.find_element(By.CSS_SELECTOR, "#masks a")
    assert link.get_attribute("download") == "ward film_lungs.png"
    content = base64.b64decode(link.get_attribute("href").partition(",")[2])
    assert (np.asarray(Image.open(io.BytesIO(content))) > 0).tolist() == (
        found.masks["lungs"].tolist()
    )
    with_contours = opened.find_element(By.ID, "overlay").get_attribute("src")
    opened.find_element(By.ID, "contours").click()
    assert opened.find_element(By.ID, "overlay").get_attribute("src") != with_contours
    assert opened.get_log("browser") == []


def test_a_dropped_film_works_alike_and_the_keyboard_alone_does(opened, film):
    drop(opened, film.name, film.read_bytes())
    wait_for(opened, "result")
    assert opened.find_element(By.ID, "image").get_property("files")[0]
    opened.execute_script("document.getElementById('result').hidden = true")
    # From the top: the system, the field for a file, the button.
    opened.execute_script("document.activeElement.blur()")
    opened.find_element(By.ID, "system").send_keys(Keys.TAB, Keys.TAB)
    assert opened.switch_to.active_element.get_attribute("id") == "again"
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    wait_for(opened, "result")
    assert opened.switch_to.active_element.get_attribute("id") == "result-heading"
    assert opened.get_log("browser") == []


def test_fits_a_phone_in_the_dark(opened, film):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        opened.find_element(By.ID, "image").send_keys(str(film))
        wait_for(opened, "result")
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
        paper = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(13, 17, 23)"
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("large.png", 50 << 20, "The file has 50 MB; a film may have 32 MB."),
        ("films.png", archive(), "a ZIP archive"),
        ("..\\..\\film.png", b"x", "holds a path"),
        ("../../film.png", b"x", "holds a path"),
        (f"{EVIL}.png", b"x", "a file of another kind"),
        ("empty.png", b"", "an empty file"),
    ],
)
def test_the_page_says_why_it_refuses_a_file(opened, film, name, content, told):
    drop(opened, film.name, film.read_bytes())
    wait_for(opened, "result")
    drop(opened, name, content)
    wait_for(opened, "fault")
    assert told in opened.find_element(By.ID, "fault").text
    assert not opened.find_element(By.ID, "result").is_displayed()
    assert not opened.find_elements(By.CSS_SELECTOR, "[onerror]")


@pytest.mark.parametrize(
    ("name", "content", "code", "told"),
    [
        ("large.png", bytes(50 << 20), 413, "The upload has 50 MB; a film may have 32 MB."),
        ("film.png", archive(), 415, "a ZIP archive"),
        ("film.png", b"%PDF-1.7", 415, "a PDF document"),
        ("film.png", b"\x89PNG\r\n\x1a\nrest", 415, "do not decode"),
        ("../../etc/film.png", b"x", 400, "holds a path"),
        ("C:\\film.png", b"x", 400, "holds a path"),
        ("..", b"x", 400, "holds a path"),
    ],
)
def test_the_server_refuses_in_words(address, name, content, code, told):
    found, answer = send(address, name, content)
    assert (found, told in answer["error"]) == (code, True), answer
    assert tempfile.gettempdir() not in answer["error"]
    assert not list(Path(tempfile.gettempdir()).glob("lungbench-film-*"))


def test_only_this_machines_own_page_is_answered(address, film):
    content = film.read_bytes()
    assert send(address, "film.dcm", content, Origin=address)[0] == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        assert send(address, "film.dcm", content, **headers)[0] == 403
    port = int(address.rpartition(":")[2])
    elsewhere = socket.gethostbyname(socket.gethostname())
    if not elsewhere.startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((elsewhere, port), timeout=5)


def test_an_unknown_system_and_a_used_port_are_named(address, trained_runs, film, tmp_path):
    body, typed = form("film.dcm", film.read_bytes(), "tiny/vnet/m_to_s")
    client = create_app(trained_runs).test_client()
    reply = client.post("/segment", data=body, headers=typed)
    assert reply.status_code == 404 and "tiny/vnet/m_to_s" in reply.get_json()["error"]
    with pytest.raises(UserError, match="choose another"):
        serve(trained_runs, int(address.rpartition(":")[2]))


def test_names_stay_text_and_nothing_from_elsewhere_loads(trained_runs, tmp_path):
    folder = tmp_path / "tiny" / "cells" / "unet" / "m_to_s" / "seed-0"
    folder.mkdir(parents=True)
    shutil.copy(trained_runs / "tiny/cells/unet/m_to_s/seed-0/cell.json", folder)
    record = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps({**record, "system": EVIL}))
    reply = create_app(tmp_path).test_client().get("/")
    assert EVIL not in reply.text and "&lt;img src=x" in reply.text
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert "http://" not in reply.text and "https://" not in reply.text
    assert reply.headers["Cache-Control"] == "no-store"
