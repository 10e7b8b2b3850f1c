"""The leaderboard's W&B run, read back with wandb's own reader, holds what the files hold."""

import base64
import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from synthetic_rows import suite_cells, suite_rows
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore

from benchmark.__main__ import main
from benchmark.tracking.publish import sync_line
from leaderboards.board import build_leaderboard
from leaderboards.wandb_run import shown_cases

SYSTEMS = ["unet", "1e5", "mean_shape"]
PROTOCOLS = {"m_to_s": ("montgomery", "shenzhen"), "jsrt": ("jsrt", "jsrt")}
N_CASES = 15


def write_cells(suite: Path, systems: list[str]) -> None:
    rows = suite_rows(systems, PROTOCOLS, 2, N_CASES, ("lungs", "heart"))
    for cell in suite_cells(systems, PROTOCOLS, 2):
        folder = suite / "cells" / cell.system / cell.protocol / f"seed-{cell.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        run = f"{cell.system}{cell.protocol}{cell.seed}"
        record = asdict(cell) | {"n_test": N_CASES, "wandb_id": run}
        (folder / "cell.json").write_text(json.dumps(record, default=dict))
        mine = [pc.equal(rows[n], getattr(cell, n)) for n in ("system", "protocol", "seed")]
        pq.write_table(rows.filter(pc.and_(pc.and_(*mine[:2]), mine[2])), folder / "cases.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with a suite's YAML and its runs, in a path with a space."""
    folder = tmp_path_factory.mktemp("a folder")
    suite = {"title": "made up", "systems": ["unet"], "protocols": ["m_to_s"]}
    (folder / "made_up.yaml").write_text(yaml.safe_dump(suite))
    write_cells(folder / "runs" / "made_up", SYSTEMS)
    build_leaderboard(folder / "runs" / "made_up", draws=100)
    return folder


@pytest.fixture
def offline(monkeypatch):
    for name in ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_BASE_URL", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def copy(built, tmp_path, offline):
    return shutil.copytree(built, tmp_path / "a copy")


def publish(folder: Path, *more: str) -> int:
    suite, runs = str(folder / "made_up.yaml"), str(folder / "runs")
    return main(["publish", "--suite", suite, "--runs", runs, *more])


def records(folder: Path) -> list:
    """All records of the one offline run that there is."""
    (path,) = folder.glob("runs/made_up/leaderboard/wandb/offline-run-*/*.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    found = []
    while (data := store.scan_data()) is not None:
        found.append(wandb_internal_pb2.Record())
        found[-1].ParseFromString(data)
    return found


def logged(folder: Path) -> dict:
    """The run's history, flat."""
    (history,) = [r.history for r in records(folder) if r.WhichOneof("record_type") == "history"]
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in history.item}


def media(folder: Path, key: str) -> str:
    (run,) = folder.glob("runs/made_up/leaderboard/wandb/offline-run-*")
    return (run / "files" / logged(folder)[f"{key}/path"]).read_text()


def table(folder: Path, key: str) -> pd.DataFrame:
    content = json.loads(media(folder, key))
    return pd.DataFrame(content["data"], columns=content["columns"])


def artifact(folder: Path):
    (found,) = [
        r.artifact
        for r in records(folder)
        if r.WhichOneof("record_type") == "artifact" and r.artifact.type == "leaderboard"
    ]
    return found


@pytest.fixture(scope="module")
def published(built, tmp_path_factory):
    folder = shutil.copytree(built, tmp_path_factory.mktemp("published") / "a copy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        assert publish(folder, "--entity", "ward-7", "--project", "lungs") == 0
    return folder


def test_the_run_holds_the_numbers_of_the_csv(published):
    csv = pd.read_csv(published / "runs/made_up/leaderboard/leaderboard.csv", dtype={"system": str})
    sent = table(published, "leaderboard")
    assert len(sent) == len(csv) == 18
    for name in csv.columns:
        if csv[name].isna().all():
            assert name not in sent
        elif pd.api.types.is_numeric_dtype(csv[name]):
            assert np.array_equal(sent[name].astype(float), csv[name].astype(float), True), name
        else:
            assert list(sent[name]) == list(csv[name]), name


def test_the_table_of_cases_holds_the_means_over_seeds(published):
    rows = pd.read_parquet(published / "runs/made_up/leaderboard/cases.parquet")
    keys = ["protocol", "structure", "system", "case_id"]
    expected = rows.groupby(keys)["dice"].mean()
    sent = table(published, "cases")
    assert len(sent) == len(expected) == 3 * 2 * 2 * N_CASES
    found = sent.set_index(keys)["dice"].sort_index()
    np.testing.assert_allclose(found, expected.sort_index(), atol=1e-12)
    assert set(sent["n_seeds"]) == {2}
    assert not {"patient_id", "sex", "age"} & set(sent.columns)


def test_the_run_names_itself_its_cells_and_their_addresses(published):
    (run,) = [r.run for r in records(published) if r.WhichOneof("record_type") == "run"]
    assert (run.entity, run.project, run.job_type) == ("ward-7", "lungs", "leaderboard")
    state = json.loads((published / "runs/made_up/leaderboard/published.json").read_text())
    assert run.run_id == state["run_id"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["suite"] == "made_up" and config["n_done"] == 12
    assert config["splits"] == {"jsrt": "5f3a9c1d", "m_to_s": "5f3a9c1d"}
    cells = table(published, "cells").set_index(["system", "protocol", "seed"])
    assert len(cells) == 12
    cell = cells.loc["1e5", "jsrt", 1]
    assert cell["wandb_id"] == "1e5jsrt1" and cell["state"] == "done"
    assert cell["url"] == "https://wandb.ai/ward-7/lungs/runs/1e5jsrt1"


def test_the_artifact_holds_every_file_under_names_of_its_version(published):
    sent = artifact(published)
    assert sent.name == "leaderboard"
    state = table(published, "cells")["commit"].unique()
    assert {"latest", "made_up", f"commit-{state[0]}"} <= set(sent.aliases)
    assert any(alias.startswith("splits-") for alias in sent.aliases)
    home = published / "runs/made_up/leaderboard"
    files = {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.relative_to(home).parts[0] not in ("wandb", "published.json")
    }
    assert {"leaderboard.csv", "cases.parquet", "leaderboard.html", "methods.md"} <= set(files)
    assert {entry.path for entry in sent.manifest.contents} == set(files)
    for entry in sent.manifest.contents:
        digest = base64.b64encode(hashlib.md5(files[entry.path]).digest()).decode()
        assert entry.digest == digest, entry.path
        assert Path(entry.local_path).read_bytes() == files[entry.path]
        assert home / "wandb" in Path(entry.local_path).parents
    figures = {key.split("/")[1] for key in logged(published) if key.startswith("figures/")}
    assert figures == {path.stem for path in (home / "figures").glob("*.svg")}


def test_publishing_again_leaves_one_leaderboard(copy, capsys):
    assert publish(copy) == 0
    first = json.loads((copy / "runs/made_up/leaderboard/published.json").read_text())
    (folder,) = copy.glob("runs/made_up/leaderboard/wandb/offline-run-*")
    assert str(folder) in capsys.readouterr().out
    assert publish(copy) == 0
    assert "unchanged since it was published" in capsys.readouterr().out
    assert list(copy.glob("runs/made_up/leaderboard/wandb/offline-run-*")) == [folder]
    shutil.rmtree(copy / "runs/made_up/cells/1e5")
    build_leaderboard(copy / "runs/made_up", draws=100)
    assert publish(copy) == 0
    assert "unchanged" not in capsys.readouterr().out
    assert set(table(copy, "leaderboard")["system"]) == {"unet", "mean_shape"}
    (run,) = [r.run for r in records(copy) if r.WhichOneof("record_type") == "run"]
    assert run.run_id == first["run_id"]


def test_without_a_suite_every_leaderboard_below_the_runs_is_published(copy, capsys):
    shutil.copytree(copy / "runs/made_up", copy / "runs/another")
    assert main(["publish", "--runs", str(copy / "runs")]) == 0
    told = capsys.readouterr().out
    for suite in ("another", "made_up"):
        assert len(list(copy.glob(f"runs/{suite}/leaderboard/wandb/offline-run-*"))) == 1
        assert f"runs/{suite}/leaderboard/wandb" in told
    assert main(["publish", "--runs", str(copy / "nowhere")]) == 2


def test_the_sync_line_covers_the_cells_in_any_shell(copy, capsys):
    assert publish(copy) == 0
    cells = sorted(copy.glob("runs/made_up/cells/*/*/seed-*"))[:3]
    for cell in cells:
        (cell / "wandb" / "offline-run-1-x").mkdir(parents=True)
    line = sync_line(copy / "runs" / "made_up" / "leaderboard")
    assert "wandb" in line and " sync " in line
    listed = subprocess.run(
        ["sh", "-c", "ls -d " + line.partition(" sync ")[2]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [str(c / "wandb" / "offline-run-1-x") for c in cells]
    expected += map(str, copy.glob("runs/made_up/leaderboard/wandb/offline-run-*"))
    assert sorted(listed.stdout.splitlines()) == sorted(expected)


def test_pictures_of_films_go_along_only_when_asked_for(copy):
    home = copy / "runs/made_up/leaderboard"
    (home / "leaderboard.html").write_text("a page with films")
    (home / "leaderboard_without_pictures.html").write_text("a page")
    for more, expected in (((), "a page"), (("--with-pictures",), "a page with films")):
        assert publish(copy, *more) == 0
        assert media(copy, "page") == expected
        (page,) = [e for e in artifact(copy).manifest.contents if e.path.endswith(".html")]
        assert page.path == "leaderboard.html"
        assert Path(page.local_path).read_text() == expected


def test_what_cannot_be_published_is_explained(copy, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert publish(copy) == 2
    assert "WANDB_MODE: found disabled" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "offline")
    shutil.rmtree(copy / "runs/made_up/leaderboard")
    assert publish(copy) == 2
    assert "no leaderboard" in capsys.readouterr().err
    assert not (copy / "runs/made_up/leaderboard").exists()


def test_many_cases_are_thinned_evenly(built):
    folder = built / "runs/made_up/leaderboard"
    whole, total = shown_cases(folder)
    thin, counted = shown_cases(folder, most=70)
    assert total == counted == len(whole) == 180
    assert len(thin) == 12 * 5
    keys = ["protocol", "structure", "system"]
    for key, rows in thin.groupby(keys):
        every = whole[(whole[keys] == list(key)).all(axis=1)]["dice"].astype(float)
        kept = rows["dice"].astype(float)
        assert kept.min() == every.min()
        assert abs(kept.median() - every.median()) < 0.5 * (every.max() - every.min())
