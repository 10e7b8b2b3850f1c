"""W&B's own files hold what the cell did, under one id over all restarts."""

import json
import os

import numpy as np
import pytest
import yaml
from wandb_files import read_run

from benchmark.cell.fit import fit
from benchmark.cell.seal import seal_of
from benchmark.tracking import wandb_place
from benchmark.tracking.tracker import draw_comparison

SECRET = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.slow
def test_offline_files_hold_losses_metrics_and_pictures(
    tiny_cell, rows, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("LUNGBENCH_WANDB_PICTURES", "1")
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("MY_TOKEN", SECRET)
    out = tmp_path / "cell"
    fit(tiny_cell(), out)
    told = capfd.readouterr()
    assert "epoch 5/5" in told.out and "wandb" not in told.out + told.err
    (path,) = (out / "wandb").glob("offline-run-*/*.wandb")
    ids, groups, histories, summary, told = read_run(path)
    assert ids == {json.loads((out / "cell.json").read_text())["wandb_id"]}
    assert groups == {"adversarial_attention_unet × m_to_s"}
    assert told["job_type"] == {"cell"}
    assert told["tags"] == {"tiny", "adversarial_attention_unet", "m_to_s", "reduced"}
    config = told["config"]
    arguments = config["model"]["init_args"]
    assert arguments["generator"]["init_args"]["widths"] == [4, 8]
    assert arguments["generator_optimizer"]["class_path"] and arguments["loss"]["class_path"]
    assert config["trainer"]["max_epochs"] == 5 and config["reduced"] and config["changes"]
    assert config["data"]["init_args"]["preprocessing"]["size"] == 32
    assert "root" not in config["data"]["init_args"]
    record = json.loads((out / "cell.json").read_text())
    for name in ("split_hash", "phantom", "device"):
        assert config[name] == record[name], name
    low, high = summary["test/lungs/dice_ci_low"], summary["test/lungs/dice_ci_high"]
    assert low <= summary["test/lungs/dice"] <= high
    for file in out.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    keys = {key for history in histories for key in history}
    for key in ("train/segmentation_loss", "train/critic_loss", "val/dice", "lr/generator"):
        assert key in keys, (key, keys)
    lungs = rows(out).query("structure == 'lungs'")
    assert summary["test/lungs/dice"] == pytest.approx(lungs["dice"].mean())
    (pictures,) = [h for h in histories if "test/overlays/filenames" in h]
    assert pictures["test/overlays/captions"][0] == "test 1"
    files = pictures["test/overlays/filenames"]
    assert len(files) == 4
    assert all((path.parent / "files" / name).is_file() for name in files)


@pytest.mark.slow
def test_a_restarted_cell_keeps_its_run_id(tiny_cell, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = tiny_cell()
    settings = yaml.safe_load(config.read_text())
    callback = {"class_path": "killing.RaiseAt", "init_args": {"epoch": 3}}
    settings["trainer"]["callbacks"] = [callback]
    settings["cell"]["seal"] = seal_of(settings)  # the same cell, for the test
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text(yaml.safe_dump(settings))
    out = tmp_path / "cell"
    with pytest.raises(RuntimeError, match="planted"):
        fit(faulty, out, checkpoint_every_s=0)
    before = json.loads((out / "cell.json").read_text())["wandb_id"]
    fit(config, out)
    assert json.loads((out / "cell.json").read_text())["wandb_id"] == before
    found = {next(iter(read_run(p)[0])) for p in (out / "wandb").glob("offline-run-*/*.wandb")}
    assert found == {before}


@pytest.mark.slow
def test_trouble_with_wandb_never_stops_a_cell(tiny_cell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "cell"
    out.mkdir()
    (out / "wandb").write_text("a file where the folder of runs should be")
    fit(tiny_cell(), out)
    assert json.loads((out / "cell.json").read_text())["state"] == "done"


def test_an_overlay_shows_both_contours():
    image = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    reference, prediction = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    reference[2:8, 2:8] = prediction[10:18, 10:18] = True
    picture = draw_comparison(image, reference, prediction)
    assert tuple(picture[2, 2]) == (0, 158, 115) and tuple(picture[10, 10]) == (213, 94, 0)
    assert tuple(picture[0, 0]) == (0, 0, 0) and tuple(picture[19, 19]) == (255, 255, 255)


@pytest.mark.parametrize(
    ("server", "host", "offline"),
    [
        (None, "api.wandb.ai", False),
        (None, "wandb.clinic.example", True),
        ("https://wandb.clinic.example:8080", "wandb.clinic.example", False),
        ("https://wandb.clinic.example", "api.wandb.ai", True),
    ],
)
def test_runs_go_to_the_server_whose_key_is_kept(tmp_path, monkeypatch, server, host, offline):
    from benchmark.tracking import wandb_place

    (tmp_path / "netrc").write_text(f"machine {host}\n  login user\n  password key\n")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if server:
        monkeypatch.setenv("WANDB_BASE_URL", server)
    assert wandb_place.is_offline() is offline


@pytest.mark.parametrize(("wished", "expected"), [(None, "false"), ("true", "true")])
def test_wandb_reports_its_faults_to_its_makers_only_if_a_user_wants_that(
    monkeypatch, wished, expected
):
    monkeypatch.setenv("WANDB_ERROR_REPORTING", wished or "")
    if not wished:
        monkeypatch.delenv("WANDB_ERROR_REPORTING")
    wandb_place.quiet_settings()
    assert os.environ["WANDB_ERROR_REPORTING"] == expected
