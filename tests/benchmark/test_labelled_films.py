"""Few-shot systems that look at no film but those that train."""

import json

import pytest

from benchmark.__main__ import main

FEW = {
    "systems": ["attention_bcdu_net_last"],
    "protocols": ["m_to_s"],
    "seeds": [0],
    "overrides": {
        "preprocessing.size": 32,
        "batch_size": 2,
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 1,
        "model.init_args.generator.init_args.widths": [2, 4],
    },
}


def test_a_last_cell_is_done_without_looking_at_a_validation_film(
    write_suite, phantom_root, tmp_path, capsys
):
    runs = tmp_path / "runs"
    words = ["--suite", str(write_suite(**FEW)), "--runs", str(runs)]
    code = main(["run", *words, "--data-root", str(phantom_root), "--launcher", "local"])
    assert code == 0, capsys.readouterr().out
    (path,) = runs.glob("tiny/cells/*/*/*/cell.json")
    record = json.loads(path.read_text())
    assert record["state"] == "done" and record["n_train"] > 0
    assert record["n_validation"] == 0
    assert not list(path.parent.rglob("best.ckpt"))
    text = (runs / "tiny" / "leaderboard" / "leaderboard.md").read_text("utf-8")
    assert f"{record['n_train']} training and no validation cases" in text


def test_no_validation_is_refused_where_validation_chooses(
    write_suite, phantom_root, tmp_path, capsys
):
    suite = write_suite(**FEW | {"systems": ["attention_bcdu_net"]})
    words = ["--suite", str(suite), "--runs", str(tmp_path), "--data-root", str(phantom_root)]
    assert main(["plan", *words, "--set", "trainer.limit_val_batches=0"]) == 2
    assert "checkpoint: last" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["attention_bcdu_net_last", "attention_bcdu_net_mixup02_last"])
def test_a_last_system_differs_in_what_chooses_the_epoch_alone(name):
    from benchmark.planning.compose import without_description
    from benchmark.planning.library import load_settings

    last, best = (
        without_description(load_settings("systems", one))
        for one in (name, name.removesuffix("_last"))
    )
    assert (last.pop("checkpoint"), best.pop("checkpoint")) == ("last", "best")
    assert last["trainer"].pop("limit_val_batches") == 0
    assert last == best
