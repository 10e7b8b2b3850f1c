"""Starts a cell over and over, as often as it is killed; run as a program.

One process imports torch; every attempt is a fork of it that calls the real ``fit`` and dies by a
real SIGKILL. Arguments: the cell's config, its folder, and the folder of marks, which is made after
an undisturbed run; standard input lists the marks to make (see ``kill_at_files``). The last line of
the output lists the exit codes.
"""

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import torch
import wandb  # noqa: F401  (imported once here instead of in every fork)

from benchmark.cell.fit import fit


def kill_at_files(marks: Path) -> None:
    """Kill this process once at each temporary file that a mark waits for.

    ``marks/wait-write-<name>`` waits for the first byte in a file whose name begins so, and
    ``marks/wait-rename-<name>`` for the moment before it is moved to its place. The mark is renamed
    to ``killed-…``.
    """

    def kill(waiting: Path) -> None:
        waiting.rename(waiting.with_name(waiting.name.replace("wait-", "killed-", 1)))
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_within(path: Path, waiting: Path) -> None:
        while not (path.exists() and path.stat().st_size):
            pass
        kill(waiting)

    def watch(event: str, arguments: tuple) -> None:
        if event not in ("open", "os.rename") or not isinstance(arguments[0], str | os.PathLike):
            return
        path = Path(arguments[0])
        for waiting in marks.glob("wait-*") if path.name.startswith(".") else ():
            wanted, name = waiting.name.removeprefix("wait-").split("-", 1)
            if path.name.startswith(name) and (wanted == "rename") == (event == "os.rename"):
                if wanted == "rename":
                    kill(waiting)
                threading.Thread(target=kill_within, args=(path, waiting), daemon=True).start()

    sys.addaudithook(watch)


def attempt(config: Path, out: Path, marks: Path) -> int:
    """Run the cell in a fork and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if marks.is_dir():
                kill_at_files(marks)
            fit(config, out, checkpoint_every_s=0)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    config, out, marks = [Path(argument) for argument in sys.argv[1:]]
    codes = [attempt(config, out.with_name("undisturbed"), Path("no marks"))]
    marks.mkdir(exist_ok=True)
    for moment in json.loads(sys.stdin.read()):
        (marks / moment).touch()
    while len(codes) < 20 and (len(codes) == 1 or codes[-1] < 0):
        codes.append(attempt(config, out, marks))
    print(json.dumps(codes))
