"""``lungbench data``: what it prints, its exit codes, and that a run stops at the same faults."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults import FAULTS, plant
from PIL import Image

from benchmark.__main__ import main
from benchmark.running.run import run
from contract.errors import DataError
from datamodules.cache import prepare
from datamodules.phantoms import write_phantoms
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source

SMALL = {
    "title": "small",
    "systems": ["mean_shape"],
    "protocols": ["m_to_s", "m_to_j"],
    "overrides": {"preprocessing.size": 32, "batch_size": 1},
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    write_phantoms(root, montgomery=10, shenzhen=10, jsrt=4, size=64, jsrt_size=64)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "root"))


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return str(path)


def test_check_prints_a_table_and_says_that_phantoms_are_phantoms(root, capsys):
    assert main(["data", "check", "--data-root", str(root)]) == 0
    said = capsys.readouterr().out
    for words in ("montgomery", "shenzhen", "jsrt", "11 of 11", "10 of 10", "PHANTOM", "sound"):
        assert words in said


def test_check_of_the_cache_reads_it_whole_and_ends_with_1_where_it_is_damaged(
    root, tmp_path, capsys
):
    runs = tmp_path / "runs"
    source = open_source("montgomery", root)
    prepare(source, source.cases(), Preprocessing(size=16), runs / "cache")
    command = ["data", "check", "--cache", "--runs", str(runs)]
    assert main(command) == 0
    assert "sound" in capsys.readouterr().out
    (images,) = runs.glob("cache/*/images.npy")
    content = bytearray(images.read_bytes())
    content[-200:] = bytes(200)
    images.write_bytes(content)
    assert main([*command, "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert told["cache"] == images.parent.name and "images.npy" in told["damage"]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "DAMAGED" in said and "1 of 1 damaged" in said
    prepare(source, source.cases(), Preprocessing(size=16), runs / "cache")
    assert main(command) == 0


def test_check_looks_at_data_or_at_the_cache(root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["data", "check", "--cache", "--data-root", str(root)])
    assert "not allowed with" in capsys.readouterr().err
    assert main(["data", "check", "--cache", "--dataset", "jsrt"]) == 2
    assert main(["data", "check", "--cache", "--runs", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_check_ends_with_1_and_names_the_file_where_data_is_damaged(root, capsys):
    path = plant(FAULTS[0], root)
    assert main(["data", "check", "--data-root", str(root)]) == 1
    said = capsys.readouterr().out
    assert "FAULTY" in said
    assert str(path) in said
    assert "download it again" in said


def test_check_json_is_a_list_of_objects(root, capsys):
    path = plant(FAULTS[0], root)
    shutil.rmtree(root / "ChinaSet_AllFiles")
    assert main(["data", "check", "--data-root", str(root), "--json"]) == 1
    reports = {report["dataset"]: report for report in json.loads(capsys.readouterr().out)}
    assert reports["montgomery"]["problems"][0]["path"] == str(path)
    assert reports["montgomery"]["images"] == reports["montgomery"]["masks"] == 10
    assert reports["jsrt"]["problems"] == []
    assert not reports["shenzhen"]["present"]
    assert reports["shenzhen"]["sound"]


def test_a_set_of_ones_own_is_checked_without_a_data_root(root, capsys):
    home = root / "MontgomerySet"
    about = {"images": "CXR_png", "masks": {
        "left_lung": "ManualMask/leftMask", "right_lung": "ManualMask/rightMask"}}  # fmt: skip
    (home / "ward.yaml").write_text(yaml.safe_dump(about))
    assert main(["data", "check", "--dataset", str(home / "ward.yaml"), "--json"]) == 0
    (checked,) = json.loads(capsys.readouterr().out)
    assert checked["dataset"] == "ward" and checked["images"] == 10
    for others in ([], ["--dataset", "montgomery"]):
        assert main(["data", "check", *others]) == 2
        assert "--data-root: found it missing" in capsys.readouterr().err


def test_absent_sets_are_no_fault_but_no_set_at_all_is_one(root, capsys):
    shutil.rmtree(root / "ChinaSet_AllFiles")
    assert main(["data", "check", "--data-root", str(root)]) == 0
    assert "CC BY-NC-SA" in capsys.readouterr().out
    (root / "empty").mkdir()
    assert main(["data", "check", "--data-root", str(root / "empty")]) == 1


def test_check_of_one_data_set_only(root, capsys):
    command = ["data", "check", "--data-root", str(root), "--dataset", "jsrt", "--json"]
    assert main(command) == 0
    assert [report["dataset"] for report in json.loads(capsys.readouterr().out)] == ["jsrt"]


def test_a_root_that_does_not_exist_is_wrong_use(tmp_path, capsys):
    assert main(["data", "check", "--data-root", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_run_on_faulty_data_stops_before_training(root, suite, tmp_path, fault):
    path = plant(fault, root)
    with pytest.raises(DataError) as raised:
        run(suite, tmp_path / "runs", root)
    assert fault.told in str(raised.value)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "runs" / "small" / "cells").exists()


def test_a_run_on_one_film_in_two_data_sets_stops_before_training(root, suite, tmp_path):
    montgomery, shenzhen = (open_source(name, root) for name in ("montgomery", "shenzhen"))
    here, there = montgomery.cases()[0], shenzhen.cases()[0]
    shutil.copy(here.image, there.image)
    masks = montgomery.read_masks(here, montgomery.read_image(here).shape)
    Image.fromarray(masks["lungs"].astype(np.uint8) * 255).save(there.masks["lungs"][0])
    with pytest.raises(DataError, match="the same image") as raised:
        run(suite, tmp_path / "runs", root)
    assert here.case_id in str(raised.value)
    assert there.case_id in str(raised.value)
    assert not (tmp_path / "runs" / "small" / "cells").exists()


def test_audit_writes_a_table_and_contact_sheets(root, tmp_path, capsys):
    mask = sorted((root / "ChinaSet_AllFiles" / "mask").glob("*.png"))[3]
    with Image.open(mask) as pixels:
        pixels.putpixel((0, 0), 255)
        pixels.save(mask)
    out = tmp_path / "audit"
    assert main(["data", "audit", "--data-root", str(root), "--out", str(out)]) == 0
    with (out / "audit.csv").open(newline="") as file:
        lines = {line["case_id"]: line for line in csv.DictReader(file)}
    assert len(lines) == 24
    assert {"specks", "border"} <= set(lines[mask.stem.removesuffix("_mask")]["findings"].split())
    assert (out / "sheets" / "shenzhen-specks-1.png").is_file()
    assert "suspect" in capsys.readouterr().out


def test_audit_of_damaged_data_says_so(root, tmp_path, capsys):
    path = plant(FAULTS[0], root)
    out = str(tmp_path / "audit")
    assert main(["data", "audit", "--data-root", str(root), "--out", out]) == 2
    assert str(path) in capsys.readouterr().err


def test_phantoms_are_written_where_told(tmp_path):
    assert main(["data", "phantoms", "--out", str(tmp_path / "p")]) == 0
    assert main(["data", "check", "--data-root", str(tmp_path / "p")]) == 0


def test_a_plan_as_json_is_json_alone_on_the_first_call_too(suite, tmp_path, capsys):
    command = ["plan", "--suite", suite, "--runs", str(tmp_path / "runs"), "--json"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert {cell["state"] for cell in json.loads(printed.out)} == {"pending"}
    assert "phantoms" in printed.err


def test_a_kind_of_fault_that_all_files_share_has_one_line(root, capsys):
    for film in (root / "All247images").glob("*.IMG"):
        film.write_bytes(np.fromfile(film, ">u2").astype("<u2").tobytes())
    assert main(["data", "check", "--data-root", str(root), "--dataset", "jsrt"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "bytes_exchanged" in line]
    assert len(lines) == 1 and "4 files, such as" in lines[0]
