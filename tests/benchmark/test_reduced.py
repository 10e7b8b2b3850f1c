"""A cell whose suite, ``--set`` or ``fit`` changed its system says so, wherever it is shown."""

import argparse
import json

import pytest

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.commands.arguments import changes as change_arguments_of
from benchmark.planning.library import known_names
from benchmark.planning.plan import make_plan
from contract.cell_folder import CellFolder
from leaderboards.wording import changes_text

SMALL = {"smoke", "quick", "zoo", "smoke_ct", "measured", "pairings_small"}
FOR_TWO_CORES = "lung_baseline"
"""Small as it is."""


@pytest.mark.parametrize("suite", sorted(known_names("suites")))
def test_every_row_of_a_small_suite_is_reduced_and_none_of_a_full_one(suite, tmp_path):
    cells = make_plan(suite, tmp_path, tmp_path).cells
    assert {bool(c.changes) for c in cells if c.system != FOR_TWO_CORES} == {suite in SMALL}
    assert not any(cell.changes for cell in cells if cell.system == FOR_TWO_CORES)


def test_the_papers_own_epochs_under_a_protocol_reduce_nothing(tmp_path, write_suite):
    suite = write_suite(
        systems=["attention_bcdu_net"], protocols=["jsrt_train10", "m_to_s"], overrides={}
    )
    ten, whole = make_plan(str(suite), tmp_path, tmp_path).cells
    assert ten.changes == whole.changes == ()


def test_set_marks_its_cells_and_what_says_the_same_does_not(
    tmp_path, phantom_root, write_suite, capsys
):
    suite = write_suite(systems=["unet"], overrides={"trainer.max_epochs": 100})
    given = ["plan", "--suite", str(suite), "--runs", str(tmp_path), "--json"]
    given += ["--data-root", str(phantom_root)]
    for changes, reduced in (
        ([], False),
        (["preprocessing.size=256", "trainer.devices=2", "data.workers=2"], False),
        (["trainer.max_epochs=3"], True),
        (["trainer.precision=bf16-mixed"], True),
    ):
        assert main([*given, *(["--set", *changes] if changes else [])]) == 0
        assert [c["reduced"] for c in json.loads(capsys.readouterr().out)] == [reduced]


def test_a_profile_is_a_change_like_those_of_set_which_win(
    tmp_path, phantom_root, write_suite, capsys, monkeypatch
):
    suite = write_suite(systems=["unet", "mean_shape"], overrides={})
    given = ["--suite", str(suite), "--runs", str(tmp_path), "--data-root", str(phantom_root)]
    plain, fast = (main(["plan", *given, "--json", *more]) or json.loads(capsys.readouterr().out)
                   for more in ([], ["--profile", "gpu"]))  # fmt: skip
    assert {c["reduced"] for c in plain} == {False} and {c["reduced"] for c in fast} == {True}
    parser = argparse.Namespace(profile="gpu", changes=["trainer.precision=32-true"])
    changes = change_arguments_of(parser)
    unet, mean_shape = make_plan(str(suite), tmp_path, phantom_root, changes).cells
    assert changes_text(unet.changes) == (
        "channels_last not set → True; trainer.precision not set → 32-true"
    )
    assert changes_text(mean_shape.changes) == "trainer.precision not set → 32-true"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["run", *given, "--profile", "gpu", "--launcher", "local"]) == 2
    assert "--profile gpu: found no GPU that may be used" in capsys.readouterr().err
    assert not (tmp_path / suite.stem).exists()


def test_changes_say_the_key_and_both_values_once(tmp_path, write_suite):
    suite = write_suite(
        systems=["unet"],
        overrides={
            "trainer.max_epochs": 3,
            "model.init_args.generator.init_args.widths": [4, 8],
            "trainer.limit_train_batches": 2,
        },
    )
    (cell,) = make_plan(str(suite), tmp_path, tmp_path).cells
    assert changes_text(cell.changes) == (
        "generator.widths [32, 64, 128, 256, 512] → [4, 8]; "
        "trainer.limit_train_batches not set → 2; trainer.max_epochs 100 → 3"
    )


def test_pairs_are_what_their_suite_makes_of_the_base_and_know_whom_they_face(tmp_path):
    cells = {c.system: c for c in make_plan("pairings", tmp_path, tmp_path).cells}
    assert cells["unet_vs_scan"].baseline == "unet_vs_none" and not cells["unet_vs_none"].baseline
    changes = {"trainer.max_epochs": 4}
    cells = make_plan("pairings", tmp_path, tmp_path, changes).cells
    assert {changes_text(cell.changes) for cell in cells} == {"trainer.max_epochs 100 → 4"}


def test_a_pair_that_is_changed_alone_is_compared_with_none(tmp_path):
    suite = tmp_path / "some.yaml"
    suite.write_text(
        "extends: pairings\nprotocols: [m_to_s]\n"
        "system_overrides: {unet_vs_scan: {batch_size: 4}}\n"
    )
    cells = {c.system: c for c in make_plan(str(suite), tmp_path, tmp_path).cells}
    assert cells["unet_vs_scan"].baseline == "" and cells["unet_vs_pixel"].baseline


def test_a_cells_record_and_rows_say_so_and_arguments_of_fit_count(tiny_cell, tmp_path, rows):
    config = tiny_cell(overrides={}, system_overrides={
        "adversarial_attention_unet": {
            "preprocessing.size": 32,
            "batch_size": 4,
            "model.init_args.generator.init_args.widths": [4, 8],
            "model.init_args.critic.init_args.widths": [4, 8],
            "model.init_args.pretrain_epochs": 1,
        },
    })  # fmt: skip
    fit(config, tmp_path / "out", ["--trainer.max_epochs=2"])
    record = CellFolder(tmp_path / "out").record
    assert record.reduced and rows(tmp_path / "out")["reduced"].all()
    told = changes_text(record.changes)
    assert "preprocessing.size 512 → 32" in told and "trainer.max_epochs" in told
    assert list(record.tested_epochs) == [2]
