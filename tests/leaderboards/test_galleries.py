"""Galleries on disk to the page's album: seeds, shared films, the budget, and damaged files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_gallery import films, write_galleries
from synthetic_rows import suite_cells, suite_rows

from leaderboards.page.galleries import Album, read_galleries, svg_path, within_budget

PROTOCOLS = {"m_to_s": ("montgomery", "shenzhen"), "s_to_m": ("shenzhen", "montgomery")}
SYSTEMS = ["unet", "scan", "gan"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    write_galleries(folder, suite_rows(SYSTEMS, PROTOCOLS, 1, 20), films(40))
    return folder


@pytest.fixture
def album(suite: Path) -> Album:
    return read_galleries(suite, suite_cells(SYSTEMS, PROTOCOLS, 2))


def test_every_system_and_protocol_has_fifteen_tiles_of_its_lowest_seed(album: Album) -> None:
    assert {(c.system, c.protocol) for c in album.cells} == {
        (system, protocol) for system in SYSTEMS for protocol in PROTOCOLS
    }
    assert all((len(cell.tiles), cell.seed) == (15, 0) for cell in album.cells)
    assert [c.system for c in album.of("m_to_s", ["scan", "gan", "unet"])] == [
        "scan",
        "gan",
        "unet",
    ]


def test_a_film_that_systems_share_stands_once(album: Album) -> None:
    tiles = [tile for cell in album.cells for tile in cell.tiles]
    assert len(album.pictures) < 0.6 * len(tiles)
    assert {tile.picture.identity for tile in tiles} == {p.identity for p in album.pictures}


def test_a_lowest_seed_without_pictures_is_not_replaced_by_another(suite: Path) -> None:
    album = read_galleries(suite, suite_cells(["other"], PROTOCOLS, 2))
    assert album.without == (("other", "m_to_s"), ("other", "s_to_m"))
    assert album.cells == ()


def test_the_budget_leaves_out_the_lower_ranks_and_names_them(album: Album) -> None:
    ranks = {(s, p): k + 1 for k, s in enumerate(SYSTEMS) for p in PROTOCOLS}
    whole = within_budget(album, ranks)
    assert len(whole.cells) == 6 and whole.over_budget == ()
    heavy = sum(len(p.svg) for p in album.pictures)
    some = within_budget(album, ranks, heavy // 2)
    kept = {(cell.system, cell.protocol) for cell in some.cells}
    assert 0 < len(kept) < 6
    assert kept | set(some.over_budget) == set(ranks)
    worst_kept = max(ranks[pair] for pair in kept)
    assert all(ranks[pair] >= worst_kept for pair in some.over_budget)


def _name(case: dict[str, object], name: str) -> None:
    case["picture"] = name


DAMAGE: dict[str, Callable[[Path, dict[str, object]], object]] = {
    "cut short": lambda folder, _: (folder / "gallery.json").write_text('{"format": 1, "ca'),
    "another format": lambda folder, content: content.update(format=2),
    "a path for a name": lambda folder, content: _name(content["cases"][0], "../../../etc/passwd"),
    "an absent picture": lambda folder, content: _name(content["cases"][0], "0" * 32 + ".webp"),
    "a page for a picture": lambda folder, content: (
        folder / str(content["cases"][0]["picture"])
    ).write_text("<script>alert(1)</script>"),
    "words for numbers": lambda folder, content: content["cases"][0].update(
        prediction_contours=[['"/><script>', 1]]
    ),
    "half a point": lambda folder, content: content["cases"][0].update(
        prediction_contours=[[1, 2, 3]]
    ),
    "an unknown kind": lambda folder, content: content["cases"][0].update(kind="ugly"),
    "no Dice": lambda folder, content: content["cases"][0].update(dice=None),
    "a list": lambda folder, _: (folder / "gallery.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_gallery_is_named(damage: str, tmp_path: Path) -> None:
    one = {"m_to_s": PROTOCOLS["m_to_s"]}
    write_galleries(tmp_path, suite_rows(["unet"], one, 1, 15), films(15))
    folder = tmp_path / "cells" / "unet" / "m_to_s" / "seed-0" / "gallery"
    content = json.loads((folder / "gallery.json").read_text())
    before = json.dumps(content)
    DAMAGE[damage](folder, content)
    if json.dumps(content) != before:
        (folder / "gallery.json").write_text(json.dumps(content))
    said: list[str] = []
    album = read_galleries(tmp_path, suite_cells(["unet"], one, 1), said.append)
    assert len(said) == 1 and re.search(r"gallery\.json: found .* test the cell again", said[0])
    assert album.cells == () and album.without == (("unet", "m_to_s"),)


def test_outlines_are_relative_whole_half_pixels() -> None:
    square = [1.0, 2.0, 3.5, 2.0, 3.5, 4.0]
    assert svg_path([square]) == "M2 4l5 0 0 4z"
    assert svg_path([[4.0, 4.0, 2.0, 3.0], [1.0, 1.0]]) == "M8 8l-4-2zM2 2l1 0z"
