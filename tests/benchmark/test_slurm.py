"""SLURM without a cluster: site profiles, scripts, and what is said where nobody answers."""

import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from benchmark import start
from benchmark.__main__ import main
from benchmark.cell.cell import Cell, Ticket
from benchmark.cell.ownership import Owner, is_owned
from benchmark.launchers import slurm_queue
from benchmark.launchers.site_profile import Site, find_site, load_site
from benchmark.launchers.slurm import chunks, is_available, job_id
from benchmark.launchers.slurm_queue import Submission, ask, bury_lost
from benchmark.launchers.slurm_scripts import finish_script
from contract.errors import UserError

EXAMPLE = Path(slurm_queue.__file__).with_name("site.example.yaml")


def profile(folder: Path, **settings) -> Path:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_the_example_profile_is_valid_and_explains_every_key():
    assert load_site(EXAMPLE).partition == "gpu"
    text = EXAMPLE.read_text()
    for key in Site.__dataclass_fields__:
        assert f"\n{key}:" in text or f"\n# {key}:" in text, key


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partion: gpu", "unknown key 'partion'"),
        ("time: 12:00:00", "text in quotes"),
        ("nodes: 0", "nodes: found 0; expected at least 1"),
        ("nodes: many", "nodes: found 'many'; expected a whole number"),
        ("nodes: true", "nodes: found true; expected a whole number"),
        ("internet: 'no'", "internet: found 'no'; expected true or false"),
        ("modules: {cuda: 12}", "a list or text"),
        ("partition: [gpu]", "text"),
        ("- gpu", "no mapping"),
        ("a: b: c", "no valid YAML"),
    ],
)
def test_a_faulty_profile_is_refused_in_words(tmp_path, text, told):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"site\.yaml") as refused:
        load_site(path)
    assert told in str(refused.value)


def test_where_the_profile_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LUNGBENCH_SITE", raising=False)
    assert find_site(None) is None and load_site(None) == Site()
    beside = tmp_path / "lungbench-site.yaml"
    beside.write_text("nodes: 2")
    assert find_site(None) == beside
    named = profile(tmp_path, nodes=3)
    monkeypatch.setenv("LUNGBENCH_SITE", str(named))
    assert find_site(None) == named
    with pytest.raises(UserError, match="no such file"):
        find_site(tmp_path / "absent.yaml")


def test_of_two_that_submit_at_once_one_is_refused(write_suite, phantom_root, tmp_path, capsys):
    runs = tmp_path / "runs"
    command = ["submit", "--suite", str(write_suite()), "--runs", str(runs)]
    with Owner(runs / "tiny" / "slurm"):
        assert main([*command, "--data-root", str(phantom_root)]) == 2
    assert "is just submitting" in capsys.readouterr().err


def test_the_owner_of_a_job_that_is_over_is_buried(tmp_path):
    cell = Cell("tiny", "unet", "m_to_s", 0, tmp_path, "", "")
    said = {"host": "elsewhere", "pid": 1, "born": "1", "job": "7_3", "starts": 0, "token": ""}
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "owner.json").write_text(json.dumps(said))
    ticket = {"reason": "", "config_hash": "", "log": tmp_path}
    bury_lost([cell], {tmp_path: Ticket("7_3", "running", **ticket)})
    bury_lost([cell], {tmp_path: Ticket("7_2", "gone", **ticket)})
    assert is_owned(tmp_path)  # its heartbeat is fresh
    bury_lost([cell], {tmp_path: Ticket("7_3", "gone", **ticket)})
    assert not is_owned(tmp_path)
    with Owner(tmp_path):
        assert is_owned(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def submit(write_suite, phantom_root, tmp_path, monkeypatch, capsys):
    """Return a function that runs ``submit --dry-run`` where no SLURM is installed."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("WANDB_MODE", "online")

    def run(*more: str, **settings) -> tuple[int, str]:
        site = profile(tmp_path, **settings)
        command = ["submit", "--dry-run", "--suite", str(write_suite()), "--site", str(site)]
        command += ["--runs", str(tmp_path / "my runs"), "--data-root", str(phantom_root)]
        code = main([*command, *more])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def shell_check(*words: str, text: str = "") -> None:
    program = shutil.which("shellcheck", path=os.defpath)
    if program is not None:
        command = [program, "--shell=bash", *words]
        found = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("template", ["cell.sh", "finish.sh"])
def test_a_shell_template_has_no_fault_that_shellcheck_knows(template):
    shell_check(str(EXAMPLE.with_name(template)))


def scripts(text: str) -> dict[str, str]:
    parts = [part.partition("\n") for part in text.split("\n### ")[1:]]
    return {Path(path).name: body for path, _, body in parts}


def test_a_dry_run_prints_valid_scripts_and_submits_nothing(submit, tmp_path):
    code, text = submit(
        "--set", "trainer.max_epochs=3", partition="gpu", account="mine", qos="high", nodes=2,
        gpus_per_node=2, cpus_per_task=8, memory="32G", time="12:00:00", modules=["cuda/12.4"],
        environment=["source env.sh"], container="apptainer exec --nv 'my image.sif'",
        max_parallel=20, signal_seconds=90, internet=False, sbatch=["--constraint=a100"],
        finish_partition="cpu",
    )  # fmt: skip
    assert code == 0 and not (tmp_path / "my runs" / "tiny" / "slurm").exists()
    assert "sbatch --parsable --array=0-0%20 " in text
    assert "--dependency=afterany:ARRAY1" in text
    found = scripts(text)
    assert set(found) == {"cells.sh", "finish.sh", "cells.txt", "site.yaml"}
    for name in ("cells.sh", "finish.sh"):
        checked = subprocess.run(["/bin/bash", "-n"], input=found[name], text=True, check=False)
        assert checked.returncode == 0
        shell_check("--exclude=SC1091", "-", text=found[name])
    options = [line[8:] for line in found["cells.sh"].splitlines() if line.startswith("#SBATCH ")]
    for option in (
        "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=8",
        "--partition=gpu", "--account=mine", "--qos=high", "--mem=32G", "--time=12:00:00",
        "--requeue", "--open-mode=append", "--signal=B:USR1@90", "--constraint=a100",
        "--job-name=lungbench-tiny",
    ):  # fmt: skip
        assert option in options, option
    assert "module load cuda/12.4\nsource env.sh\n" in found["cells.sh"]
    assert "python=(apptainer exec --nv 'my image.sif' python -P)\n" in found["cells.sh"]
    assert 'start=("${python[@]}" -m)\n' in found["cells.sh"]  # the project inside the container
    assert "WANDB_MODE:-offline" in found["cells.sh"]
    last = found["finish.sh"]
    assert "--partition=cpu" in last and "--gpus" not in last and "--constraint" not in last
    assert "WANDB_MODE:-offline" not in last and "upload=yes" in last
    assert "benchmark leaderboard --suite" in last and "'trainer.max_epochs=3'" not in last
    assert "--set trainer.max_epochs=3" in last and "benchmark publish" in last


def test_without_a_profile_a_cell_gets_one_process_and_the_cluster_s_defaults(submit):
    found = scripts(submit()[1])
    assert "nodes=1 per_node=1 cpus=1" in found["cells.sh"]
    assert not any(word in found["cells.sh"] for word in ("--partition", "--gpus", "--time"))
    assert "'benchmark submit --suite" in found["finish.sh"] and "upload=no" in found["finish.sh"]


def test_the_last_job_uploads_what_was_written_without_internet(tmp_path):
    suite = tmp_path / "my runs" / "tiny"
    for name, files in (("a", ["run-a.wandb.synced"]), ("b", ["run-b.wandb"])):
        run = suite / "cells/unet/m_to_s/seed-0/wandb" / f"offline-run-{name}"
        run.mkdir(parents=True)
        for file in files:
            (run / file).touch()

    def finish(python: str) -> subprocess.CompletedProcess[str]:
        site = Site(internet=False, finish_partition="online", python=python)
        text = finish_script(site, "last", suite / "slurm" / "1", ["benchmark publish --to 'a;b'"])
        return subprocess.run(
            ["/bin/bash"], input=text, text=True, capture_output=True, check=False
        )

    ended = finish("echo")
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        f"-P -m wandb sync {run}/", f"-P {start.FILE} benchmark publish --to a;b"
    ]  # fmt: skip
    assert finish("false").returncode == 1


ODD = "it's $(touch pwned) `touch pwned` %A #x; & ünï"
"""A folder's name that shells and SLURM must not read anything into."""


def test_runs_of_an_odd_name_stay_one_word_of_every_script(write_suite, phantom_root, tmp_path,
                                                           monkeypatch, capsys):  # fmt: skip
    runs = tmp_path / ODD
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "online")
    site = profile(tmp_path, internet=False, finish_partition="online", python="echo")
    command = ["submit", "--dry-run", "--suite", str(write_suite()), "--site", str(site)]
    assert main([*command, "--runs", str(runs), "--data-root", str(phantom_root)]) == 0
    found = scripts(capsys.readouterr().out)
    for name in ("cells.sh", "finish.sh"):
        shell_check("--exclude=SC1091,SC2016", "-", text=found[name])  # $() in quotes is meant
        logs = [line for line in found[name].splitlines() if line.startswith("#SBATCH --output=")]
        assert len(logs) == 1 and logs[0].count('"') == 2 and ODD.replace("%", "%%") in logs[0]
    (runs / "tiny" / "cells/unet/m_to_s/seed-0/wandb/offline-run-a").mkdir(parents=True)
    ended = subprocess.run(
        ["/bin/bash"], input=found["finish.sh"], text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert f"wandb sync {runs}/tiny/cells/unet/m_to_s/seed-0/wandb/offline-run-a/" in ended.stdout
    assert f"--runs {runs} " in ended.stdout and not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ('a"b', "found '\"' in the path"),
        ("a\\b", r"in the path"),
        ("a\nb", r"a\\nb, with line breaks"),
        ("a\tb", r"a\\tb, with line breaks"),
        ("a\x1b[31m", r"a\\x1b\[31m, with line breaks"),
        ("a\udcff", r"a\\udcff, with line breaks"),
        ("a\u2028b", r"a\\u2028b, with line breaks"),
    ],
)
def test_runs_that_no_script_can_name_are_refused(write_suite, phantom_root, tmp_path, capsys,
                                                  name, told):  # fmt: skip
    runs = tmp_path / name
    command = ["submit", "--dry-run", "--suite", str(write_suite()), "--runs", str(runs)]
    with suppress(SystemExit):
        assert main([*command, "--data-root", str(phantom_root)]) == 2
    said = capsys.readouterr()
    assert re.search(told, said.err) and not said.out and not runs.exists()


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_submitted(submit):
    code, said = submit(nodes=3)
    assert code == 2
    assert "adversarial_attention_unet (4): not divisible by 3 processes" in said


def test_arrays_are_no_longer_than_the_cluster_allows():
    assert chunks([""] * 2500, 1001) == [(0, 1001), (1001, 1001), (2002, 498)]
    assert chunks([""] * 3, 3) == [(0, 3)]
    assert chunks(["2:00:00"] * 3 + ["1:00:00"] + [""] * 2, 2) == [(0, 2), (2, 1), (3, 1), (4, 2)]


@pytest.mark.parametrize("told", ["12\n", "12;cluster\n", "---\n Welcome: 3 jobs\n--> ok\n12\n\n"])
def test_the_job_id_is_found_among_what_a_site_s_sbatch_prints(told):
    assert job_id(told) == "12"


def test_an_answer_without_a_job_id_is_an_error():
    with pytest.raises(UserError, match="a job id"):
        job_id("Submitted\n")


def test_filters_of_squeue_and_a_surrounding_job_are_hidden(monkeypatch):
    for name in ("SQUEUE_STATES", "SLURM_NTASKS", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")

    def seen() -> set[str]:
        return {line.split("=")[0] for line in ask(["env"])[1].splitlines()}

    assert "SQUEUE_STATES" not in seen() and seen() > {"SLURM_CONF", "SLURM_NTASKS"}
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert "SLURM_CONF" in seen() and not seen() & {"SLURM_NTASKS", "SQUEUE_STATES"}


def test_a_job_does_not_submit_by_itself(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert not is_available()


def test_status_says_when_the_cluster_does_not_answer(
    write_suite, phantom_root, tmp_path, monkeypatch, capsys
):
    runs, suite = tmp_path / "runs", str(write_suite())
    folder = runs / "tiny" / "slurm" / "1"
    folder.mkdir(parents=True)
    Submission(folder, ["cells/a"], ["hash"], arrays=[("12", 0, 1)], finish="13").save()
    monkeypatch.setenv("SLURM_CONF", os.devnull)
    common = ["--suite", suite, "--runs", str(runs), "--data-root", str(phantom_root)]
    assert main(["status", *common]) == 0
    said = capsys.readouterr()
    assert "squeue" in said.err and "cells' folders speak alone" in said.err
    assert "pending" in said.out
    assert main(["run", "--launcher", "slurm", *common]) == 2  # never twice, so never blindly
    assert "squeue" in capsys.readouterr().err
