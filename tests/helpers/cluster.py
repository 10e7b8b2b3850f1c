"""A real SLURM cluster of two nodes on this host, for as long as a ``with`` block runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIG = """
ClusterName=lungbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=3
MaxArraySize={max_array}
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 State=UNKNOWN
PartitionName=test Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here, or nothing."""
    if os.geteuid() != 0:
        return "a SLURM cluster for tests needs root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm munge)" if absent else ""


class Cluster:
    """Starts munged, slurmctld and the nodes n1 and n2 (a CPU each) and ends them all.

    Keys, sockets and ports are its own, so that several may run on one host.

    Args:
        max_array: the cluster's ``MaxArraySize``.
    """

    def __init__(self, max_array: int = 1001) -> None:
        self._max_array = max_array
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "environment") and self._daemons:
            self.run("scancel", "--me", check=False)
            with contextlib.suppress(TimeoutError):
                self.wait(lambda: not self.run("squeue", "-h", check=False), 20, "empty queue")
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        folder = self.folder
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (folder / "state").mkdir()
        for node in ("n1", "n2"):
            (folder / f"spool-{node}").mkdir()
        port, first, last = free_ports(3)
        text = CONFIG.format(
            host=socket.gethostname(), folder=folder, port=port, first=first, last=last,
            max_array=self._max_array,
        )  # fmt: skip
        (folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        # `make test ARGS=…` hands its own variables on to every make below it.
        left_out = ("SLURM_JOB", "MAKE", "MFLAGS", "ARGS")
        for name in [name for name in self.environment if name.startswith(left_out)]:
            del self.environment[name]
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={key}", "--num-threads=2",
            f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
            f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        self.wait(lambda: (folder / "munge.socket").exists(), 20, "munge's socket")
        self._daemon("slurmctld", "-D")
        for node in ("n1", "n2"):
            self._daemon("slurmd", "-D", "-N", node)
        idle = ["sinfo", "-h", "-N", "-o", "%T"]
        self.wait(lambda: self.run(*idle, check=False).split() == ["idle"] * 2, 60, "idle nodes")

    def _daemon(self, *command: str) -> None:
        with (self.folder / f"{command[0]}-{len(self._daemons)}.log").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            )

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command that speaks to this cluster and return what it printed."""
        ended = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        assert not check or ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def wait(self, met, seconds: float, what: str, told=lambda: "") -> None:
        """Wait until a condition is met.

        Raises:
            TimeoutError: if it is not met in time; the daemons' logs are in the message.
        """
        end = time.monotonic() + seconds
        while not met():
            if time.monotonic() > end:
                logs = [p.read_text()[-2000:] for p in sorted(self.folder.glob("*.log"))]
                raise TimeoutError(f"no {what} within {seconds} s\n" + "\n".join(logs) + told())
            time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    """Return neighbouring ports that nobody listens on."""
    start = 21000 + os.getpid() % 5000
    for first in range(start, start + 5000, number):
        ports = list(range(first, first + number))
        try:
            sockets = [socket.create_server(("127.0.0.1", port)) for port in ports]
        except OSError:
            continue
        for opened in sockets:
            opened.close()
        return ports
    raise OSError("no free ports")
