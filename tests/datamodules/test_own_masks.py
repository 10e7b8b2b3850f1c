"""Ways in which people save masks: each is read as it is meant, or refused with what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DataError, UserError
from datamodules.checks.integrity import check
from datamodules.digests import no_progress
from datamodules.foreign.predicted_masks import labels_of, read_structures
from datamodules.grounding import DataRoot
from datamodules.sources import open_source

H, W = 64, 56
IDS = ("a1", "a2", "b3")
Pixels = NDArray[Any]
Save = Callable[[Path, Pixels], None]


def sides(number: int = 0) -> Pixels:
    """The right lung 1, the left lung 2; the patient's left at the image's right."""
    mask = np.zeros((H, W), np.uint8)
    mask[10 + number : 50, 6:22], mask[10 + number : 46, 32:50] = 1, 2
    return mask


def values_of(*values: int, dtype: type = np.uint8) -> Save:
    """Save background, right and left lung as three values."""
    return lambda stem, mask: Image.fromarray(np.array(values, dtype)[mask]).save(f"{stem}.png")


def colours_of(*colours: tuple[int, ...]) -> Save:
    return lambda stem, mask: Image.fromarray(np.array(colours, np.uint8)[mask]).save(f"{stem}.png")


def palette_of(*colours: tuple[int, int, int]) -> Save:
    def save(stem: Path, mask: Pixels) -> None:
        image = Image.fromarray(mask)
        image.putpalette([channel for colour in colours for channel in colour])
        image.save(f"{stem}.png")

    return save


def jpeg_of(*values: int, quality: int = 75, mode: str = "L") -> Save:
    def save(stem: Path, mask: Pixels) -> None:
        image = Image.fromarray(np.array(values, np.uint8)[mask]).convert(mode)
        image.save(f"{stem}.jpg", quality=quality)

    return save


def pages_of(*parts: tuple[int, ...]) -> Save:
    """Save a TIFF file with a page for each tuple of labels."""

    def save(stem: Path, mask: Pixels) -> None:
        pages = [Image.fromarray(np.isin(mask, part) * np.uint8(255)) for part in parts]
        pages[0].save(f"{stem}.tif", save_all=True, append_images=pages[1:])

    return save


def smooth(stem: Path, mask: Pixels) -> None:
    large = Image.fromarray((mask > 0) * np.uint8(255)).resize((4 * W, 4 * H), 0)
    large.resize((W, H), Image.Resampling.BICUBIC, box=(1, 1, 4 * W - 2, 4 * H - 2)).save(
        f"{stem}.png"
    )


def as_bits(stem: Path, mask: Pixels) -> None:
    Image.fromarray(mask > 0).save(f"{stem}.png")


def as_gif(stem: Path, mask: Pixels) -> None:
    Image.fromarray((mask > 0) * np.uint8(255)).save(f"{stem}.bmp")


def noise(stem: Path, mask: Pixels) -> None:
    grey = np.random.default_rng(len(stem.name)).normal(120, 40, mask.shape).clip(0, 255)
    Image.fromarray(grey.astype(np.uint8)).save(f"{stem}.png")


def only_one_white(stem: Path, mask: Pixels) -> None:
    lungs = np.ones_like(mask) if stem.name == IDS[1] else mask > 0
    Image.fromarray(lungs.astype(np.uint8) * 255).save(f"{stem}.png")


def another_value_in_one(stem: Path, mask: Pixels) -> None:
    value = 60 if stem.name == IDS[1] else 200
    Image.fromarray((mask > 0) * np.uint8(value)).save(f"{stem}.png")


def one_and_255(stem: Path, mask: Pixels) -> None:
    value = 1 if stem.name == IDS[1] else 255
    Image.fromarray((mask > 0) * np.uint8(value)).save(f"{stem}.png")


def turned(stem: Path, mask: Pixels) -> None:
    square = np.zeros((W, H), bool)
    square[...] = np.rot90(mask > 0)
    padded = np.zeros((H, W), np.uint8)
    padded[: min(H, W), : min(H, W)] = square[: min(H, W), : min(H, W)] * np.uint8(255)
    Image.fromarray(padded).save(f"{stem}.png")


def marked(stem: Path, mask: Pixels) -> None:
    """Save it turned, with an EXIF orientation that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90((mask > 0) * np.uint8(255)))
    Image.fromarray(stored).save(f"{stem}.png", exif=exif)


@dataclass(frozen=True)
class Way:
    """A way of saving masks.

    Attributes:
        save: writes a mask of sides.
        labels: what the description says.
        kind: what the check calls the fault; empty where they are read.
        told: what the message tells of it.
        proposed: the labels that the message proposes.
        scored: whether ``score`` reads them too; it wants hard masks without loss.
    """

    save: Save
    labels: dict[str, Any] | None = None
    kind: str = ""
    told: str = ""
    proposed: dict[str, Any] | None = None
    scored: bool = True


BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0)
CLEAR, SOLID = (255, 255, 255, 0), (255, 255, 255, 255)
TWO = {"right_lung": 100, "left_lung": 200}
REDS = {"right_lung": "#ff0000", "left_lung": "#00ff00"}
PAGES = {"right_lung": "page 1", "left_lung": "page 2"}
WAYS = {
    "0 and 1": Way(values_of(0, 1, 1)),
    "0 and 255": Way(values_of(0, 255, 255)),
    "0 and 100": Way(values_of(0, 100, 100)),
    "16 bits": Way(values_of(0, 65535, 65535, dtype=np.uint16)),
    "16 bits, 0 and 1": Way(values_of(0, 1, 1, dtype=np.uint16)),
    "16 bits, two values": Way(
        values_of(0, 30000, 60000, dtype=np.uint16), None, "several_greys",
        "3 grey levels: 0 in 67%, 30000 in 18%, 60000 in 18%"[:20],
        {"right_lung": 30000, "left_lung": 60000},
    ),
    "one bit": Way(as_bits),
    "bitmap": Way(as_gif),
    "smooth edges": Way(smooth, scored=False),
    "JPEG": Way(jpeg_of(0, 255, 255), scored=False),
    "JPEG of low quality": Way(jpeg_of(0, 255, 255, quality=15), scored=False),
    "JPEG in colours": Way(jpeg_of(0, 255, 255, mode="RGB"), scored=False),
    "JPEG of two greys": Way(
        jpeg_of(0, 110, 220), None, "several_greys", "without loss", {}, scored=False
    ),
    "a grey a lung": Way(values_of(0, 100, 200), None, "several_greys", "100 in", TWO),
    "a grey a lung, declared": Way(values_of(0, 100, 200), TWO),
    "labels 1 and 2": Way(
        values_of(0, 1, 2), None, "several_greys", "1 in", {"right_lung": 1, "left_lung": 2}
    ),
    "1 for background": Way(
        values_of(1, 2, 2), None, "several_greys", "2 grey levels: 1 in", {"lungs": 2}
    ),
    "inverted": Way(values_of(255, 0, 0), None, "inverted", "100% of the border", {"lungs": 0}),
    "inverted, declared": Way(values_of(255, 0, 0), {"lungs": 0}, scored=False),
    "all white": Way(values_of(255, 255, 255), None, "all_lung", "edge to edge", {}),
    "one is all white": Way(only_one_white, None, "all_lung", "edge to edge", {}),
    "another value in one": Way(
        another_value_in_one, None, "several_greys", "masks of 2 levels: 200 in 2",
        {"lungs": [200, 60]},
    ),
    "1 in one, 255 in others": Way(one_and_255),
    "a colour a lung": Way(
        colours_of(BLACK, RED, GREEN), None, "colours", "#ff0000 (red)", REDS
    ),
    "a colour a lung, declared": Way(colours_of(BLACK, RED, GREEN), REDS),
    "one colour": Way(colours_of(BLACK, RED, RED)),
    "one colour on white": Way(
        colours_of(WHITE, RED, RED), None, "colours", "#ffffff (white)", {"lungs": "#ff0000"}
    ),
    "grey in RGB": Way(colours_of(BLACK, WHITE, WHITE)),
    "alpha": Way(colours_of(CLEAR, SOLID, SOLID)),
    "alpha, declared": Way(colours_of(CLEAR, SOLID, SOLID), {"lungs": "alpha"}),
    "alpha as grey": Way(colours_of((0, 0, 0, 0), SOLID, SOLID)),
    "alpha and colours differ": Way(
        colours_of((0, 0, 0, 255), SOLID, (255, 255, 255, 9)), None, "alpha", "alpha 9 in",
        {"lungs": "alpha"},
    ),
    "a palette": Way(palette_of(BLACK, RED, RED)),
    "a palette of two colours": Way(
        palette_of(BLACK, RED, GREEN), None, "colours", "palette indices 0, 1, 2",
        {"right_lung": 1, "left_lung": 2},
    ),
    "a palette, declared": Way(
        palette_of(BLACK, RED, GREEN), {"right_lung": 1, "left_lung": 2}
    ),
    "a palette, colours declared": Way(palette_of(BLACK, RED, GREEN), REDS),
    "a page a lung": Way(pages_of((1,), (2,)), None, "pages", "2 pages (page 1 fills", PAGES),
    "a page a lung, declared": Way(pages_of((1,), (2,)), PAGES),
    "three pages": Way(pages_of((1, 2), (1,), (2,)), None, "pages", "3 pages", {}),
    "a page of three, declared": Way(pages_of((1,), (1, 2), (2,)), {"lungs": "page 2"}),
    "a film": Way(noise, None, "grey_picture", "a film", {}, scored=False),
    "sides exchanged": Way(
        values_of(0, 100, 200), {"right_lung": 200, "left_lung": 100}, "sides_exchanged",
        "patient's left", {},
    ),
    "marked and turned": Way(marked),
}  # fmt: skip


def write(home: Path, save: Save, labels: dict[str, Any] | None) -> Path:
    for folder in ("films", "masks"):
        (home / folder).mkdir(parents=True)
    for number, case_id in enumerate(IDS):
        grey = np.random.default_rng(number).integers(100, 256, (H, W), dtype=np.uint8)
        grey[sides(number) > 0] //= 4
        Image.fromarray(grey).save(home / f"films/{case_id}.png")
        save(home / "masks" / case_id, sides(number))
    about = {"images": "films", "masks": "masks", **({"labels": labels} if labels else {})}
    (home / "own.yaml").write_text(yaml.safe_dump(about))
    return home / "own.yaml"


def opened(file: Path, home: Path) -> Any:
    return DataRoot(home, home / "cache", no_progress).open(str(file))


def proposal_in(text: str) -> dict[str, Any]:
    """The labels that a message proposes, as they would be pasted."""
    if "labels: {" not in text:
        return {}
    line = text[text.index("labels: {") :]
    return dict(yaml.safe_load(line[: line.index("}") + 1])["labels"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_masks_are_read_as_they_are_meant_or_refused_before_anything_trains(
    tmp_path: Path, way: Way
) -> None:
    file = write(tmp_path, way.save, way.labels)
    (report,) = check(tmp_path, [str(file)], {})
    if way.kind:
        assert {problem.kind for problem in report.problems} == {way.kind}
        assert not report.sound
        with pytest.raises(DataError) as caught:
            opened(file, tmp_path)
        assert way.told in str(caught.value)
        assert proposal_in(str(caught.value)) == (way.proposed or {})
        assert caught.value.kind == way.kind
    else:
        assert report.sound, str(report.problems[0])
        source = opened(file, tmp_path).source
        for number, case in enumerate(source.cases()):
            masks = source.read_masks(case, (H, W))
            wrong = masks["lungs"] != (sides(number) > 0)
            assert wrong.sum() <= (0 if way.scored else 150)
            for value, side in ((1, "right_lung"), (2, "left_lung")):
                if side in masks:
                    assert np.array_equal(masks[side], sides(number) == value)


@pytest.mark.parametrize(
    "name",
    [n for n, w in WAYS.items() if w.proposed and w.kind != "alpha" and "value in" not in n],
)
def test_what_a_message_proposes_is_right(tmp_path: Path, name: str) -> None:
    way = WAYS[name]
    file = write(tmp_path, way.save, way.proposed)
    source = opened(file, tmp_path).source
    for number, case in enumerate(source.cases()):
        masks = source.read_masks(case, (H, W))
        assert np.array_equal(masks["lungs"], sides(number) > 0)


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.scored])
def test_score_reads_the_same_files_alike(tmp_path: Path, name: str) -> None:
    way = WAYS[name]
    if way.kind in ("inverted", "all_lung", "sides_exchanged") or "value in" in name:
        return  # told of the whole folder, where most masks are so
    write(tmp_path, way.save, way.labels)
    stated = [f"{key}={str(value).replace(' ', '')}" for key, value in (way.labels or {}).items()]
    for number, path in enumerate(sorted((tmp_path / "masks").iterdir())):
        if way.kind:
            with pytest.raises(DataError, match=r"masks"):
                read_structures(path, labels_of(tmp_path, stated))
        else:
            masks = read_structures(path, labels_of(tmp_path, stated))
            assert np.array_equal(masks["lungs"], sides(number) > 0)


def test_a_mask_that_lies_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, turned, None)
    with pytest.raises(DataError, match="one lung above the other"):
        opened(file, tmp_path)


def test_a_mask_that_fits_its_film_only_unturned_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, values_of(0, 255, 255), None)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (tmp_path / "films").iterdir():
        with Image.open(path) as film:
            grey = film.convert("L")
        grey.save(path, exif=exif)
    with pytest.raises(DataError, match="the film's EXIF orientation turns it") as caught:
        opened(file, tmp_path)
    assert caught.value.kind == "mismatched"


def test_masks_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, values_of(0, 255, 255), None)
    opened(file, tmp_path)
    monkeypatch.setattr("datamodules.mask_survey._look", lambda *_: pytest.fail("read again"))
    opened(file, tmp_path)
    monkeypatch.undo()
    Image.fromarray(np.full((H, W), 255, np.uint8)).save(tmp_path / "masks" / "a2.png")
    with pytest.raises(DataError, match=r"edge to edge.*1 of 3"):
        opened(file, tmp_path)


def in_one_folder(home: Path, about: dict[str, Any], names: dict[str, str]) -> Path:
    """Films and masks in one folder; names by what they are of."""
    (home / "all").mkdir(parents=True)
    for number, case_id in enumerate(IDS):
        mask = sides(number)
        parts = {"film": 120 - 60 * (mask > 0), "lungs": 255 * (mask > 0)}
        parts |= {"left_lung": 255 * (mask == 2), "right_lung": 255 * (mask == 1)}
        for part, name in names.items():
            grey = parts[part].astype(np.uint8)
            Image.fromarray(grey).save(home / "all" / name.format(id=case_id))
    (home / "own.yaml").write_text(yaml.safe_dump({"images": "all", "masks": "all", **about}))
    return home / "own.yaml"


@pytest.mark.parametrize(
    ("about", "names"),
    [
        (
            {"image_name": "{id}.png", "mask_name": "{id}_mask.png"},
            {"film": "{id}.png", "lungs": "{id}_mask.png"},
        ),
        ({"mask_name": "{id}_mask.*"}, {"film": "{id}.png", "lungs": "{id}_mask.bmp"}),
        ({"mask_name": "mask_{id}.png"}, {"film": "{id}.png", "lungs": "mask_{id}.png"}),
        (
            {"image_name": "img_{id}.png", "mask_name": "lung_{id}.png"},
            {"film": "img_{id}.png", "lungs": "lung_{id}.png"},
        ),
        (
            {"image_name": "{id}.png", "mask_name": "{id}.bmp"},
            {"film": "{id}.png", "lungs": "{id}.bmp"},
        ),
        (
            {"mask_name": {"left_lung": "{id}_left.png", "right_lung": "{id}_right.png"}},
            {"film": "{id}.png", "left_lung": "{id}_left.png", "right_lung": "{id}_right.png"},
        ),
    ],
)
def test_films_and_masks_lie_in_one_folder(
    tmp_path: Path, about: dict[str, Any], names: dict[str, str]
) -> None:
    file = in_one_folder(tmp_path, about, names)
    source = opened(file, tmp_path).source
    assert source.official_ids == IDS
    for number, case in enumerate(source.cases()):
        assert np.array_equal(source.read_masks(case, (H, W))["lungs"], sides(number) > 0)
    (report,) = check(tmp_path, [str(file)], {})
    assert report.sound and report.images == len(IDS)


def test_a_mask_without_its_film_is_no_film(tmp_path: Path) -> None:
    about = {"mask_name": "{id}_mask.png"}
    file = in_one_folder(tmp_path, about, {"film": "{id}.png", "lungs": "{id}_mask.png"})
    (tmp_path / "all" / "a1.png").unlink()
    with pytest.raises(DataError, match="no image for 1 cases: a1"):
        opened(file, tmp_path)
    for name in ("a1_mask.png", "a1_mask_mask.png"):
        (tmp_path / "all" / name).write_bytes((tmp_path / "all" / "a2_mask.png").read_bytes())
    assert "a1_mask" in opened(file, tmp_path).source.official_ids


def test_one_pattern_for_films_and_masks_is_refused(tmp_path: Path) -> None:
    file = in_one_folder(tmp_path, {}, {"film": "{id}.png"})
    with pytest.raises(UserError, match="for two kinds of files"):
        open_source(str(file), tmp_path)


@pytest.mark.parametrize("name", [b"f\xff.png", b"a\nb.png", "a\u2028b.png".encode()])
def test_file_names_that_tables_cannot_hold_are_refused(tmp_path: Path, name: bytes) -> None:
    file = write(tmp_path, values_of(0, 255, 255), None)
    for folder in ("films", "masks"):
        (tmp_path / folder / "a1.png").rename(tmp_path / folder / os.fsdecode(name))
    with pytest.raises(DataError, match=r"the file name '.*rename the file") as caught:
        opened(file, tmp_path)
    str(caught.value).encode()
    (report,) = check(tmp_path, [str(file)], {})
    assert [problem.kind for problem in report.problems] == ["odd_name"] and not report.sound


def test_one_folder_may_be_described_twice_but_not_under_one_name(tmp_path: Path) -> None:
    file = write(tmp_path, values_of(0, 255, 255), None)
    data = DataRoot(tmp_path, tmp_path / "cache", no_progress)
    data.open(str(file))
    other = file.with_name("other.yaml")
    other.write_text(file.read_text())
    assert data.open(str(other)).source.name == "other"
    reports = check(tmp_path, [str(file), str(other)], {})
    assert all(report.sound for report in reports)
    third = file.with_name("third.yaml")
    third.write_text(file.read_text() + "name: own\n")
    with pytest.raises(UserError, match="names of their own"):
        data.open(str(third))
    with pytest.raises(UserError, match="names of their own"):
        check(tmp_path, [str(file), str(third)], {})


LENT = Path(os.environ.get("LUNGBENCH_INPUTS", "nowhere")) / "sets"


@pytest.mark.skipif(not LENT.is_dir(), reason="LUNGBENCH_INPUTS names no folder of inputs")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("l01_same_folder_mask_suffix", ""),
        ("m04_grey_100_200", "several_greys"),
        ("m06_rgb_red_green", "colours"),
        ("m10_rgba_mask_in_alpha", ""),
        ("m16_0_65535_16bit", ""),
        ("m19_tiff_two_pages_left_right", "pages"),
        ("m20_exif_rotated_films_upright_masks", ""),
    ],
)
def test_lent_inputs(tmp_path: Path, name: str, kind: str) -> None:
    file = LENT / name / f"{name}.yaml"
    (report,) = check(file.parent, [str(file)], {})
    assert {problem.kind for problem in report.problems} == ({kind} if kind else set())
    data = DataRoot(file.parent, tmp_path, no_progress)
    if kind:
        with pytest.raises(DataError, match=r"labels: {"):
            data.open(str(file))
    else:
        assert data.open(str(file)).cases
