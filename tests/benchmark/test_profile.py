"""``fit --profile`` leaves a trace that a person can open, and rows as they are."""

import json

from benchmark.__main__ import main

SMALL = {
    "preprocessing.size": 32,
    "batch_size": 2,
    "model.init_args.generator.init_args.widths": [4, 8],
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 8,
}


def test_a_trace_of_steps_is_left_and_rows_stay(tiny_cell, tmp_path, rows, capsys):
    config = tiny_cell(systems=["unet"], overrides=SMALL)
    words = ["fit", "--config", str(config), "--out"]
    assert main([*words, str(tmp_path / "watched"), "--profile"]) == 0
    assert main([*words, str(tmp_path / "alone")]) == 0
    folder = tmp_path / "watched" / "profile"
    traces = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    named = {event.get("name") for trace in traces for event in trace["traceEvents"]}
    assert "aten::conv2d" in named
    assert any("training_step" in str(name) for name in named)
    assert "aten::" in next(folder.glob("*.txt")).read_text()
    records = [json.loads((tmp_path / n / "cell.json").read_text()) for n in ("watched", "alone")]
    assert records[0]["config_hash"] == records[1]["config_hash"]
    assert records[0]["reduced"] == records[1]["reduced"]
    assert rows(tmp_path / "watched").equals(rows(tmp_path / "alone"))
