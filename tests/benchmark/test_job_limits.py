"""Jobs ask a cluster for what their cells cost, and what its GPUs cannot hold is told."""

from pathlib import Path

import pytest
import yaml

from benchmark.__main__ import main
from benchmark.cell.cell import Cell
from benchmark.launchers.job_limits import seconds_of, too_large, with_limits
from benchmark.launchers.site_profile import Site
from benchmark.planning.cost import CellCost
from benchmark.planning.step_cost import CONTEXT_BYTES, TEMPORARIES, StepCost
from contract.errors import UserError

GIB = 2**30
HOUR = 1e12 * 3600
"""Operations of an hour at one TFLOP/s."""


def cell(name, **trainer):
    config = {
        "trainer": {"max_epochs": 1, **trainer},
        "data": {"init_args": {"preprocessing": {"size": 100}}},
    }
    return Cell("s", name, "p", 0, Path(name), "a", "b", lambda: config, "h", (1, 1, 1))


def cost(hours, gib=0.0):
    peak = CONTEXT_BYTES + TEMPORARIES * gib * GIB
    return CellCost(StepCost(0, 0, peak_bytes=peak), hours * HOUR, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("1:30", 90), ("12:00:00", 43200), ("2-00", 172800), ("1-02:03:04", 93784)],
)
def test_limits_are_read_as_slurm_reads_them(text, seconds):
    assert seconds_of(text) == seconds


def test_a_limit_that_cannot_be_read_is_told():
    with pytest.raises(UserError, match=r"time in the site profile: found 'soon'; expected \"12"):
        with_limits([], {}, Site(time="soon", gpu_tflops=1), 1)
    assert with_limits([], {}, Site(time="soon"), 1) == []  # SLURM will say it then


def test_each_job_asks_for_twice_what_its_cell_costs_within_half_an_hour_and_the_sites():
    cells = [cell("brief"), cell("hours"), cell("days"), cell("alone", devices=1), cell("unknown")]
    hours = {"brief": 0.1, "hours": 7.0, "days": 90.0, "alone": 7.0}
    found = {one.name: cost(hours[one.system]) for one in cells if one.system in hours}

    def asked(**site):
        limited = with_limits(cells, found, Site(gpus_per_node=2, **site), 2)
        return {one.system: limit for one, limit in limited}, [one.system for one, _ in limited]

    limits, order = asked(gpu_tflops=1, time="1-00:00:00")  # two GPUs, but for one of them
    assert limits == {"days": "", "unknown": "", "alone": "16:00:00", "hours": "8:00:00",
                      "brief": "0:30:00"}  # fmt: skip
    assert set(order[:2]) == {"days", "unknown"} and order[2:] == ["alone", "hours", "brief"]
    assert asked(gpu_tflops=1)[0]["days"] == "128:00:00"  # 90 hours on two, doubled
    assert set(asked(time="2:00:00")[0].values()) == {""}
    assert asked(gpu_tflops=1, time="4:00:00")[0]["hours"] == ""


def test_what_a_gpu_may_not_hold_is_told_by_system():
    cells = [cell("small"), cell("large"), cell("large", devices=1)]
    found = {one.name: cost(1, {"small": 5, "large": 40}[one.system]) for one in cells}
    assert too_large(cells[:2], found, Site(gpu_memory=80), 1) == []
    (told,) = too_large(cells[:2], found, Site(gpu_memory=40), 1)
    assert told.startswith("large needs some 47 GiB in 32 bits, of the 40 of a GPU")
    assert too_large(cells[:2], found, Site(gpu_memory=40), 2) == []  # they divide the batch
    assert too_large(cells, found, Site(), 1) == []


def test_a_dry_run_tells_both(write_suite, phantom_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    site = tmp_path / "site.yaml"
    given = {"gpus_per_node": 1, "gpu_tflops": 1, "gpu_memory": 1, "time": "12:00:00"}
    site.write_text(yaml.safe_dump(given))
    command = ["submit", "--dry-run", "--suite", str(write_suite()), "--site", str(site)]
    assert main([*command, "--runs", str(tmp_path), "--data-root", str(phantom_root)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "sbatch --parsable --array=0-0 --time=0:30:00 " in said
    assert "#SBATCH --time=12:00:00" in said  # what a job may ask for at most
    assert "adversarial_attention_unet needs some 2 GiB in 32 bits, of the 1 of a GPU" in said
