"""The NVIDIA GPUs of this machine, and whether the installed torch can use them.

Nothing here trains on the CPU because a GPU cannot be used: that would look like success.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from benchmark.start import command
from contract.errors import UserError

OLDEST_DRIVERS = {"13": 580, "12": 525, "11": 450}
"""The oldest driver of each of CUDA's major versions, by NVIDIA's table of compatibility."""
CELLS_PER_GPU = "LUNGBENCH_CELLS_PER_GPU"
"""Tells a cell's process how many cells share its GPUs."""
WHERE = "trainer.accelerator"
ON_PURPOSE = "or train on the CPU on purpose: --set trainer.accelerator=cpu (of `fit`: --{}=cpu)"


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the ids of the NVIDIA GPUs that may be used, without starting CUDA.

    ``CUDA_VISIBLE_DEVICES`` decides where it is set; otherwise ``nvidia-smi -L`` lists them, and
    without it SLURM tells which ones it gave to a step or a job. Where SLURM gave fewer than are
    listed (no cgroups hide the others), its word counts.
    """
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        ids = [entry.strip() for entry in given.split(",")]
        usable = [entry not in ("", "-1", "NoDevFiles") for entry in ids]
        # As CUDA reads it: what stands behind an invalid id does not count.
        return ids[: usable.index(False)] if False in usable else ids
    told = environment.get("SLURM_STEP_GPUS") or environment.get("SLURM_JOB_GPUS") or ""
    given_by_slurm = [entry for entry in told.split(",") if entry]
    if shutil.which("nvidia-smi") is None:
        return given_by_slurm
    listed, allotted = listed_gpus(_nvidia_smi("-L")), environment.get("SLURM_GPUS_ON_NODE", "")
    if allotted.isdigit() and int(allotted) < len(listed):
        return given_by_slurm or listed[: int(allotted)]
    return listed


def memory_of_gpus(gpus: Sequence[str]) -> dict[str, int]:
    """Return the bytes of each GPU's memory, of those that ``nvidia-smi`` describes.

    Args:
        gpus: ids or numbers, as ``CUDA_VISIBLE_DEVICES`` takes them.
    """
    asked = "--query-gpu=index,uuid,memory.total"
    told: dict[str, int] = {}
    for line in _nvidia_smi(asked, "--format=csv,noheader,nounits").splitlines():
        number, name, mebibytes = [*map(str.strip, line.split(",")), "", "", ""][:3]
        if mebibytes.isdigit():
            told |= dict.fromkeys((number, name), int(mebibytes) * 2**20)
    return {gpu: told[gpu] for gpu in gpus if gpu in told}


def _nvidia_smi(*words: str) -> str:
    """Return what ``nvidia-smi`` prints; nothing where it fails."""
    try:
        said = subprocess.run(
            ["nvidia-smi", *words], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout if said.returncode == 0 else ""


def listed_gpus(text: str) -> list[str]:
    """Read the output of ``nvidia-smi -L``; a divided GPU counts as its MIG parts.

    Args:
        text: lines such as ``GPU 0: NVIDIA A100 (UUID: GPU-5c1…)``, each followed by its parts.
    """
    found: list[list[str]] = []
    for line in text.splitlines():
        named = re.search(r"UUID: ([\w/-]+)\)", line)
        if named and line.startswith("GPU "):
            found.append([named[1]])
        elif named and found:
            found[-1].append(named[1])
    return [name for gpu in found for name in (gpu[1:] or gpu)]


def require_usable(gpus: Sequence[str]) -> None:
    """Refuse GPUs that torch cannot use; a process of its own asks, so that none holds CUDA here.

    Args:
        gpus: those that cells are to train on.

    Raises:
        UserError: naming driver and torch, and what to install.
    """
    words = command("benchmark.gpus")
    asked = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        reason = json.loads(asked.stdout.splitlines()[-1])["reason"]
    except (IndexError, ValueError):
        lines = asked.stderr.strip().splitlines()
        reason = f"torch does not load ({lines[-1] if lines else asked.returncode})"
    if reason:
        raise unusable(gpus, reason)


def unusable(gpus: Sequence[str], reason: str) -> UserError:
    """Return the error of GPUs that torch cannot use.

    Args:
        gpus: their ids.
        reason: why, in torch's words.
    """
    import torch

    built = torch.version.cuda
    driver = next(
        iter(_nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").split()), ""
    )
    found = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}"
    found += f" with driver {driver}" if driver else ""
    found += f", which torch {torch.__version__} cannot use: {reason}"
    oldest = OLDEST_DRIVERS.get((built or "").partition(".")[0])
    wanted = (
        f"an NVIDIA driver {oldest} or newer, for CUDA {built}" if oldest else "a torch for CUDA"
    )
    todo = "update the driver, or install a torch for yours (docs/installing.md), "
    return UserError(WHERE, found, wanted, todo + ON_PURPOSE.format(WHERE))


def why_not() -> str:
    """Return why torch cannot use a GPU in this process; nothing where it can. Starts CUDA."""
    import torch

    if torch.version.cuda is None:
        return "it was built without CUDA"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0].removesuffix(".")
    return "" if torch.cuda.device_count() else "CUDA lists none"


def main(arguments: Sequence[str]) -> int:
    """Print as JSON why torch cannot use a GPU."""
    print(json.dumps({"reason": why_not()}))
    return 0
