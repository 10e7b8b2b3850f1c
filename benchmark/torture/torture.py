"""Kills, damages and full disks at random moments, and the figures of what came of it."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from benchmark.cell.cell import Cell
from benchmark.planning.plan import Plan
from benchmark.progress import say
from benchmark.torture.damages import Fault, candidates, is_mended, is_refused, plant
from benchmark.torture.disk import SmallDisk
from benchmark.torture.processes import CELL, RUN, Stable, kill, load_libraries, owner_of
from benchmark.torture.scene import Scene, rows_apart

KILLS_A_MINUTE = 8.0
FAULTS_A_MINUTE = 6.0
FULL_S = 4.0
"""The disk stays full for so long."""
FULL_DISKS_A_MINUTE = 0.7
QUOTAS = 0.07
"""Share of the commands whose files may have a few thousand bytes at most."""
BUSY_AT_ONCE = 2
"""Commands of a kind at a time."""
MENDING_S = 300.0
"""What the cells get at the end, among them those that wait for an owner nobody can read."""


@dataclass
class Figures:
    """What a torture came to.

    Attributes:
        kills: by what was killed.
        faults: by kind.
        named: faults that an output, a log or a state named.
        mended: others that were gone at the end.
        unnoticed: the rest, in words.
        rows: rows of the undisturbed run.
        lost: those that are not there at the end.
        different: those that are others.
        wrong: what else is not as it should be, in words.
    """

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    named: int = 0
    mended: int = 0
    unnoticed: list[str] = field(default_factory=list)
    rows: int = 0
    lost: int = 0
    different: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost and nothing believed."""
        return not (self.lost or self.different or self.unnoticed or self.wrong)

    def lines(self) -> list[str]:
        """Return the figures for people."""
        return [
            f"kills             {_counted(self.kills)}",
            f"faults planted    {_counted(self.faults)}",
            f"faults named      {self.named}",
            f"mended by itself  {self.mended}",
            f"unnoticed         {len(self.unnoticed)}",
            f"rows              {self.rows}: {self.lost} lost, {self.different} different",
            *self.unnoticed,
            *self.wrong,
        ]


def _counted(numbers: Counter[str]) -> str:
    return f"{numbers.total()}: " + ", ".join(f"{n} {name}" for name, n in sorted(numbers.items()))


class Torture:
    """One torture.

    Args:
        home: an empty folder for everything.
        minutes: how long it goes on; setting up and mending come on top.
        seed: of all that is random; the moments depend on the machine, too.
        short: tiny cells of one process, and no disk of their own.

    Attributes:
        scene: the files.
    """

    def __init__(self, home: Path, minutes: float, seed: int, short: bool = False) -> None:
        self.scene = Scene(home, pairs=not short, seeds=(0,) if short else (0, 1))
        self._minutes, self._short = minutes, short
        self._chance = random.Random(seed)
        self._stable, self._figures = Stable(), Figures()
        self._faults: list[Fault] = []
        self._disk: SmallDisk | None = None
        self._heard = 0.0

    def torture(self) -> Figures:
        """Do all of it, and return what it came to."""
        load_libraries()
        scene = self.scene
        scene.set_up()
        self._undisturbed()
        if not self._short:
            self._disk = SmallDisk(scene.runs)
            if self._disk.missing:
                say(f"no small disk ({self._disk.missing}); files of limited size instead")
        plan = scene.plan()
        try:
            self._disturb(plan)
            self._cut_power(plan)
            say("no more kills or faults: what is not done runs to its end")
            self._mend(plan)
            self._judge(plan)
        finally:
            self._stable.end_all(cell.folder for cell in plan.cells)
            if self._disk is not None:
                self._disk.close()
        return self._figures

    def _undisturbed(self) -> None:
        started, plan = time.monotonic(), self.scene.plan(self.scene.home / "undisturbed")
        for cell in plan.cells:
            self._fit(cell)
            self._stable.wait([cell.folder], MENDING_S)
            if cell.state()[0] != "done":
                raise RuntimeError(f"undisturbed, {cell.name} is {cell.state()}")
        self.scene.remember(plan.cells)
        self._figures.rows = sum(rows.num_rows for rows in self.scene.expected.values())
        spent = time.monotonic() - started
        say(f"{len(plan.cells)} cells undisturbed in {spent:.0f} s: {self._figures.rows} rows")

    def _fit(self, cell: Cell, quota: int | None = None) -> None:
        words = ["fit", "--config", str(self.scene.config_of(cell)), "--out", str(cell.folder)]
        log = self.scene.home / "texts" / f"{cell.name.replace(' ', '-')}.txt"
        self._stable.start(CELL, [*words, "--checkpoint-every", "0"], log, quota)

    def _run(self, quota: int | None = None) -> None:
        number = len(list((self.scene.home / "texts").glob("run-*")))
        log = self.scene.home / "texts" / f"run-{number}.txt"
        self._stable.start(RUN, self.scene.run_words(), log, quota)

    def _texts(self, plan: Plan) -> list[Path]:
        """Return what was printed, by cells of a ``run`` into their logs."""
        printed = (self.scene.home / "texts").glob("*.txt")
        return [*sorted(printed), *(cell.log for cell in plan.cells)]

    def _disturb(self, plan: Plan) -> None:
        begun = spoken = time.monotonic()
        until = begun + 60 * self._minutes
        rates = {"kill": KILLS_A_MINUTE, "damage": FAULTS_A_MINUTE, "fill": FULL_DISKS_A_MINUTE,
                 "run": 3.0}  # fmt: skip
        due = {what: begun + self._chance.expovariate(rate / 60) for what, rate in rates.items()}
        acts = {"kill": self._kill, "damage": self._damage, "fill": self._fill, "run": self._more}
        while (now := time.monotonic()) < until:
            self._stable.look()
            self._keep_busy(plan)
            for what, when in due.items():
                if now >= when and acts[what](plan):
                    # From when it was due: what could not be done then is made up for.
                    due[what] = when + self._chance.expovariate(rates[what] / 60)
            if now - self._heard > 2:
                self._listen(plan)
            if now - spoken > 60:
                spoken = now
                kills, faults = self._figures.kills.total(), self._figures.faults.total()
                say(f"{(now - begun) / 60:.0f} min: {kills} kills, {faults} faults")
            time.sleep(0.1)

    def _quota(self, plan: Plan) -> int | None:
        """Limit the size of a command's files, now and then."""
        if self._chance.random() >= QUOTAS:
            return None
        size = self._chance.randrange(4000, 30000)
        words = ("the disk is full", "limit on their size")
        told = f"{size} bytes a file"
        self._note(Fault("quota", self.scene.runs, told, words, self._marks(plan)))
        return size

    def _marks(self, plan: Plan) -> dict[Path, int]:
        return {text: text.stat().st_size for text in self._texts(plan) if text.exists()}

    def _note(self, fault: Fault) -> None:
        self._faults.append(fault)
        self._figures.faults[fault.kind] += 1

    def _keep_busy(self, plan: Plan) -> None:
        """Start cells that nobody works on; where all are done, let one begin from nothing."""
        busy = [cell for cell in plan.cells if owner_of(cell.folder)]
        running = sum(one.kind == CELL for one in self._stable.started)
        if max(running, len(busy)) >= BUSY_AT_ONCE:
            return
        free = [cell for cell in plan.cells if cell not in busy]
        todo = [cell for cell in free if cell.state()[0] not in ("done", "running")]
        if todo:
            self._fit(self._chance.choice(todo), self._quota(plan))
        elif not busy and not self._stable.started:
            self._listen(plan)
            shutil.rmtree(self._chance.choice(free).folder, ignore_errors=True)

    def _more(self, plan: Plan) -> bool:
        runs = sum(one.kind == RUN for one in self._stable.started)
        busy = sum(owner_of(cell.folder) is not None for cell in plan.cells)
        if runs >= BUSY_AT_ONCE or busy > BUSY_AT_ONCE:
            return False
        self._run(self._quota(plan))
        return True

    def _kill(self, plan: Plan) -> bool:
        living = self._stable.living([cell.folder for cell in plan.cells])
        if not living:
            return False
        kind = self._chance.choice(sorted({kind for kind, _ in living}))
        victim = self._chance.choice([pid for found, pid in living if found == kind])
        if kill(victim):
            self._figures.kills[kind] += 1
            return True
        return False

    def _cut_power(self, plan: Plan) -> None:
        """Kill all that lives at once."""
        for kind, pid in self._stable.living([cell.folder for cell in plan.cells]):
            self._figures.kills[kind] += kill(pid)

    def _damage(self, plan: Plan) -> bool:
        kinds = candidates(self.scene, plan)
        if self._short:
            kinds.pop("owner", None)  # who it was is listened for, for half a minute
        if not kinds:
            return False
        kind = self._chance.choice(sorted(kinds))
        path = self._chance.choice(kinds[kind])
        fault = plant(kind, path, plan, self._chance, self._texts(plan))
        if fault is None:
            return False
        self._note(fault)
        if kind == "checkpoint":  # of a finished cell it is missed when its rows are
            for cell in plan.cells:
                if cell.folder in path.parents and cell.state()[0] == "done":
                    cell.files.rows_file.unlink(missing_ok=True)
        return True

    def _fill(self, plan: Plan) -> bool:
        if self._disk is None or self._disk.missing:
            return True
        words = ("the disk is full",)
        fault = Fault("disk", self.scene.runs, "full", words, self._marks(plan))
        self._disk.fill()
        self._note(fault)
        time.sleep(FULL_S)
        self._listen(plan)
        self._disk.free()
        return True

    def _listen(self, plan: Plan) -> None:
        """Look what was named by now."""
        texts, self._heard = self._texts(plan), time.monotonic()
        reasons = [cell.state()[1] for cell in plan.cells]
        for fault in self._faults:
            if not fault.is_named(texts) and fault.kind in ("disk", "quota"):
                fault.said = any(word in reason for reason in reasons for word in fault.words)

    def _mend(self, plan: Plan) -> None:
        folders, until = [cell.folder for cell in plan.cells], time.monotonic() + MENDING_S
        self._stable.wait(folders, MENDING_S)
        while time.monotonic() < until:
            todo = [cell for cell in plan.cells if cell.state()[0] != "done"]
            if not todo:
                break
            for cell in todo:
                self._fit(cell)
                self._stable.wait(folders, MENDING_S)
            self._listen(plan)
            time.sleep(1)
        for _ in range(2):  # the second has nothing to do
            self._run()
            self._stable.wait(folders, MENDING_S)
        first, second = self._stable.ended[-2:]
        if (first.code, second.code) != (0, 0):
            self._figures.wrong.append(f"the last runs ended with {first.code} and {second.code}")
        if "nothing to do" not in second.log.read_text():
            self._figures.wrong.append("the last run found something to do")
        self._listen(plan)

    def _judge(self, plan: Plan) -> None:
        figures = self._figures
        for fault in self._faults:
            if fault.said or is_refused(fault):
                figures.named += 1
            elif is_mended(fault, plan):
                figures.mended += 1
            else:
                figures.unnoticed.append(f"unnoticed: {fault.path} ({fault.what})")
        figures.lost, figures.different = rows_apart(self.scene, plan.cells)
        try:
            shown = pq.read_table(self.scene.board / "cases.parquet").num_rows
        except OSError:
            shown = 0
        if shown != figures.rows:
            figures.wrong.append(f"the leaderboard has {shown} rows of {figures.rows}")
        for text in self._texts(plan):
            if text.exists() and "Traceback" in text.read_text(errors="replace"):
                figures.wrong.append(f"a traceback in {text}")
