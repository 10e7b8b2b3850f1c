"""Trained cells on a user's own films: the masks that were scored, and faults in words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from films import SPACING, write_12_bit, write_16_bit, write_bad, write_dicom
from PIL import ExifTags, Image
from torch import nn

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from benchmark.prediction.finding import find_films
from benchmark.prediction.memory_format import lay_out_kernels
from benchmark.prediction.networks import Networks, choose_cells, finished, load_networks, trained
from benchmark.prediction.predict import predict
from benchmark.prediction.segmentation import segment
from contract.cell_folder import CellFolder
from contract.errors import DataError, UserError
from datamodules.phantoms import write_jsrt
from datamodules.preprocessing import Preprocessing
from datamodules.sources.films import Film, read_film
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import CrossEntropy
from lightning_modules.metrics.case_metrics import overlap_metrics

REAL_DATA = os.environ.get("LUNGBENCH_REAL_DATA")
CELLS = "tiny/cells/unet/m_to_s"


def shenzhen(root: Path) -> list[Path]:
    return sorted((root / "ChinaSet_AllFiles" / "CXR_png").glob("*.png"))


def table(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "predictions.csv").set_index("file")


def mask(out: Path, name: str, structure: str = "lungs") -> np.ndarray:
    with Image.open(out / "masks" / structure / f"{name}.png") as image:
        assert image.mode == "L"
        values = np.asarray(image)
    assert set(np.unique(values)) <= {0, 255}
    return values > 0


@pytest.fixture(scope="module")
def films(phantom_root, tmp_path_factory):
    """Ten readable films, two damaged ones, and what is no film."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "ward 2").mkdir()
    for path in shenzhen(phantom_root)[:4]:
        shutil.copy(path, folder)
    with Image.open(shenzhen(phantom_root)[0]) as image:
        grey = np.asarray(image.convert("L"))
    Image.fromarray(grey).save(folder / "lossless.bmp")
    Image.fromarray(grey).save(folder / "jpeg.jpg", quality=100)
    write_16_bit(folder / "deep.png", grey)
    write_12_bit(folder / "twelve.png", grey)
    write_dicom(folder / "film.dcm", grey)
    write_dicom(folder / "ward 2" / "IM0001", grey)
    write_bad(folder, shenzhen(phantom_root)[0])
    (folder / "notes.txt").write_text("not a film by its name")
    (folder / ".hidden.png").write_text("nor this")
    return folder


@pytest.fixture(scope="module")
def predicted(trained_runs, films, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    cell = trained_runs / CELLS / "seed-0"
    code = main(["predict", "--cell", str(cell), "--images", str(films), "--out", str(out)])
    return code, out


def test_masks_and_measurements_are_those_that_were_scored(phantom_root, trained_runs, tmp_path):
    cell = trained_runs / CELLS / "seed-0"
    scored = pd.read_parquet(cell / "cases.parquet").set_index("case_id")
    scored = scored[scored["structure"] == "lungs"]
    images = shenzhen(phantom_root)[0].parent
    assert predict(trained([cell]), images, tmp_path) == 0
    found = table(tmp_path)
    assert len(found) == 22 and len(scored) == 20  # two films have no reference mask
    assert scored["dice"].mean() > 0.6 and scored["disagreement"].max() > 0
    for case_id, case in scored.iterrows():
        file, row = f"{case_id}.png", found.loc[f"{case_id}.png"]
        assert (row["height"], row["width"]) == (case["height"], case["width"])
        assert row["lungs_area_px"] == case["area_px"]
        assert row["disagreement"] == pytest.approx(case["disagreement"], abs=1e-5)
        assert row["components"] == case["components"] and row["flagged"] == case["flagged"]
        reference = images.parent / "mask" / f"{Path(file).stem}_mask.png"
        with Image.open(reference) as image:
            truth = np.asarray(image.convert("L")) > 127
        dice = overlap_metrics(mask(tmp_path, Path(file).stem), truth)["dice"]
        assert dice == pytest.approx(case["dice"], abs=1e-6)


def test_bad_files_are_named_and_the_rest_goes_on(predicted, films):
    code, out = predicted
    assert code == 1
    found = table(out)
    failed = found[found["error"].notna()]
    assert sorted(failed.index) == ["text.png", "truncated.png"]
    assert failed["lungs_area_px"].isna().all()
    assert "begins with b'not a pi'" in failed.loc["text.png", "error"]
    assert "truncated" in failed.loc["truncated.png", "error"]
    assert str(films) not in (out / "predictions.csv").read_text()
    whole = found[found["error"].isna()]
    assert len(whole) == 10 == len(list((out / "masks").rglob("*.png")))
    for file, row in whole.iterrows():
        own = mask(out, row["output"])
        assert own.shape == read_film(films / file).shape == (row["height"], row["width"])
        assert own.sum() == row["lungs_area_px"] > 0
        with Image.open(out / "overlays" / f"{row['output']}.jpg") as picture:
            assert picture.mode == "RGB" and picture.size == own.shape[::-1]


def test_a_film_is_read_as_viewers_show_it(phantom_root, tmp_path):
    grey = read_film(shenzhen(phantom_root)[0]).pixels
    sideways = Image.fromarray(np.rot90(grey))
    exif = sideways.getexif()
    exif[ExifTags.Base.Orientation] = 6
    sideways.save(tmp_path / "phone.png", exif=exif)
    assert (read_film(tmp_path / "phone.png").pixels == grey).all()


def test_what_is_no_plain_file_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="no plain file"):
        read_film(tmp_path / "pipe.png")


def test_a_film_has_one_mask_in_whatever_format_it_comes(predicted):
    _, out = predicted
    found = table(out)
    first = found.index[found.index.str.startswith("CHNCXR")][0]
    expected = mask(out, found.loc[first, "output"])
    for file in ("lossless.bmp", "deep.png", "film.dcm", "ward 2/IM0001"):
        assert (mask(out, found.loc[file, "output"]) == expected).all()
    for file in ("jpeg.jpg", "twelve.png"):
        close = overlap_metrics(mask(out, found.loc[file, "output"]), expected)
        assert close["dice"] > 0.9


def test_only_a_stated_spacing_gives_square_millimetres(predicted):
    _, out = predicted
    found = table(out)
    stated = found["spacing_row"].notna()
    assert sorted(found.index[stated]) == ["film.dcm", "ward 2/IM0001"]
    area = found["lungs_area_px"] * SPACING[0] * SPACING[1]
    assert found.loc[stated, "lungs_area_mm2"].to_numpy() == pytest.approx(area[stated], rel=1e-5)
    assert found.loc[~stated, "lungs_area_mm2"].isna().all()


def test_a_second_call_repeats_the_first_and_forgets_what_now_fails(
    trained_runs, predicted, films, tmp_path
):
    _, first = predicted
    images = tmp_path / "films"
    images.mkdir()
    shutil.copy(films / "film.dcm", images)
    shutil.copy(films / "deep.png", images)
    cell = trained([trained_runs / CELLS / "seed-0"])
    out = images / "results"  # inside the films' folder, and not taken for films
    assert predict(cell, images, out) == predict(cell, images, out) == 0
    same = table(first).loc[["deep.png", "film.dcm"]].drop(columns="error")
    pd.testing.assert_frame_equal(table(out).drop(columns="error"), same, check_dtype=False)
    (images / "film.dcm").write_bytes((images / "film.dcm").read_bytes()[:400])
    assert predict(cell, images, out) == 1
    assert [path.name for path in (out / "masks" / "lungs").iterdir()] == ["deep.png"]
    assert [path.name for path in (out / "overlays").iterdir()] == ["deep.jpg"]


def test_seeds_predict_together_and_tell_how_far_they_differ(phantom_root, trained_runs):
    film = read_film(shenzhen(phantom_root)[0])
    seeds = [trained_runs / CELLS / f"seed-{seed}" for seed in (0, 1)]
    one, other = (segment(load_networks(trained([seed])), film) for seed in seeds)
    both = segment(load_networks(choose_cells(trained_runs, None, "unet", None)), film)
    assert one.networks is None
    assert 0 < both.networks < 1
    assert both.quality.disagreement == max(both.mirrored, both.networks)
    # The mean's mask lies between: where both agree it is theirs.
    agreed = one.masks["lungs"] == other.masks["lungs"]
    assert (both.masks["lungs"] == one.masks["lungs"])[agreed].mean() > 0.99
    pair = overlap_metrics(one.masks["lungs"], other.masks["lungs"])
    assert both.networks == pytest.approx(1 - pair["dice"], abs=0.1)


@pytest.fixture(scope="module")
def four_class_runs(tmp_path_factory):
    """A system with a heart and the two folds of JSRT: the mean shape of each."""
    home = tmp_path_factory.mktemp("four")
    write_jsrt(home / "data", 12, size=128)
    suite = {
        "systems": ["mean_shape"],
        "protocols": ["jsrt"],
        "overrides": {
            "structures": ["background", "left_lung", "right_lung", "heart"],
            "preprocessing.size": 64,
        },
    }
    (home / "four.yaml").write_text(yaml.safe_dump(suite))
    cell = make_plan(str(home / "four.yaml"), home / "runs", home / "data").cells[0]
    (home / "config.yaml").write_text(yaml.safe_dump(cell.config))
    fit(home / "config.yaml", cell.folder)
    return home / "runs"


def test_a_system_with_a_heart_gives_its_ratio_and_each_structure_a_mask(four_class_runs, tmp_path):
    cells = choose_cells(four_class_runs, "four", None, None)
    networks = load_networks(cells)
    assert len(networks) == 2  # folds
    images = tmp_path / "films"
    images.mkdir()
    Image.fromarray(np.full((150, 120), 99, np.uint8)).save(images / "grey.png")
    out = tmp_path / "out"
    assert predict(cells, images, out) == 0
    row = table(out).loc["grey.png"]
    masks = {name: mask(out, "grey", name) for name in ("left_lung", "right_lung", "heart")}
    assert all(one.shape == (150, 120) and one.any() for one in masks.values())
    assert (mask(out, "grey") == (masks["left_lung"] | masks["right_lung"])).all()
    columns = [np.flatnonzero(one.any(axis=0)).mean() for one in masks.values()]
    assert columns[0] > columns[1]  # the patient's left lung at the image's right
    assert 0.2 < row["cardiothoracic_ratio"] < 0.8
    assert row["heart_area_px"] == masks["heart"].sum()
    assert 0 <= row["disagreement_networks"] < 0.2
    scored = pd.read_parquet(next(four_class_runs.glob("four/cells/*/*/*/cases.parquet")))
    hearts = scored[scored["structure"] == "heart"]
    assert hearts["cardiothoracic_ratio"].between(0.2, 0.8).all()
    assert hearts["reference_cardiothoracic_ratio"].nunique() > 6
    assert (scored["flagged"].notna() == (scored["structure"] == "lungs")).all()


def test_results_inside_the_films_and_links_to_folders_are_left_out(tmp_path, capsys):
    for name in ("a.png", "out/masks/lungs/a.png", "elsewhere/b.png"):
        path = tmp_path / "films" / name if name != "elsewhere/b.png" else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "films" / "linked").symlink_to(tmp_path / "elsewhere")
    jobs = find_films(tmp_path / "films", tmp_path / "films" / "out")
    assert [str(job.file) for job in jobs] == ["a.png"]
    assert "linked: a link to a folder is not entered" in capsys.readouterr().out


def test_a_name_that_is_no_text_stops_nothing(trained_runs, tmp_path, capsys):
    films = tmp_path / "films"
    films.mkdir()
    with (films / "f\udcfffilm.png").open("wb") as file:  # a byte 255 on the disk
        Image.fromarray(np.full((40, 50), 99, np.uint8)).save(file, "png")
    for name in ("bad\udcff.png", "note\udcff.txt"):
        (films / name).write_bytes(b"no film")
    assert predict(trained([trained_runs / CELLS / "seed-0"]), films, tmp_path / "out") == 1
    assert sorted(table(tmp_path / "out").index) == ["bad\\udcff.png", "f\\udcfffilm.png"]
    assert "FAILED bad\\udcff.png" in capsys.readouterr().out


def test_names_that_differ_in_their_ending_alone_keep_it(tmp_path):
    for name in ("a.png", "A.jpg", "b.dcm", "1.2.840.1", "1.2.840.2"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.png").touch()
    (tmp_path / "readme.txt").touch()
    found = {str(job.file): str(job.output) for job in find_films(tmp_path, tmp_path / "out")}
    assert found == {
        "a.png": "a_png", "A.jpg": "A_jpg", "b.dcm": "b", "sub/b.png": "sub/b",
        "1.2.840.1": "1.2.840.1", "1.2.840.2": "1.2.840.2",
    }  # fmt: skip
    (tmp_path / "a_png.bmp").touch()
    with pytest.raises(UserError, match="rename one of the two"):
        find_films(tmp_path, tmp_path / "out")


def grey_film(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))).save(path)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            ("Plain.png", "plain.png"),
            "plain.png: found results called plain_png, as those of Plain.png but for capitals",
        ),
        (
            ("same.png", "same.jpg", "same_png.bmp"),
            "same_png.bmp: found results called same_png, as those of same.png;",
        ),
    ],
)
def test_two_films_whose_results_would_have_one_name_are_both_named(names, text, tmp_path, capsys):
    for name in names:
        grey_film(tmp_path / "films" / name)
    if len(list((tmp_path / "films").iterdir())) < len(names):
        pytest.skip("this disk takes capital letters for small ones")
    films = ["--images", str(tmp_path / "films"), "--out", str(tmp_path / "out")]
    assert main(["predict", *films]) == 2
    assert text in capsys.readouterr().err


def test_what_is_no_film_is_counted_by_its_ending(tmp_path, capsys):
    films = tmp_path / "films"
    grey_film(films / "a.png")
    for name in ("b.gif", "c.WEBP", "d.webp", "e", "1.2.840.113", "f.", "Dr. no ending"):
        (films / name).write_bytes(b"no film")
    images = ["--images", str(films), "--out", str(tmp_path / "out")]
    assert main(["predict", *images]) == 0
    said = capsys.readouterr().out
    counted = "7 other files passed over: 4 without an ending, 2 .webp, 1 .gif (a film's file ends "
    assert counted + "in .png, .jpg, " in said and "or is DICOM)" in said
    for path in films.glob("[!a]*"):
        path.unlink()
    for number in range(10):
        (films / f"{number}.{'abcdefghij'[number]}").touch()
    assert main(["predict", *images]) == 0
    assert "10 other files passed over: 1 .a, 1 .b" in (said := capsys.readouterr().out)
    assert "1 .h, 2 with other endings (" in said


def test_results_of_earlier_calls_are_no_films(tmp_path, capsys):
    films = tmp_path / "films"
    grey_film(films / "a.png")
    grey_film(films / "masks" / "b.png")  # a folder of that name alone is no result
    for out in ("out", "out", "again/now", "out/masks/here"):
        assert main(["predict", "--images", str(films), "--out", str(films / out)]) == 0
        assert sorted(table(films / out).index) == ["a.png", "masks/b.png"]
        assert "passed over" not in (said := capsys.readouterr().out)
        assert ("films/out: results of an earlier call lie here" in said) == (out != "out")


@pytest.mark.parametrize("command", ["predict", "phantoms", "audit", "splits", "run", "export"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_done(
    command, phantom_root, trained_runs, tmp_path, capsys
):
    grey_film(tmp_path / "films" / "a.png")
    file = tmp_path / "file"
    file.write_text("mine")
    root = ["--data-root", str(phantom_root)]
    words = {
        "predict": ["predict", "--images", str(tmp_path / "films"), "--out"],
        "phantoms": ["data", "phantoms", "--out"],
        "audit": ["data", "audit", *root, "--out"],
        "splits": ["data", "splits", *root, "--protocol", "m_to_s", "--out"],
        "run": ["run", "--suite", "smoke", *root, "--runs"],
        "export": ["export", str(trained_runs / CELLS / "seed-0"), "--output"],
    }[command]
    end = "/x.onnx" if command == "export" else ""
    cases = [(str(file), "a file;"), (f"{file}/below/it", f"a file above it, {file};")]
    if Path("/proc/self").exists():
        cases.append(("/proc/foo", "a place that cannot be written ("))
    for folder, found in cases:
        assert main([*words, folder + end]) == 2
        captured = capsys.readouterr()
        told = f"lungbench: {words[-1]} {folder}: found {found}"
        assert captured.err.startswith(told) and captured.err.count("\n") == 1
        assert captured.out == ""
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", [["predict", "--images", "films"], ["data", "phantoms"]])
def test_an_empty_name_of_a_folder_is_not_the_current_one(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey_film(tmp_path / "films" / "a.png")
    assert main([*command, "--out", ""]) == 2
    assert capsys.readouterr().err.startswith("lungbench: --out '': found no name; expected")
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


def test_wrong_use_is_refused_in_words(trained_runs, films, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    cell = ["--cell", str(trained_runs / CELLS / "seed-0")]
    runs = ["--runs", str(trained_runs)]
    out = ["--out", str(tmp_path / "out")]
    for arguments, text in (
        ([*cell, "--images", str(tmp_path / "nowhere"), *out], "no such folder"),
        ([*cell, "--images", str(tmp_path / "empty"), *out], "no film"),
        ([*cell, "--images", str(films), "--out", str(films)], "choose another --out"),
        (["--cell", str(films), "--images", str(films), *out], "found no cell"),
        ([*runs, "--system", "vnet", "--images", str(films), *out], "tiny/unet/m_to_s"),
        (["--runs", str(films), "--images", str(films), *out], "no finished cell"),
        ([*cell, "--device", "cuda:99", "--images", str(films), *out], "--device cuda:99"),
    ):
        assert main(["predict", *arguments]) == 2
        assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cells_that_cannot_predict_together_or_on_films_are_refused(trained_runs, tmp_path):
    folder = tmp_path / "runs" / "tiny" / "cells" / "unet" / "lidc" / "seed-0"
    shutil.copytree(trained_runs / CELLS / "seed-0", folder)
    record = json.loads((folder / "cell.json").read_text())
    own = trained_runs / CELLS / "seed-0"
    for changes, text in (
        ({"protocol": "s_to_m"}, "seeds of one system and protocol"),
        ({"state": "running"}, "a cell that is running"),
        ({"train_on": "lidc_idri"}, "a cell of CT beside one of films"),
    ):
        (folder / "cell.json").write_text(json.dumps({**record, **changes}))
        with pytest.raises(UserError, match=text):
            trained([own, folder])
    assert [found.unit for found in finished(tmp_path / "runs")] == ["scan"]
    (folder / "cell.json").write_text(json.dumps({**record, "train_on": "our_own"}))
    (found,) = finished(tmp_path / "runs")
    assert found.folders == (folder,) and found.unit == "image"
    rows = CellFolder(folder).read_rows()
    scans = rows.set_column(rows.schema.get_field_index("unit"), "unit", [["scan"] * len(rows)])
    CellFolder(folder).write_rows(scans)
    assert trained([folder]).unit == "scan"
    (folder / "cell.json").write_text(json.dumps(record))
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"best\.ckpt"):
        load_networks(trained([folder]))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["init_args"]["preprocessing"]["size"] = 32
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(own / "checkpoints" / "best.ckpt", folder / "checkpoints")
    with pytest.raises(UserError, match="differ in preprocessing"):
        load_networks(trained([own, folder]))


def test_a_large_film_of_another_shape_keeps_its_grid(trained_runs):
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 700), dtype=np.uint8)
    found = segment(
        load_networks(trained([trained_runs / CELLS / "seed-0"])), Film(pixels, (0.1, 0.2))
    )
    lungs = found.masks["lungs"]
    assert lungs.shape == (1500, 700)
    assert found.measured["lungs"]["area_mm2"] == pytest.approx(lungs.sum() * 0.02)


@pytest.mark.skipif(not REAL_DATA, reason="LUNGBENCH_REAL_DATA names no data root")
def test_the_96_shenzhen_films_without_a_mask(trained_runs, tmp_path):
    images = tmp_path / "films"
    images.mkdir()
    home = Path(REAL_DATA) / "ChinaSet_AllFiles"
    masked = {path.name.replace("_mask", "") for path in (home / "mask").iterdir()}
    unmasked = [p for p in sorted((home / "CXR_png").glob("*.png")) if p.name not in masked]
    assert len(unmasked) == 96
    for path in unmasked:
        shutil.copy(path, images)
    write_bad(images, unmasked[0])
    write_dicom(images / "film.dcm", read_film(unmasked[0]).pixels)
    out = tmp_path / "out"
    cell = trained_runs / CELLS / "seed-0"
    assert main(["predict", "--cell", str(cell), "--images", str(images), "--out", str(out)]) == 1
    found = table(out)
    assert sorted(found.index[found["error"].notna()]) == ["text.png", "truncated.png"]
    whole = found[found["error"].isna()]
    assert len(whole) == len(list((out / "masks" / "lungs").iterdir())) == 97
    for file, row in whole.iterrows():
        assert mask(out, row["output"]).shape == read_film(images / file).shape
    assert (mask(out, "film") == mask(out, unmasked[0].stem)).all()


def test_networks_of_other_origin_keep_their_layout():
    """Some call ``view``, which refuses channels that lie side by side."""

    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = UNet(widths=[4, 8])  # a network of the project's, as a part

        def forward(self, x):
            return self.inner(x).view(len(x), -1)

    network = Viewing()
    lay_out_kernels(network, torch.device("cpu"))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 128)
    lay_out_kernels(network.inner, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="view"):
        network(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(("own", "laid_out"), [(False, True), (True, False)])
def test_a_subclass_of_the_module_keeps_its_network_s_layout(own, laid_out):
    """It may do with the logits what it likes; the module itself is laid out anew."""

    class Own(AdversarialSegmenter):
        pass

    kind = Own if own else AdversarialSegmenter
    module = kind(["lungs"], UNet(classes=1, widths=[4, 8]), CrossEntropy(), activation="sigmoid")
    networks = Networks([module], Preprocessing(32), torch.device("cpu"))
    kernels = [one for one in module.generator.parameters() if one.dim() == 4 and one.shape[1] > 1]
    found = {
        one.is_contiguous(memory_format=torch.channels_last) and not one.is_contiguous()
        for one in kernels if one.shape[-1] > 1
    }  # fmt: skip
    assert found == {laid_out}
    own_view, mirrored = networks(torch.zeros(1, 1, 32, 32))
    assert own_view.shape == mirrored.shape == (1, 1, 1, 32, 32)
