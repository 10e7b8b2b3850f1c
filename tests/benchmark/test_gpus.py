"""A machine whose GPUs torch cannot use: nothing trains on its CPU in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from benchmark.__main__ import main
from benchmark.cell.cli import require_seen
from benchmark.gpus import listed_gpus, memory_of_gpus, visible_gpus
from benchmark.launchers.packing import cells_that_fit
from benchmark.planning.plan import make_plan
from contract.errors import UserError

NVIDIA_SMI = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c1d)
  MIG 3g.20gb     Device  0: (UUID: MIG-aa11)
  MIG 3g.20gb     Device  1: (UUID: MIG-bb22)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-77ef)
"""

FAKE = """#!/bin/sh
case "$*" in
    -L) echo 'GPU 0: NVIDIA A100 (UUID: GPU-aa11)'; echo 'GPU 1: NVIDIA A100 (UUID: GPU-bb22)' ;;
    *memory.total*) echo '0, GPU-aa11, 40960'; echo '1, GPU-bb22, 24576' ;;
    *driver_version*) echo 535.104.05; echo 535.104.05 ;;
    *) exit 1 ;;
esac
"""
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """Two GPUs that ``nvidia-smi`` lists and torch cannot use."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def arguments(
    folder: Path, root: Path, systems: tuple[str, ...] = ("mean_shape",), **overrides: object
) -> list[str]:
    suite = {"systems": list(systems), "protocols": ["m_to_s"],
             "overrides": {"preprocessing.size": 32, **overrides}}  # fmt: skip
    (folder / "one.yaml").write_text(yaml.safe_dump(suite))
    return ["--suite", str(folder / "one.yaml"), "--runs", str(folder / "runs"),
            "--data-root", str(root)]  # fmt: skip


@without_cuda
@pytest.mark.parametrize("in_a_job", [False, True])
def test_a_run_is_refused_before_any_cell(in_a_job, two_gpus, tmp_path, phantom_root, capfd,
                                          monkeypatch):  # fmt: skip
    if in_a_job:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert main(["run", *arguments(tmp_path, phantom_root), "--launcher", "auto"]) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "trainer.accelerator: found 2 GPUs with driver 535.104.05, which torch" in said
    assert "expected an NVIDIA driver" in said or "expected a torch for CUDA" in said
    assert "docs/installing.md" in said and "--set trainer.accelerator=cpu" in said
    assert not list((tmp_path / "runs").rglob("cell.json"))


@without_cuda
@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_task_of_a_job_fails_in_words(device, two_gpus, tiny_cell, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("LUNGBENCH_SRUN", "1")
    out = tmp_path / "out"
    words = ["fit", "--config", str(tiny_cell()), "--out", str(out)]
    assert main([*words, f"--trainer.accelerator={device}"]) == 2
    record = json.loads((out / "cell.json").read_text())
    assert record["state"] == "failed"
    assert record["reason"].startswith("trainer.accelerator: found 2 GPUs with driver 535.104.05")
    assert "Traceback" not in capfd.readouterr().err and not list(out.rglob("*.ckpt"))


def test_a_batch_that_processes_do_not_divide_is_refused_before_any_cell(
    tmp_path, phantom_root, capsys
):
    given = arguments(tmp_path, phantom_root, batch_size=4, systems=("unet",))
    assert main(["run", *given, "--launcher", "local", "--devices", "3"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "unet (4): not divisible by 3 processes" in told and "--devices" in told
    assert not list((tmp_path / "runs").rglob("cell.json"))


@pytest.mark.parametrize(("in_a_job", "told"), [(True, "--gpus-per-task"), (False, "MIG")])
def test_a_process_that_sees_too_few_gpus_says_what_hides_them(in_a_job, told, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    if in_a_job:
        monkeypatch.setenv("LUNGBENCH_SRUN", "1")
    with pytest.raises(UserError, match=f"1 GPU seen by a process; expected all 2.*{told}"):
        require_seen("2")
    require_seen(1)
    require_seen("auto")


def test_gpus_are_found_without_cuda(tmp_path, monkeypatch):
    assert listed_gpus(NVIDIA_SMI) == ["MIG-aa11", "MIG-bb22", "GPU-77ef"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2, GPU-77ef"}) == ["2", "GPU-77ef"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "1,-1,3"}) == ["1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ $1 = -L ] && cat <<'E'\n{NVIDIA_SMI}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert visible_gpus({}) == ["MIG-aa11", "MIG-bb22", "GPU-77ef"]
    shared_node = {"SLURM_GPUS_ON_NODE": "2"}
    assert visible_gpus(shared_node) == ["MIG-aa11", "MIG-bb22"]
    assert visible_gpus({**shared_node, "SLURM_JOB_GPUS": "1,2"}) == ["1", "2"]
    assert len(visible_gpus({"SLURM_GPUS_ON_NODE": "3", "SLURM_JOB_GPUS": "0,1,2"})) == 3
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' && exit 9\n")
    assert visible_gpus({}) == []
    (tmp_path / "nvidia-smi").unlink()
    assert visible_gpus({"SLURM_JOB_GPUS": "2,3"}) == ["2", "3"]
    assert visible_gpus({"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "3"}) == ["3"]


def test_gpus_tell_their_memory_by_number_and_by_id(two_gpus):
    gib = 2**30
    assert memory_of_gpus(["GPU-bb22", "0"]) == {"GPU-bb22": 24 * gib, "0": 40 * gib}
    assert memory_of_gpus(["MIG-aa11"]) == {}


def test_as_many_cells_share_a_gpu_as_fit_its_memory(two_gpus, tmp_path, phantom_root):
    def fit(gpus: list[str], systems: list[str], devices: int = 1, **overrides: object):
        suite = {"systems": systems, "protocols": ["m_to_s"], "overrides": overrides}
        (tmp_path / "one.yaml").write_text(yaml.safe_dump(suite))
        plan = make_plan(str(tmp_path / "one.yaml"), tmp_path / "runs", phantom_root)
        return cells_that_fit(plan.cells, devices, gpus)

    both = ["GPU-aa11", "GPU-bb22"]
    assert fit(both, ["mean_shape", "unet"], **{"preprocessing.size": 32})[0] == 3
    # The smaller card decides, and the largest cell: some 11 GiB at half its batch.
    large, half = ["mean_shape", "adversarial_attention_unet"], {"batch_size": 4}
    count, why = fit(both, large, **half)
    assert count == 1 and fit(["GPU-aa11"], large, **half)[0] == 3
    assert fit(both, large, devices=2, **half)[0] == 3
    assert fit(["GPU-aa11"], large)[0] == 1
    assert "1 a GPU" in why and "adversarial_attention_unet" in why and "24 GiB" in why
    with pytest.raises(UserError, match="MIG-cc33: memory unknown"):
        fit([*both, "MIG-cc33"], ["mean_shape"])
    with pytest.raises(UserError, match="no GPU on this machine"):
        fit([], ["mean_shape"])


def test_packing_by_cost_reaches_the_launcher(two_gpus, tmp_path, phantom_root, capfd):
    given = arguments(tmp_path, phantom_root)
    assert main(["run", *given, "--launcher", "local", "--cells-per-gpu", "auto"]) == 2
    said = capfd.readouterr()
    assert "3 a GPU: of all cells mean_shape" in said.out and "driver 535.104.05" in said.err
    with pytest.raises(SystemExit):
        main(["run", *given, "--cells-per-gpu", "some"])
    assert "'some' is no whole number from 1, nor auto" in capfd.readouterr().err
