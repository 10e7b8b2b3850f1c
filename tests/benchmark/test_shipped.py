"""The weights that come with the package: terms, card, digest, size, and that they work."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmark.__main__ import main
from benchmark.exporting.digest import write_digest
from benchmark.exporting.facts import FACTS_KEY
from benchmark.prediction import shipped
from benchmark.prediction.serve import create_app
from benchmark.prediction.shipped import SHIPPED, shipped_model
from contract.cell_folder import CellFolder
from contract.files import digest_of
from datamodules.fetch.addresses import read_addresses

MEASURED = Path(__file__).parents[2] / "leaderboards" / "measured"
CELLS = "cells"
CARD = SHIPPED.with_name(SHIPPED.name + ".md")
PACKAGES = (
    "benchmark",
    "contract",
    "datamodules",
    "leaderboards",
    "lightning_modules",
    "lungbench",
)


def test_they_were_trained_on_montgomery_alone_under_its_terms():
    facts = shipped_model().facts
    (trained_on,) = facts.train_on
    assert trained_on.name == "montgomery"
    assert trained_on.terms == read_addresses(["montgomery"])["montgomery"].terms.strip()
    assert (facts.system, facts.phantom, facts.reduced) == ("lung_baseline", False, False)


def test_the_card_tells_digest_terms_scores_and_what_it_is_not_for():
    card = CARD.read_text(encoding="utf-8")
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in card
    assert shipped_model().facts.config_hash in card
    for text in ("no diagnosis", "**montgomery**", "| shenzhen |", "HD95", "poor ones flagged"):
        assert text in card


def test_the_cards_scores_derive_from_committed_rows():
    (rows,) = MEASURED.glob(f"{CELLS}/lung_baseline/m_to_s/seed-0/cases.parquet")
    record = CellFolder(rows.parent).record
    assert record.config_hash == shipped_model().facts.config_hash
    assert digest_of(rows) == record.rows_digest
    films = pd.read_parquet(rows).query("structure == 'lungs'")
    assert len(films) == 566
    lines = CARD.read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("| shenzhen | lungs"))
    for metric, digits in (("dice", 4), ("iou", 4), ("hausdorff95_px", 2), ("assd_px", 2)):
        assert f" {films[metric].mean():.{digits}f} [" in line


def test_weights_and_package_stay_small():
    assert SHIPPED.stat().st_size <= 8_000_000
    root = Path(__file__).parents[2]
    files = (path for name in PACKAGES for path in (root / name).rglob("*") if path.is_file())
    left_out = {"__pycache__", "measured", "pairings_small"}  # rows are in no wheel: test_wheel
    assert sum(p.stat().st_size for p in files if not left_out & set(p.parts)) < 12e6


def test_when_they_are_damaged_the_message_says_how_to_mend_it(tmp_path, monkeypatch, capsys):
    content = bytearray(SHIPPED.read_bytes())
    content[len(content) // 2] ^= 0x40
    (tmp_path / SHIPPED.name).write_bytes(content)
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / SHIPPED.name)
    shipped_model.cache_clear()
    Image.fromarray(np.full((40, 50), 99, np.uint8)).save(tmp_path / "grey.png")
    given = ["--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["predict", *given]) == 2
    said = capsys.readouterr().err
    assert SHIPPED.name in said and "damaged" in said and "install lungbench again" in said


def test_who_names_no_cell_gets_areas_overlays_and_flags(phantom_root, tmp_path, monkeypatch):
    films = sorted((phantom_root / "MontgomerySet" / "CXR_png").glob("*.png"))[:2]
    (tmp_path / "films").mkdir()
    for film in films:
        (tmp_path / "films" / film.name).write_bytes(film.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--images", "films"]) == 0
    with Path("predictions/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [film.name for film in films]
    for row in rows:
        assert row["system"] == "lung_baseline" and row["flagged"] in {"true", "false"}
        mask = np.asarray(Image.open(f"predictions/masks/lungs/{row['file']}"))
        assert int(row["lungs_area_px"]) == np.count_nonzero(mask) > 0
        assert Path(f"predictions/overlays/{row['file']}").with_suffix(".jpg").is_file()


def test_the_local_page_offers_them_without_any_run(phantom_root, tmp_path):
    client = create_app(tmp_path / "none").test_client()
    assert shipped_model().label in client.get("/").get_data(as_text=True)
    film = next((phantom_root / "MontgomerySet" / "CXR_png").glob("*.png"))
    with film.open("rb") as file:
        form = {"system": shipped_model().name, "image": (file, film.name)}
        reply = client.post("/segment", data=form, content_type="multipart/form-data")
    assert reply.status_code == 200 and reply.get_json()["areas"][0]["structure"] == "lungs"


@pytest.mark.parametrize(
    "generator",
    [
        {"class_path": "subprocess.Popen", "init_args": {"args": "true"}},
        {"class_path": "lightning_modules.generators.unet.UNet",
         "init_args": {"classes": {"class_path": "subprocess.Popen"}}},
        {"class_path": "lightning_modules.generators.unet.Sequence", "init_args": {}},
        {"class_path": "lightning_modules.generators.unet.no_such_network", "init_args": {}},
        None,
    ],
)  # fmt: skip
def test_weights_may_name_networks_of_the_project_alone(generator, tmp_path, capsys):
    with safe_open(SHIPPED, "pt") as file:
        said = json.loads(file.metadata()[FACTS_KEY])
    said["generator"] = generator
    save_file(load_file(SHIPPED), tmp_path / "odd.safetensors", {FACTS_KEY: json.dumps(said)})
    write_digest(tmp_path / "odd.safetensors")
    Image.fromarray(np.full((40, 50), 99, np.uint8)).save(tmp_path / "grey.png")
    given = ["--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["predict", "--model", str(tmp_path / "odd.safetensors"), *given]) == 2
    assert "whose code is not this project's" in capsys.readouterr().err
