"""Every command in README and docs runs as it is written, or is at least one that would be taken.

A command that neither `ONLY_TAKEN` nor `OTHERS` names is run in this process, on phantoms, in a
folder that holds what the pages speak of; one within a sentence where it leaves nothing out.
"""

import contextlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from documented import OTHERS, ROOT, commands

from benchmark.__main__ import build_parser, main
from benchmark.cell.fit import fit
from benchmark.planning.library import known_names
from benchmark.planning.plan import make_plan
from datamodules.phantoms import write_ct_phantoms

ONLY_TAKEN = {
    "run": "trains for minutes; test_suites and others run it",
    "serve": "serves until it is stopped; test_serve",
    "publish": "sends to a server; test_publish",
    "cancel": "needs a cluster; test_slurm_cluster",
    "data fetch": "asks data providers' servers; test_data_fetch",
    "perf": "times the machine for minutes; test_performance",
    "torture": "takes ten minutes; test_torture",
}
"""Commands that are not run here, and why."""

PLACES = {
    "/your/data": "root",
    "/data": "root",
    "DATA_ROOT": "root",
    "CELL": "runs/quick/cells/unet/m_to_s/seed-0",
    "<cell>": "runs/quick/cells/unet/m_to_s/seed-0",
    "<elsewhere>": "elsewhere",
    "S": "quick",
    "R": "runs",
    "D": "more_data",
    "our_ct.yaml": "lidc_idri",
    "scans": "root/LIDC-IDRI/LIDC-IDRI-0001",
    "O": "written",
}
"""What a page writes, and what stands for it here."""

SHOWN = commands()
IN_BLOCKS = [command for command in SHOWN if command.whole]


def take(arguments: list[str], whole: bool = True):
    """Parse; arguments that a sentence leaves out are no fault, and None is returned."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given, extra = build_parser().parse_known_args(arguments)
    except SystemExit as ended:
        if not ended.code:
            return None  # it told its version or its help
        missing = ("arguments are required", "is required")  # all of several, or one of them
        assert any(words in said.getvalue() for words in missing), said.getvalue()
        assert not whole, said.getvalue()
        known = help_of(arguments)
        assert all(word in known for word in arguments if word.startswith("--")), known
        return None
    assert not extra or given.passes_on, f"unknown: {extra}"
    return given


def help_of(arguments: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        build_parser().parse_args([*arguments, "--help"])
    return said.getvalue()


def is_run(command) -> bool:
    arguments = command.arguments
    if not arguments or {arguments[0], " ".join(arguments[:2])} & set(ONLY_TAKEN):
        return False
    dry = arguments[0] != "submit" or "--dry-run" in arguments
    return dry and take(arguments, command.whole) is not None


def check_suite(arguments: list[str]) -> None:
    given = take(arguments)
    suite = getattr(given, "suite", None)
    if suite is not None and not suite.endswith(".yaml"):
        assert suite in known_names("suites")


def test_the_pages_show_commands():
    assert len(IN_BLOCKS) > 20
    assert sum(map(is_run, SHOWN)) > 12
    assert {command.page for command in IN_BLOCKS} >= {
        "README.md",
        "docs/score.md",
        "docs/slurm.md",
    }


@pytest.mark.parametrize(
    "command", [c for c in SHOWN if c.arguments is not None], ids=str
)  # fmt: skip
def test_lungbench_takes_its_arguments(command):
    if not command.arguments:
        return  # the program's name alone
    take(command.arguments, command.whole)
    if command.whole:
        check_suite(command.arguments)


WITHOUT_MAKE = {
    name: value for name, value in os.environ.items()
    if not name.startswith("MAKE") and name not in ("MFLAGS", "ARGS", "SUITE", "RUNS", "DATA_ROOT")
}  # fmt: skip
"""These tests may themselves be run by make, whose variables would be handed on."""


@pytest.mark.parametrize("command", [c for c in SHOWN if c.words[0] == "make"], ids=str)
def test_make_has_its_targets_and_variables(command):
    makefile = (ROOT / "Makefile").read_text()
    for variable in (word.split("=")[0] for word in command.words[1:] if "=" in word):
        assert f"\n{variable} ?=" in makefile
    done = subprocess.run(
        [shutil.which("make"), "-n", *command.words[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False, env=WITHOUT_MAKE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if " -m benchmark " in line:
            words = line.split(" -m benchmark ")[1].replace('"', "").split()
            check_suite(words)


@pytest.mark.parametrize(
    "command", [c for c in SHOWN if c.words[0] in (*OTHERS, "python")], ids=str
)
def test_other_programs_find_the_files_of_the_project(command):
    for word in command.words[1:]:
        path = word.split("[")[0]
        if path.endswith((".py", ".lock", ".toml")):
            assert (ROOT / path).is_file()
    if command.words[0] == "srun":
        take(list(command.words[command.words.index("lungbench") + 1 :]))


@pytest.fixture(scope="module")
def home(tmp_path_factory, phantom_root) -> Path:
    """A folder with data, trained cells of films and of CT, films, and masks of another tool."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(phantom_root, home / "root")
    write_ct_phantoms(home / "root")
    shutil.copytree(home / "root", home / "more_data")
    small = {
        "preprocessing.size": 32,
        "batch_size": 4,
        "augmentation": None,
        "model.init_args.generator.init_args.widths?": [4, 8],
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
    }
    for suite, wanted in (("quick", ("unet", "m_to_s")), ("smoke_ct", ("lgan_baseline", "lidc"))):
        plan = make_plan(suite, home / "runs", home / "root", small)
        cell = next(c for c in plan.cells if (c.system, c.protocol) == wanted)
        (home / "config.yaml").write_text(yaml.safe_dump(cell.config))
        fit(home / "config.yaml", cell.folder)
    masks = home / "root/ChinaSet_AllFiles/mask"
    shutil.copytree(masks, home / "predicted")
    (home / "my_net.yaml").write_text("extends: unet\n")
    (home / "films").mkdir()
    for film in sorted((home / "root/MontgomerySet/CXR_png").glob("*.png"))[:2]:
        shutil.copy(film, home / "films")
    return home


def test_every_command_that_can_runs_as_it_is_written(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    for command in {command.words: command for command in SHOWN}.values():
        if command.words[0] == "cp":
            subprocess.run(map(_placed, command.words), check=True)
        elif is_run(command):
            code = main(list(map(_placed, command.arguments)))
            said = capsys.readouterr()
            assert code == 0, f"{command}\n{said.out}\n{said.err}"
    assert (home / "results/predictions.csv").is_file()
    assert (home / "runs/quick/cells/my_nnunet/m_to_s/seed-0/cases.parquet").is_file()


def _placed(word: str) -> str:
    for written, place in PLACES.items():
        if word == written or word.startswith(f"{written}/"):
            return place + word[len(written) :]
    return word
