"""Every kind of damage and its twin in one table: what is harmed, what is asked, what is said.

What needs a terminal, sockets or further processes stands in ``test_terminal``,
``test_local_server`` and ``test_die_together``.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bombs
import fuzzing
import pytest
import torch
import yaml

from benchmark.__main__ import main
from benchmark.cell import ownership
from benchmark.cell.checkpoints import find_resumable, weights_fault
from benchmark.cell.ownership import BusyError, Owner
from benchmark.cell.peers import FAULT, Peers, first_fault
from benchmark.failures import explain
from benchmark.planning.plan import Plan, make_plan
from benchmark.progress import read_progress
from benchmark.running.run import build_suite_leaderboard, leaderboard_faults, mend_configs
from contract.cell_folder import CellFolder
from contract.errors import UserError
from contract.spreadsheets import in_a_cell
from datamodules import cache_parts
from datamodules.digests import Digests
from leaderboards.texts import escape


@dataclass
class World:
    """A finished suite of two cells, with its cache and its leaderboard.

    Attributes:
        home: the folder of everything.
        plan: the suite's plan.
        words: the arguments that name suite, runs and data.
    """

    home: Path
    plan: Plan
    words: list[str]

    @property
    def runs(self) -> Path:
        """The runs folder."""
        return self.home / "runs"

    @property
    def cell(self) -> Path:
        """The first cell."""
        return self.plan.cells[0].folder

    @property
    def board(self) -> Path:
        """The leaderboard's folder."""
        return self.plan.folder / "leaderboard"

    def cached(self, part: str) -> Path:
        """A part of the cache of Montgomery's films."""
        return next(self.runs.glob(f"cache/montgomery-*/{part}"))


Damage = Callable[[Path], object]
Asked = Callable[[World], object]


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def holds(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content())


def folder(path):
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def lost_link(path):
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path):
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def entry(**wrong):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | wrong))


def saved(change):
    """A checkpoint as it is, changed in one respect."""
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


def key(*path, value):
    """A YAML file with another value of one key."""

    def edit(file):
        settings = yaml.safe_load(file.read_text())
        place = settings
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        file.write_text(yaml.safe_dump(settings))

    return edit


def cli(*words):
    """Ask the command line; it answers with its exit code first."""

    def ask(world):
        given = [word.format(home=world.home, runs=world.runs, cell=world.cell) for word in words]
        about = [] if given[0] in ("data", "fit", "predict") else world.words
        try:
            return f"exit {main([given[0], *about, *given[1:]])}"
        except SystemExit as ended:
            return f"exit {ended.code}"

    return ask


def raised(act):
    """What an act that must fail says."""

    def ask(world):
        with pytest.raises((UserError, BusyError)) as caught:
            act(world)
        return str(caught.value)

    return ask


def state(world):
    return " ".join(world.plan.cells[0].state())


def progress(world):
    return str(read_progress(world.cell / "progress.json"))


def resumed(world):
    cell = world.plan.cells[0]
    _, _, remarks = find_resumable(cell.files.checkpoints().path, cell.config_hash)
    return "; ".join(remarks)


def weighed(world):
    return weights_fault(world.cell / "checkpoints/best.ckpt", torch.nn.Linear(1, 1))


def remembered(world):
    film = world.home / "film"
    film.write_bytes(b"film")
    index = Digests(world.runs / "cache/digests.json")
    known = len(index._known)
    return f"{known} known, {index.of_file(film) == Digests(world.home / 'none').of_file(film)}"


def signed(age_s=0.0, content=None, **said):
    """An owner on another machine whose last sign of life is so old."""
    owner = {"host": "elsewhere", "pid": 1, "born": "1", "job": None, "starts": 0, "token": "t"}

    def sign(path):
        path.parent.mkdir()
        path.write_bytes(json.dumps(owner | said).encode() if content is None else content)
        os.utime(path, (time.time() - age_s,) * 2)

    return sign


def taken(world):
    """Take the cell; a second process that lives keeps it."""
    with Owner(world.cell):
        return "taken"


def killed_peer(world):
    first = Peers(world.cell, 0)
    code = "import os; os.kill(os.getpid(), 9)"
    child = subprocess.Popen([sys.executable, "-S", "-c", code])
    child.wait()
    first._children = [child]
    return explain(first.first_error(RuntimeError("Connection closed by peer")))


def named(kind, name):
    def plan(world):
        path = world.home / f"{kind}.yaml"
        about = {"name": name, "systems": ["unet"], "protocols": ["m_to_s"]}
        if kind == "system":
            about = {"extends": "unet", "name": name}
            path.write_text(yaml.safe_dump(about))
            return cli("plan", "--with", str(path))(world)
        path.write_text(yaml.safe_dump(about))
        words = ["plan", "--suite", str(path), "--runs", str(world.runs)]
        return f"exit {main([*words, *world.words[4:]])}"

    return plan


def submitted(name):
    """Write SLURM scripts for a runs folder of such a name."""

    def submit(world):
        words = [*world.words[:3], f"{world.home}/{name}", *world.words[4:]]
        try:
            return f"exit {main(['submit', '--dry-run', *words])}"
        except SystemExit as ended:
            return f"exit {ended.code}"

    return submit


PREDICT = cli("predict", "--cell", "{cell}", "--images", "{home}/films", "--out", "{home}/out")
CHECK = cli("data", "check", "--cache", "--runs", "{runs}")
MASKS = ["score", "--protocol", "m_to_s", "--system", "tool", "--masks", "{home}/masks"]
SEALED = cli("fit", "--config", "{cell}/config.yaml", "--out", "{cell}")
Row = tuple[str, Damage, Asked, str]

CACHED: list[Row] = [
    (f"cache/{name}", damage, CHECK, rf"exit 1.*montgomery-.*{told}")
    for name, damage, told in (
        ("images.npy", zeros, r"images\.npy"), ("masks.npy", zeros, r"masks\.npy"),
        ("images.npy", cut, r"images\.npy"), ("masks.npy", Path.unlink, r"masks\.npy"),
        ("images.npy", one_bit, r"images\.npy"), ("masks.npy", one_bit, r"masks\.npy"),
        ("references.bin", cut, r"references\.bin"), ("references.bin", one_bit, "references"),
        ("entries.json", Path.unlink, r"entries\.json"), ("entries.json", holds(b"[]"), "entries"),
        ("checksums.json", holds(b"null"), "damaged"), ("checksums.json", Path.unlink, "damaged"),
    )
] + [
    ("digests", holds(content), remembered, "^0 known, True$")
    for content in (b"", b"[]", b"[" * 60_000, b'{"checksum": 1, "content": {}}', b"\xff")
]  # fmt: skip
FINISHED: list[Row] = [
    ("cell/cases.parquet", Path.unlink, cli("status", "--json"), r"failed.*is missing"),
    ("cell/cases.parquet", cut, cli("status"), r"exit 0.*failed"),
    ("cell/cases.parquet", cut, state, "failed .* bytes, its record says"),
    ("cell/cases.parquet", holds(b""), state, "failed .* has 0 bytes"),
    ("cell/cases.parquet", one_bit, state, "failed .*another digest"),
    ("cell/cases.parquet", zeros, state, "failed .*vouches for"),
    ("cell/cell.json", Path.unlink, state, "^pending $"),
    ("cell/cell.json", cut, state, "^pending $"),
    ("cell/cell.json", entry(seed=1), state, "^failed .*is of another cell, unet m_to_s seed-1"),
    ("cell/cell.json", entry(system="tool"), state, "^failed .*is of another cell, tool"),
    ("cell/cell.json", entry(config_hash="0" * 16), state, "^stale "),
    ("cell/cell.json", entry(state="finished"), state, "^pending $"),
    ("cell/cell.json", entry(rows_digest="0" * 32), state, "^failed .*another digest"),
    ("cell/cell.json", entry(rows_bytes=7), state, "^failed .*its record says 7"),
    ("cell/config.yaml", Path.unlink, lambda w: mend_configs(w.plan), "written anew"),
    ("cell/config.yaml", cut, lambda w: mend_configs(w.plan), "written anew"),
    ("cell/config.yaml", key("seed_everything", value=9), lambda w: mend_configs(w.plan), "anew"),
    ("cell/config.yaml", key("trainer", "max_epochs", value=1), SEALED,
     "edited since .*exit 2|exit 2.*a cell of configuration"),
    ("cell/config.yaml", key("cell", "seed", value=5), SEALED, "was edited since"),
    ("cell/config.yaml", key("cell", "seal", value=""), SEALED, "was edited since"),
    *[(f"board/{name}", damage, lambda w: leaderboard_faults(w.plan), re.escape(name))
      for name in ("leaderboard.csv", "leaderboard.html", "leaderboard.md", "methods.md",
                   "cases.parquet") for damage in (Path.unlink, cut)],
]  # fmt: skip
UNPACKED: list[Row] = [
    (f"films/{name}", holds(bombs.bombs()[name]), PREDICT, rf"exit 1.*FAILED {name}: .*{told}")
    for name, told in (
        ("deflated_private.dcm", "MiB|bytes"), ("rle_small.dcm", ""), ("tile.tif", "tiles of"),
        ("itxt.png", "decode"), ("wide.png", "decode"), ("screen.png", ""),
        ("post.png", "a PostScript file"), ("claims_more.nii.gz", "30000×30000 pixels"),
        ("whole_film_of_doubles.nii.gz", "at most 128 MiB unpacked"),
    )
] + [
    ("films/post.jpg", holds(b"%!PS-Adobe-3.0 EPSF-3.0\n"), PREDICT, "a PostScript file"),
    ("films/fake.dcm", holds(b"%!PS-Adobe-3.0 EPSF-3.0\n"), PREDICT, "exit 1.*FAILED fake.dcm"),
    ("masks/MCUCXR_0001_0.png", holds(b"\x89PNG"), cli(*MASKS), "exit 2.*no mask of 20 cases"),
    ("masks/dataset.json", holds(b"[" * 60_000), cli(*MASKS), "exit 2.*dataset.json|no mask of"),
]  # fmt: skip
NAMES: list[Row] = [
    ("", Path.exists, cli("plan", "--set", "name=../../q"), "exit 2.*--set name"),
    ("", Path.exists, cli("plan", "--set", "folder=/tmp"), "exit 2.*--set folder"),
    ("", Path.exists, named("suite", "a\n#SBATCH --wrap=x"), "exit 2.*letters, digits"),
    ("", Path.exists, named("suite", "../q"), "exit 2.*letters, digits"),
    ("", Path.exists, named("system", "../../q"), "exit 2.*letters, digits"),
    ("masks/a.png", holds(b""), cli(*MASKS[:4], "../q", *MASKS[5:]), "exit 2.*--system"),
    ("", Path.exists, submitted('a"b'), "exit 2.*in the path"),
    ("", Path.exists, submitted("a\nb"), "exit 2.*line breaks"),
    ("", Path.exists, lambda w: in_a_cell("=cmd|' /C calc'!A0"), "^'=cmd"),
    ("", Path.exists, lambda w: in_a_cell("@SUM(A1)"), "^'@SUM"),
    ("", Path.exists, lambda w: escape("<script>a|b</script>"), r"^&lt;script&gt;a\\\|b"),
    ("", Path.exists, lambda w: escape("# [x](javascript:y)"), r"^\\# \\\[x\\\]"),
]  # fmt: skip
OWNERS: list[Row] = [
    ("cell/owner/owner.json", signed(), raised(taken), "process 1 on elsewhere"),
    ("cell/owner/owner.json", signed(age_s=-80), raised(taken), "process 1 on elsewhere"),
    ("cell/owner/owner.json", signed(age_s=-86400), taken, "taken"),
    ("cell/owner/owner.json", signed(age_s=86400), taken, "taken"),
    *[("cell/owner/owner.json", signed(age_s=86400, content=content), taken, "taken")
      for content in (b"", b"[]", b"[" * 60_000, b"\xff", b'{"pid": "1"}')],
    *[("cell/progress.json", holds(content), progress, "^None$")
      for content in (b"", b"[]", b'{"done": NaN, "total": 1, "what": "x"}', b"{" * 60_000,
                      b'{"done": 1, "total": 2, "what": "[/red]"}')],
]  # fmt: skip
PROCESSES: list[Row] = [
    ("", Path.exists, killed_peer, r"process 1 of \d was killed \(SIGKILL\)"),
    (f"cell/{FAULT}1", holds(b'{"reason": "said"}'), lambda w: first_fault(w.cell), "^said$"),
    *[(f"cell/{FAULT}1", holds(content), lambda w: f"<{first_fault(w.cell)}>", "^<>$")
      for content in (b"", b"[]", b'{"reason": 7}', b"\xff")],
]  # fmt: skip
CHECKPOINTS: list[Row] = [
    *[("newest", damage, resumed, rf"epoch-\d+\.ckpt .*{told}.*; (falling back|training starts)")
      for damage, told in (
          (cut, "torn or truncated"), (holds(b""), "torn or truncated"), (one_bit, "torn"),
          (saved(lambda c: torch.zeros(3)), "holds a Tensor, no checkpoint"),
          (saved(lambda c: [1]), "holds a list, no checkpoint"),
          (saved(lambda c: {k: v for k, v in c.items() if k != "complete"}), "no 'complete'"),
          (saved(lambda c: {k: v for k, v in c.items() if k != "loops"}), "no 'loops'"),
          (saved(lambda c: c | {"config_hash": "x"}), "another configuration"),
          (saved(lambda c: c | {"complete": "yes"}), "a str as 'complete'"))],
    ("cell/checkpoints/best.ckpt", saved(lambda c: [1]), weighed, "holds "),
    ("cell/checkpoints/best.ckpt", cut, weighed, "torn or truncated"),
    ("cell/checkpoints/best.ckpt", cut, PREDICT, "exit 2.*best.ckpt"),
    ("cell/checkpoints/best.ckpt", Path.unlink, PREDICT, "exit 2.*best.ckpt"),
    *[("", Path.exists, lambda w, error=error: explain(error), told) for error, told in (
        (MemoryError(), "^out of memory"), (torch.OutOfMemoryError("x"), "^out of memory"),
        (RuntimeError("could not create a primitive"), "^out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "^out of memory"),
        (OSError(errno.ENOSPC, "x"), "^the disk is full"), (OSError(errno.EFBIG, "x"), "limit"),
        (OSError(errno.EDQUOT, "x"), "^the disk quota"), (OSError(errno.EROFS, "x"), "read-only"))],
]  # fmt: skip
ODD: list[Row] = [
    *[("cell/cases.parquet", damage, state, "^failed cases.parquet")
      for damage in (folder, lost_link, loop)],
    *[("cell/cell.json", damage, state, "^pending $") for damage in (folder, lost_link, loop)],
    *[("newest", damage, resumed, r"^epoch-\d+\.ckpt .*; (falling back|training starts)")
      for damage in (folder, loop)],
    *[("cell/owner", damage, taken, "taken") for damage in (holds(b"x"), lost_link, loop)],
    *[("cache/images.npy", damage, CHECK, r"exit 1.*images\.npy")
      for damage in (folder, lost_link, loop, pipe)],
    *[("digests", damage, remembered, "^0 known, True$") for damage in (lost_link, loop)],
    *[("board/leaderboard.html", damage, lambda w: leaderboard_faults(w.plan), "leaderboard.html")
      for damage in (folder, lost_link, loop)],
    *[("cell/progress.json", damage, progress, "^None$") for damage in (folder, loop)],
    *[("cell/config.yaml", damage, lambda w: mend_configs(w.plan), "written anew")
      for damage in (lost_link, loop)],
    *[("cell/checkpoints/best.ckpt", damage, PREDICT, "exit 2.*best.ckpt")
      for damage in (folder, loop)],
    *[("films/odd.png", damage, PREDICT, "exit [01]") for damage in (folder, lost_link, loop)],
]  # fmt: skip
TABLE = [*CACHED, *FINISHED, *UNPACKED, *NAMES, *OWNERS, *PROCESSES, *CHECKPOINTS, *ODD]


@pytest.fixture(scope="module")
def sound(trained_runs, phantom_root, tmp_path_factory):
    """The world before any damage, and a copy of it."""
    home, suite = tmp_path_factory.mktemp("world"), trained_runs.parent / "tiny.yaml"
    shutil.copytree(trained_runs, home / "runs")
    (home / "films").mkdir()
    (home / "films/sound.png").write_bytes(fuzzing.png(64, 64))
    (home / "masks").mkdir()
    plan = make_plan(str(suite), home / "runs", phantom_root)
    build_suite_leaderboard(plan, phantom_root, home / "runs", gallery=False)
    words = ["--suite", str(suite), "--runs", str(home / "runs"), "--data-root", str(phantom_root)]
    copy = tmp_path_factory.mktemp("copy") / "home"
    shutil.copytree(home, copy)
    return World(home, plan, words), copy


@pytest.fixture
def world(sound, monkeypatch):
    """A world that may be damaged."""
    found, copy = sound
    shutil.rmtree(found.home)
    shutil.copytree(copy, found.home)
    monkeypatch.setattr(ownership, "WATCH_S", 0.2)
    monkeypatch.setattr(cache_parts, "_verified", {})
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.chdir(found.home)
    return found


def harmed(world: World, name: str) -> Path:
    """The file that a row of the table names."""
    kind, _, rest = name.partition("/")
    if kind == "newest":
        return CellFolder(world.cell).checkpoints().resumable()[0]
    places = {
        "cell": world.cell,
        "board": world.board,
        "digests": world.runs / "cache/digests.json",
    }
    if kind == "cache":
        return world.cached(rest)
    return places[kind] / rest if kind in places else world.home / name


@pytest.mark.parametrize(
    ("name", "damage", "asked", "said"), TABLE,
    ids=[f"{number}-{row[0].replace('/', '-') or row[3][:24]}" for number, row in enumerate(TABLE)],
)  # fmt: skip
def test_each_damage_is_named_or_harmless(world, capsys, name, damage, asked, said):
    damage(harmed(world, name))
    answer = asked(world)
    told = capsys.readouterr()
    text = " ".join(f"{answer} {told.out} {told.err}".split())
    assert re.search(said, text) or re.search(said, str(answer)), text
    assert "Traceback" not in text and not list(world.home.parent.glob("q*"))
