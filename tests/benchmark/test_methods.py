"""The methods section of a suite's leaderboard, read against the configs of its cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from finished_cells import finish

from benchmark.cell.cell import Cell
from benchmark.planning.plan import make_plan
from contract.cell_folder import CellFolder
from leaderboards.board import build_leaderboard

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?!\w)")
DRAWS = 20
FIXED = {95.0, 2.0, 0.0, 0.005, float(DRAWS)}
"""Of the text itself: 95 %, NSD at 2 mm, a missed case's Dice, practically equal, draws."""


def numbers(text: str) -> set[float]:
    return {float(found.replace(",", "")) for found in NUMBER.findall(text)}


@pytest.fixture(scope="module", params=["smoke", "pairings", "zoo", "measured"])
def told(request, tmp_path_factory, phantom_root) -> tuple[list[Cell], Path]:
    """The cells of a suite that the phantoms can train, and the suite's leaderboard."""
    runs = tmp_path_factory.mktemp(request.param)
    plan = make_plan(request.param, runs, phantom_root)
    cells = [cell for cell in plan.cells if cell.config is not None and cell.seed == 0]
    for cell in cells:
        finish(cell)
    return cells, build_leaderboard(plan.folder, draws=DRAWS)


def paragraphs(folder: Path) -> list[str]:
    text = (folder / "methods.md").read_text("utf-8")
    return re.sub(r"(?<!\\)\[@[^\]]*\]", "", text).split("\n\n")


def recorded(cells: list[Cell]) -> str:
    texts = [CellFolder(c.folder).config.read_text() for c in cells]
    return "\n".join([*texts, *(CellFolder(c.folder).record_file.read_text() for c in cells)])


def test_every_number_of_the_methods_is_one_of_the_configs(told) -> None:
    cells, folder = told
    systems, protocols = ({getattr(c, name) for c in cells} for name in ("system", "protocol"))
    known = numbers(recorded(cells)) | FIXED
    known |= {float(cell.counts[0] + cell.counts[1]) for cell in cells}  # labelled ones in all
    known |= {float(len(protocols)), float(len(systems - {"mean_shape"})), 1.0}
    for paragraph in paragraphs(folder):
        if paragraph.startswith("Provenance"):
            continue
        own = next((name for name in systems if paragraph.startswith(f"**{name} ")
                    or paragraph.startswith(f"**{name}**")), None)  # fmt: skip
        source = numbers(recorded([c for c in cells if c.system == own])) if own else known
        assert numbers(paragraph) <= source, paragraph


def test_the_methods_tell_how_each_system_was_trained(told) -> None:
    cells, folder = told
    found = paragraphs(folder)
    for cell in cells:
        if cell.system == "mean_shape":
            continue
        said = next(p for p in found if re.match(rf"\*\*{cell.system}( †)? ?\*\*", p))
        assert cell.config is not None
        data, model = (cell.config[name]["init_args"] for name in ("data", "model"))
        optimiser = model["generator_optimizer"]
        size = data["preprocessing"]["size"]
        for fact in (
            f"input {size} x {size} pixels",
            f"batch {data['batch_size']}",
            f"epochs {cell.config['trainer']['max_epochs']}",
            f"loss {model['loss']['class_path'].rpartition('.')[2]}",
            f"optimiser {optimiser['class_path'].rpartition('.')[2]}",
            f"lr {optimiser['init_args']['lr']}",
            "tested weights",
            "augmentation",
        ):
            assert fact in said, f"{cell.system}: {fact}"
        after = cell.config["cell"]["checkpoint_after"]
        assert bool(after) == (f"epochs after the first {after}," in said)
        assert bool(after and model.get("critic")) == ("in which the critic plays" in said)
        critic = (model.get("critic") or {}).get("class_path", "").rpartition(".")[2]
        assert not critic or f"critic {critic}" in said


def test_only_systems_whose_recipe_no_test_set_saw_are_called_so(told) -> None:
    cells, folder = told
    plain = next(p for p in paragraphs(folder) if "adjusted in sight" in p or "No test case" in p)
    before, _, after = plain.partition("The recipe of")
    abouts = {c.system: c.config["cell"]["about"]["system"] for c in cells if c.config}
    seen = {system for system, about in abouts.items() if "chosen_on" in about}
    assert {name for name in seen if f"`{name}`" in before} == set()
    assert {name for name in seen if f"`{name}`" in after} == seen
    assert seen == {"lung_baseline"} & abouts.keys()
    page = (folder / "leaderboard.md").read_text("utf-8").replace("\\_", "_")
    rows = [line for line in page.splitlines() if re.match(r"\| [\d–]", line)]
    for name in {cell.system for cell in cells}:
        own = [row for row in rows if f"| {name} |" in row or f"| {name} " in row]
        assert own and all((" † |" in row) == (name in seen) for row in own), name
    assert ("† Recipe adjusted in sight of the test set of shenzhen." in page) == bool(seen)
