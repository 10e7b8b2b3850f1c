"""Lightning's processes of one cell on one machine, watched by the first of them."""

from __future__ import annotations

import subprocess
from typing import Any

from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from benchmark.cell.peers import Peers
from lightning_modules.joined import NetworkDDPStrategy


class WatchedLauncher(_SubprocessScriptLauncher):
    """Starts the further processes as Lightning does, and has them watched by this project.

    Lightning's own watch kills this process, too, without a word on why.

    Args:
        peers: watches.
        given: Lightning's arguments.
    """

    def __init__(self, peers: Peers, *given: Any) -> None:
        super().__init__(*given)
        self._peers = peers
        self._watched: list[subprocess.Popen[bytes]] = []

    def _call_children_scripts(self) -> None:
        super()._call_children_scripts()
        self._watched, self.procs = self.procs, []  # Lightning watches those that stand there
        self._peers.watch(self._watched)

    def kill(self, signum: Any) -> None:
        """Send a signal to the processes that this one started."""
        for process in self._watched:
            process.send_signal(signum)


class WatchedDDPStrategy(NetworkDDPStrategy):
    """DDP whose processes end together; see ``Peers``.

    Args:
        peers: looks after the processes; None leaves that to Lightning.
        given: arguments of ``DDPStrategy``.
    """

    def __init__(self, peers: Peers | None, **given: Any) -> None:
        super().__init__(**given)
        self._peers = peers

    def _configure_launcher(self) -> None:
        super()._configure_launcher()
        if self._peers is not None and isinstance(self._launcher, _SubprocessScriptLauncher):
            environment = self.cluster_environment
            self._launcher = WatchedLauncher(
                self._peers, environment, self.num_processes, self.num_nodes
            )
