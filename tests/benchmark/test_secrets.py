"""Keys in the environment get into no file and no line that a cell or its leaderboard leaves."""

from __future__ import annotations

import yaml

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from benchmark.running.run import build_suite_leaderboard

SECRETS = {
    "WANDB_API_KEY": "5ecre7" * 6 + "abcd",
    "HF_TOKEN": "hf_planted5ecre7",
    "AWS_SECRET_ACCESS_KEY": "aws+planted/5ecre7",
    "MY_TOKEN": "own-planted-5ecre7",
}


def test_planted_keys_are_nowhere(write_suite, phantom_root, tmp_path, monkeypatch, capfd):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    runs = tmp_path / "runs"
    suite = str(write_suite(systems=["mean_shape"], overrides={"preprocessing.size": 32}))
    plan = make_plan(suite, runs, phantom_root)
    cell = plan.cells[0]
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    with monkeypatch.context() as offline:
        offline.setenv("WANDB_MODE", "offline")
        fit(config, cell.folder)
    assert cell.state() == ("done", "")
    build_suite_leaderboard(plan, phantom_root, runs)
    monkeypatch.setenv("WANDB_MODE", "online")
    where = ["--suite", suite, "--runs", str(runs), "--data-root", str(phantom_root)]
    assert main(["submit", "--dry-run", *where, "--set", "seed_everything=1"]) in (0, 2)
    assert main(["submit", "--dry-run", *where]) == 0
    assert main(["status", *where]) == 0
    said = capfd.readouterr()
    left = [path for path in runs.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in left) and len(left) > 30
    for name, secret in SECRETS.items():
        assert secret not in said.out + said.err, name
        assert [path for path in left if secret.encode() in path.read_bytes()] == [], name
