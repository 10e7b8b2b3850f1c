"""What a terminal shows after Ctrl-C and SIGTERM: the last word, and no bar over it."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmark.launchers.local import _interruptible
from benchmark.progress import say

ROOT = Path(__file__).parents[2]
SLOW = """
import argparse, sys, time
from pathlib import Path
from benchmark import __main__ as front
from benchmark.cell.cell import Cell
from benchmark.launchers.local import _interruptible, run_cells
from benchmark.launchers.slots import share_out
from benchmark.progress import shown

def audit(given, extra):
    with _interruptible():
        for _ in shown(range(10000), 10000, "auditing films"):
            time.sleep(0.01)

def run(given, extra):
    data = {"init_args": {"preprocessing": {"size": 8}}}
    config = {"trainer": {"max_epochs": 4}, "data": data}
    cell = Cell("s", "auditing", "films", 0, Path(sys.argv[2]), "m", "s", placed=lambda: config,
                counts=(3, 1, 2))
    run_cells([cell], share_out((), 1))

act = {"audit": audit, "run": run}[sys.argv[1]]
parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
commands.add_parser("audit").set_defaults(act=act, passes_on=False)
front.build_parser = lambda: parser
raise SystemExit(front.main(["audit"]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_comes_twice_is_one(name):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        with _interruptible():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(getattr(signal, name))
            signal.raise_signal(getattr(signal, name))  # as `timeout` sends it to the group, too
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("what", ["audit", "run"])
@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_no_bar_is_drawn_over_the_last_word(how, what, tmp_path):
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.environ["TERM"] = "xterm"
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job inherits it ignored
        os.execv(sys.executable, [sys.executable, "-c", SLOW, what, str(tmp_path)])
    said, sent, until = b"", False, time.monotonic() + 60
    while time.monotonic() < until:
        try:
            got = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        said += got
        if not got:
            break
        if said.count(b"auditing films") > 3 and not sent:
            sent = True
            os.write(terminal, b"\x03") if how == "ctrl-c" else os.kill(child, signal.SIGTERM)
    if time.monotonic() >= until:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    text = said.decode()
    assert os.waitstatus_to_exitcode(status) == 130, text[-2000:]
    before, _, after = text.rpartition("lungbench: interrupted; the same command goes on from here")
    assert before.count("auditing films") > 3 and after.strip() == ""
    assert before.rfind("\x1b[?25h") > before.rfind("\x1b[?25l")  # the cursor is back
    assert before.rfind("\x1b[2K") > before.rfind("auditing films")  # and the bar's line empty
    assert not (tmp_path / "owner").exists()


def test_names_are_told_letter_by_letter(capsys):
    told = "[bold]films[/bold]:car:/1.png " + "x" * 300
    say(told)
    assert capsys.readouterr().out == told + "\n"


def test_lines_of_threads_stay_apart(monkeypatch):
    written = []

    class Output(io.StringIO):
        def write(self, text):
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Output())
    say("one line")
    assert [text for text in written if text] == ["one line\n"]  # nothing comes in between
