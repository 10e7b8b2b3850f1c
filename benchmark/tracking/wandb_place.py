"""Where W&B runs go: to the server or to the disk, and under which names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import wandb

DEFAULT_PROJECT = "lungbench"


def is_disabled() -> bool:
    """Tell whether W&B is switched off."""
    return os.environ.get("WANDB_MODE") == "disabled"


def is_offline() -> bool:
    """Tell whether runs stay on the disk: asked for, or no key is set."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return mode != "online"
    if os.environ.get("WANDB_API_KEY"):
        return False
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return _server() not in (netrc.read_text() if netrc.is_file() else "").split()


def _server() -> str:
    """Return the host of the server: W&B's own, or that of ``WANDB_BASE_URL``."""
    return urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname or "api.wandb.ai"


PICTURES = "LUNGBENCH_WANDB_PICTURES"
"""``1`` sends a few films of each cell, ``named`` their case ids too; else none leaves."""


def with_pictures() -> bool:
    """Tell whether pictures of films go along."""
    return os.environ.get(PICTURES) in ("1", "named")


def with_case_ids() -> bool:
    """Tell whether pictures are captioned with the ids of their cases."""
    return os.environ.get(PICTURES) == "named"


SWEEP, RUN = "WANDB_SWEEP_ID", "WANDB_RUN_ID"
OF_AN_AGENT = (SWEEP, RUN, "WANDB_SWEEP_PARAM_PATH")
"""What an agent of a sweep sets for the one run of the command that it starts."""


def run_of_sweep() -> str | None:
    """Return the id that a sweep's agent gave to the run that is to come; None without an agent."""
    return os.environ.get(RUN) if os.environ.get(SWEEP) else None


def project() -> str:
    """Return the project's name from ``WANDB_PROJECT``."""
    return os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT


def entity() -> str | None:
    """Return the user's or team's name from ``WANDB_ENTITY``, or None for the key's own."""
    return os.environ.get("WANDB_ENTITY") or None


def quiet_settings(**own: Any) -> wandb.Settings:
    """Return settings of a run that prints nothing and tells nothing of this machine.

    W&B would send reports of its own faults to its makers, those of a run on the disk too, unless
    ``WANDB_ERROR_REPORTING`` is false, as it is from here on where a user has not set it.

    Args:
        own: further settings.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb.Settings(
        silent=True, console="off", disable_git=True, disable_code=True, x_disable_meta=True,
        x_disable_machine_info=True, x_save_requirements=False, **own,
    )  # fmt: skip
