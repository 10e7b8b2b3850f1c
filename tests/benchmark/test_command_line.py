"""The contract, through the real command line."""

import importlib.metadata
import json
import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.__main__ import main
from contract.rows import CASE_SCHEMA, LEADERBOARD_COLUMNS
from datamodules.phantoms import write_montgomery, write_shenzhen

TWO = {
    "systems": ["mean_shape", "unet"],
    "overrides": {
        "preprocessing.size": 32,
        "model.init_args.generator.init_args.widths?": [4, 8],
        "trainer.max_epochs": 1,
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, phantom_root) -> tuple[list[str], Path]:
    """A small suite that has been run once by the command line, as arguments and its folder."""
    folder = tmp_path_factory.mktemp("suite")
    suite = folder / "small.yaml"
    suite.write_text(yaml.safe_dump({**TWO, "protocols": ["m_to_s"]}))
    arguments = ["--suite", str(suite), "--runs", str(folder / "runs")]
    arguments += ["--data-root", str(phantom_root)]
    assert main(["run", *arguments]) == 0
    return arguments, folder / "runs" / "small"


def test_run_leaves_the_folders_and_columns_of_the_contract(finished):
    _, folder = finished
    cell = folder / "cells" / "unet" / "m_to_s" / "seed-0"
    for name in ("config.yaml", "cell.json", "cases.parquet", "checkpoints", "log.txt"):
        assert (cell / name).exists(), name
    record = json.loads((cell / "cell.json").read_text())
    for key in (
        "state", "reason", "config_hash", "versions", "commit", "device", "wall_s", "gpu_hours",
        "parameters", "images_per_s", "peak_memory_mib",
    ):  # fmt: skip
        assert key in record, key
    assert list(pd.read_parquet(cell / "cases.parquet").columns) == CASE_SCHEMA.names
    board = folder / "leaderboard"
    table = pd.read_csv(board / "leaderboard.csv")
    assert list(table.columns) == list(LEADERBOARD_COLUMNS)
    assert set(table["system"]) == {"mean_shape", "unet"} and table["phantom"].all()
    assert "PHANTOM DATA" in (board / "leaderboard.md").read_text()
    assert len(pd.read_parquet(board / "cases.parquet")) == 40


@pytest.mark.parametrize("system", ["mean_shape", "unet"])
def test_a_log_says_what_the_cell_does_and_nothing_of_libraries(finished, system):
    log = finished[1] / "cells" / system / "m_to_s" / "seed-0" / "log.txt"
    told = (
        r"Seed set to 0|GPU available: .*|LOCAL_RANK: .*|epoch 1/1  .*|`Trainer\.fit` stopped: .*"
    )
    lines = log.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(told, line)] == []
    assert any(line.startswith("epoch 1/1") for line in lines)


def test_a_second_run_does_nothing_and_says_so(finished, capsys):
    arguments, folder = finished
    written = (folder / "leaderboard" / "leaderboard.csv").stat().st_mtime_ns
    started = time.monotonic()
    assert main(["run", *arguments]) == 0
    assert time.monotonic() - started < 15
    assert "nothing to do" in capsys.readouterr().out
    assert (folder / "leaderboard" / "leaderboard.csv").stat().st_mtime_ns == written


def test_plan_and_status_print_json(finished, capsys):
    arguments, _ = finished
    for command in ("plan", "status"):
        assert main([command, *arguments, "--json"]) == 0
        cells = json.loads(capsys.readouterr().out)
        assert [(c["system"], c["protocol"], c["seed"], c["state"]) for c in cells] == [
            ("mean_shape", "m_to_s", 0, "done"),
            ("unet", "m_to_s", 0, "done"),
        ]
        assert {c["n_test"] for c in cells} == {20}


def test_changed_settings_make_cells_stale_and_keep_the_old_results(finished, capsys, tmp_path):
    arguments, folder = finished
    copy = tmp_path / "runs" / "small"
    shutil.copytree(folder, copy)
    arguments = [*arguments[:3], str(tmp_path / "runs"), *arguments[4:]]
    changes = ["--set", "preprocessing.dilate=3"]
    assert main(["plan", *arguments, *changes, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert {c["state"] for c in cells} == {"stale"}


def test_changed_data_makes_cells_stale(finished, phantom_root, tmp_path, capsys):
    arguments, _ = finished
    root = tmp_path / "data"
    shutil.copytree(phantom_root, root)
    film = next((root / "MontgomerySet" / "CXR_png").glob("*.png"))
    film.write_bytes(film.read_bytes() + b"\0")
    assert main(["status", *arguments[:-1], str(root), "--json"]) == 0
    assert {c["state"] for c in json.loads(capsys.readouterr().out)} == {"stale"}


def test_leaderboard_without_a_suite_takes_the_rows_below_the_runs(finished, tmp_path, capsys):
    _, folder = finished
    runs = tmp_path / "runs"
    shutil.copytree(folder, runs / "small", ignore=shutil.ignore_patterns("leaderboard"))
    assert main(["leaderboard", "--runs", str(runs)]) == 0
    assert "suite small" in capsys.readouterr().out
    table = pd.read_csv(runs / "small" / "leaderboard" / "leaderboard.csv")
    assert set(table["system"]) == {"mean_shape", "unet"} and table["dice_mean_clean"].notna().all()
    (runs / "a_faulty_one" / "cells" / "unet" / "m_to_s" / "seed-0").mkdir(parents=True)
    (runs / "a_faulty_one/cells/unet/m_to_s/seed-0/cell.json").write_text("{")
    (runs / "small" / "leaderboard" / "leaderboard.csv").unlink()
    assert main(["leaderboard", "--runs", str(runs)]) == 2
    assert "a_faulty_one" in capsys.readouterr().err
    assert len(pd.read_csv(runs / "small" / "leaderboard" / "leaderboard.csv")) == len(table)
    assert main(["leaderboard", "--runs", str(runs), "--set", "trainer.max_epochs=2"]) == 2
    assert "name it" in capsys.readouterr().err
    assert main(["leaderboard", "--runs", str(tmp_path / "empty")]) == 2


def test_leaderboard_of_a_suite_looks_at_the_data_that_its_cells_ran_on(finished, tmp_path, capsys):
    arguments, folder = finished
    copy = tmp_path / "runs" / "small"
    shutil.copytree(folder, copy)
    given = ["leaderboard", *arguments[:2], "--runs", str(tmp_path / "runs")]
    before = (copy / "leaderboard" / "leaderboard.csv").read_bytes()
    (copy / "leaderboard" / "leaderboard.csv").unlink()
    assert main(given) == 0
    assert (copy / "leaderboard" / "leaderboard.csv").read_bytes() == before
    assert not (tmp_path / "runs" / "phantoms").exists()
    assert main([*given, "--set", "trainer.max_epochs=2"]) == 2
    assert "outdated cells only" in capsys.readouterr().err
    assert (copy / "leaderboard" / "leaderboard.csv").read_bytes() == before


def test_status_looks_at_the_data_that_the_cells_ran_on(finished, capsys):
    arguments, _ = finished
    place = arguments.index("--data-root")
    without = [*arguments[:place], *arguments[place + 2 :]]
    runs = Path(arguments[arguments.index("--runs") + 1])
    phantoms = runs / "phantoms"
    there = phantoms.exists()
    assert main(["status", *without, "--json"]) == 0
    assert {cell["state"] for cell in json.loads(capsys.readouterr().out)} == {"done"}
    assert phantoms.exists() == there


def test_absent_data_makes_no_data_cells_with_the_reason(tmp_path, phantom_root, capsys):
    root = tmp_path / "data"
    root.mkdir()
    shutil.copytree(phantom_root / "MontgomerySet", root / "MontgomerySet")
    arguments = ["--suite", "smoke", "--runs", str(tmp_path / "runs"), "--data-root", str(root)]
    assert main(["plan", *arguments, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    no_data = [c for c in cells if c["protocol"] in ("m_to_s", "s_to_m")]
    assert no_data and {c["state"] for c in no_data} == {"no_data"}
    assert all("ChinaSet_AllFiles" in c["reason"] for c in no_data)


def test_an_incomplete_set_stops_the_run_before_training(tmp_path, phantom_root, capsys):
    root = tmp_path / "data"
    shutil.copytree(phantom_root, root)
    lost = sorted((root / "MontgomerySet" / "CXR_png").glob("*.png"))[0]
    lost.unlink()
    arguments = ["--suite", "smoke", "--runs", str(tmp_path / "runs"), "--data-root", str(root)]
    assert main(["run", *arguments]) == 2
    assert lost.stem in capsys.readouterr().err
    assert not (tmp_path / "runs" / "smoke" / "cells").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--suite", "nonsense"], "one of"),
        (["plan", "--set", "nonsense"], "key=value"),
        (["plan", "--set", "nonsense=1"], "an unknown key 'nonsense'"),
        (["plan", "--data-root", "/nowhere/at/all"], "no such folder"),
        (["plan", "--with", "nowhere.yaml"], "no such file"),
    ],
)
def test_wrong_use_is_explained(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--runs", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_networks_that_are_not_ours_join_by_one_yaml_file(tmp_path, phantom_root):
    """By class paths of segmentation_models_pytorch and torchvision, and of a user's own file.

    One of these does not fit: it fails, by its name and what it returned; the others go on.
    """
    (tmp_path / "my_network.py").write_text(
        "from torch import nn\n\n\n"
        "class Mine(nn.Sequential):\n"
        "    def __init__(self, width: int, classes: int) -> None:\n"
        "        super().__init__(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(),\n"
        "                         nn.Conv2d(width, classes, 1))\n"
        "\n\n"
        "class Blind(Mine):\n"
        "    def forward(self, image):\n"
        "        return {'masks': super().forward(image)}\n"
    )
    files = []
    for name, class_path, arguments in (
        ("mine", "my_network.Mine", {"width": 4, "classes": "$classes"}),
        ("blind", "my_network.Blind", {"width": 4, "classes": "$classes"}),
        (
            "torchvision",
            "torchvision.models.segmentation.lraspp_mobilenet_v3_large",
            {"weights": None, "weights_backbone": None, "num_classes": "$classes"},
        ),
        (
            "theirs",
            "segmentation_models_pytorch.Unet",
            {
                "encoder_name": "resnet18",
                "encoder_weights": None,
                "encoder_depth": 3,
                "decoder_channels": [16, 8, 4],
                "classes": "$classes",
            },
        ),
    ):
        network = {"class_path": class_path, "init_args": arguments}
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(
            yaml.safe_dump({"extends": "unet", "model": {"init_args": {"generator": network}}})
        )
    suite = tmp_path / "small.yaml"
    overrides = {"preprocessing.size": 32, "trainer.max_epochs": 1}
    suite.write_text(
        yaml.safe_dump({"systems": [], "protocols": ["m_to_s"], "overrides": overrides})
    )
    code = main(
        ["run", "--suite", str(suite), "--runs", str(tmp_path / "runs"), "--data-root",
         str(phantom_root), "--with", *map(str, files)]
    )  # fmt: skip
    logs = "".join(log.read_text() for log in tmp_path.rglob("log.txt"))
    assert code == 1, logs
    table = pd.read_csv(tmp_path / "runs" / "small" / "leaderboard" / "leaderboard.csv")
    assert set(table["system"]) == {"mine", "theirs", "torchvision"}
    (record,) = tmp_path.glob("runs/small/cells/blind/*/*/cell.json")
    reason = json.loads(record.read_text())["reason"]
    assert reason.startswith("the network my_network.Blind: found an output of dict {'masks': (")
    assert "Traceback" not in record.with_name("log.txt").read_text()
    assert logs.count("wants 3 channels: grey is repeated in each") == 2


@pytest.mark.slow
def test_shuffled_masks_come_out_at_the_mean_shape(tmp_path, rows):
    from benchmark.cell.fit import fit
    from benchmark.planning.plan import make_plan

    write_montgomery(tmp_path, 40, size=96)
    write_shenzhen(tmp_path, 30, size=96)
    suite = tmp_path / "control.yaml"
    # Tones change, places do not: a network that could move masks would not meet their mean.
    overrides = {
        **TWO["overrides"],
        "model.init_args.generator.init_args.widths?": [8, 16, 32, 64, 64],
        "model.init_args.generator.init_args.norm?": "batch",
        "augmentation?": {"brightness": 0.2, "noise": 0.1, "contrast": 0.4},
    }
    own = {"unet": {"trainer.max_epochs": 20, "batch_size": 4}}
    suite.write_text(
        yaml.safe_dump(
            {**TWO, "protocols": ["m_to_s_shuffled"], "overrides": overrides,
             "system_overrides": own}
        )
    )  # fmt: skip
    dice = {}
    for cell in make_plan(str(suite), tmp_path / "runs", tmp_path).cells:
        config = tmp_path / f"{cell.system}-cell.yaml"
        config.write_text(yaml.safe_dump(cell.config))
        fit(config, tmp_path / cell.system)
        dice[cell.system] = rows(tmp_path / cell.system)["dice"].mean()
    assert abs(dice["unet"] - dice["mean_shape"]) < 0.03, dice


def test_help_teaches(capsys):
    taught = {
        (): "examples:",
        ("run",): "--set",
        ("plan",): "what each trains and tests on",
        ("fit",): "--checkpoint-every",
    }
    for command, text in taught.items():
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--help"])
        assert stopped.value.code == 0
        assert text in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("option", ["--devices", "--jobs", "--cells-per-gpu"])
@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_counts_are_read_before_anything_is_planned(option, count, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--suite", "smoke", "--runs", str(tmp_path), f"{option}={count}"])
    assert ended.value.code == 2
    assert f"{option}: '{count}' is no whole number from 1" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"lungbench {importlib.metadata.version('lungbench')}\n"
