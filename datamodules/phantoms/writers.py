"""Phantom data sets on disk, in the official folders, names and file formats."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.arrays import Mask
from contract.errors import DataError
from datamodules.phantoms import sites
from datamodules.phantoms.anatomy import Anatomy, sample_anatomy
from datamodules.phantoms.film import FloatImage, View, draw_lungs, expose, print_label
from datamodules.sources.base import PHANTOM_MARKER

MONTGOMERY_FILM_MM = 412.0
SHENZHEN_FILM_MM = 372.0
JSRT_FILM_MM = 358.4
SCR_STRUCTURES = ("left lung", "right lung", "heart", "left clavicle", "right clavicle")
JSRT_RENDER_SIZE = 512
"""Larger JSRT films are magnified from this; only their grain is drawn at full size."""


def write_phantoms(
    root: Path,
    *,
    montgomery: int = 24,
    shenzhen: int = 32,
    jsrt: int = 20,
    size: int = 256,
    jsrt_size: int = 512,
    seed: int = 0,
) -> None:
    """Write small synthetic data sets below a data root; 0 cases omits a set.

    Args:
        root: the data root; made if absent.
        montgomery: cases of ``MontgomerySet/``, at most 138.
        shenzhen: cases with masks of ``ChinaSet_AllFiles/``, at most 566; a few officially
            unmasked images come on top.
        jsrt: cases of ``All247images/`` and ``scratch/``, at most 247.
        size: long side in pixels of the Montgomery and Shenzhen images.
        jsrt_size: side of the JSRT images (officially 2048); masks are half as large.
        seed: same seed, same bytes.

    Raises:
        ValueError: if more cases are asked for than the official release has.
        DataError: if a folder to be written exists and is no phantom.
    """
    if montgomery:
        write_montgomery(root, montgomery, size=size, seed=seed)
    if shenzhen:
        write_shenzhen(root, shenzhen, size=size, seed=seed)
    if jsrt:
        write_jsrt(root, jsrt, size=jsrt_size, seed=seed)


def write_montgomery(root: Path, count: int = 24, *, size: int = 256, seed: int = 0) -> None:
    """Write ``MontgomerySet/``: grey PNGs in both orientations, a mask file for each lung.

    Raises:
        ValueError: for more than 138 cases.
        DataError: if the folder exists and is no phantom.
    """
    ids = _choose(_official("montgomery.txt"), count, lambda case_id: case_id.endswith("_1"))

    def fill(folder: Path) -> None:
        home = folder / "MontgomerySet"
        places = ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask", "ClinicalReadings")
        images, lefts, rights, readings = _make(home, places)
        short = round(size * 4020 / 4892)
        for case_id in ids:
            rng = _case_rng(seed, case_id)
            abnormal = case_id.endswith("_1")
            anatomy = sample_anatomy(rng, abnormal=abnormal)
            shape = (size, short) if rng.random() < 0.4 else (short, size)
            view = sites.frame(
                anatomy, shape, MONTGOMERY_FILM_MM, rng, zoom=0.05, shift_mm=9, angle=0.025
            )
            film = expose(anatomy, view, sites.MONTGOMERY, rng)
            right, left = sites.draw_montgomery(anatomy, view)
            _collimate(film, right | left, rng)
            grey = _to_8_bit(film)
            print_label(grey, "R", (rng.uniform(0.03, 0.08), 0.09), 0.05)
            print_label(grey, "PA", (0.86, 0.06), 0.03, boxed=True)
            print_label(grey, "ERECT", (0.84, 0.12), 0.03, boxed=True)
            _save_grey(images / f"{case_id}.png", grey)
            _save_grey(lefts / f"{case_id}.png", left * np.uint8(255))
            _save_grey(rights / f"{case_id}.png", right * np.uint8(255))
            sex, age = "FM"[int(rng.integers(2))], int(rng.integers(4, 90))
            finding = "infiltrates consistent with active TB" if abnormal else "normal"
            text = f"Patient's Sex: {sex}\nPatient's Age: {age:03d}Y\n{finding}\n"
            (readings / f"{case_id}.txt").write_text(text)
        _mark(home, ids, ids, size, seed)

    replace_folders(root, ["MontgomerySet"], fill)


def write_shenzhen(root: Path, count: int = 32, *, size: int = 256, seed: int = 0) -> None:
    """Write ``ChinaSet_AllFiles/``: grey, RGB and palette PNGs, one mask file for both lungs.

    Up to four films that officially have no mask are written too, without one.

    Raises:
        ValueError: for more than 566 cases.
        DataError: if the folder exists and is no phantom.
    """
    with_masks = _official("shenzhen_masks.txt")
    ids = _choose(with_masks, count, lambda case_id: case_id.endswith("_1"))
    unmasked = sorted(set(_official("shenzhen.txt")) - set(with_masks))
    extra = [*unmasked[:2], *unmasked[-2:]][: max(1, count // 8)]

    def fill(folder: Path) -> None:
        home = folder / "ChinaSet_AllFiles"
        images, masks, readings = _make(home, ("CXR_png", "mask", "ClinicalReadings"))
        for case_id in sorted([*ids, *extra]):
            rng = _case_rng(seed, case_id)
            abnormal = case_id.endswith("_1")
            anatomy = sample_anatomy(rng, abnormal=abnormal)
            height, width = (round(side) for side in rng.uniform(0.88, 1.0, 2) * size)
            view = sites.frame(
                anatomy, (height, width), SHENZHEN_FILM_MM, rng, zoom=0.06, shift_mm=10, angle=0.03
            )
            film = expose(anatomy, view, sites.SHENZHEN, rng)
            grey = _to_8_bit(film)
            print_label(grey, "L", (rng.uniform(0.82, 0.92), rng.uniform(0.06, 0.12)), 0.05)
            mode = ("L", "RGB", "P")[int(case_id[7:11]) % 3]
            _save_as(mode, images / f"{case_id}.png", grey)
            if case_id not in extra:
                mask = sites.draw_shenzhen(anatomy, view, rng)
                _save_grey(masks / f"{case_id}_mask.png", mask * np.uint8(255))
            sex, age = ("female", "male")[int(rng.integers(2))], int(rng.integers(15, 90))
            finding = "bilateral PTB" if abnormal else "normal"
            (readings / f"{case_id}.txt").write_text(f"{sex} {age}yrs\n{finding}\n")
        _mark(home, sorted([*ids, *extra]), ids, size, seed)

    replace_folders(root, ["ChinaSet_AllFiles"], fill)


def write_jsrt(root: Path, count: int = 20, *, size: int = 2048, seed: int = 0) -> None:
    """Write ``All247images/`` (raw) and SCR's ``scratch/`` (GIF masks at half the size).

    ``JPCLN001.IMG`` is headerless big-endian ``uint16`` with 12-bit values, bone low (inverted).
    Fold 1 holds the odd numbers, fold 2 the even ones. ``CLNDAT_EN.txt`` and ``CNNDAT_EN.TXT`` are
    tab-separated without a header: file, subtlety 1-5, nodule size in mm, age, sex, nodule x, y in
    pixels, malignant or benign, location, diagnosis; and file, age, sex, ``non-nodule``. As in the
    real files the columns are irregular: some ages are ``?`` and some diagnoses are left out.

    Raises:
        ValueError: for more than 247 cases or an odd size.
        DataError: if a folder exists and is no phantom.
    """
    ids = _choose(_official("jsrt.txt"), count, lambda case_id: case_id.startswith("JPCLN"))
    if size % 2:
        raise ValueError(f"size {size} is odd; SCR's masks are half as large")

    def fill(folder: Path) -> None:
        (images,) = _make(folder, ["All247images"])
        folds = [folder / "scratch" / fold / "masks" for fold in ("fold1", "fold2")]
        for fold in folds:
            _make(fold, SCR_STRUCTURES)
        tables: dict[str, list[str]] = {"CLNDAT_EN.txt": [], "CNNDAT_EN.TXT": []}
        for case_id in ids:
            rng = _case_rng(seed, case_id)
            nodule = case_id.startswith("JPCLN")
            anatomy = sample_anatomy(rng, abnormal=nodule, nodule=True)
            drawn = min(size, JSRT_RENDER_SIZE)
            view = sites.frame(
                anatomy, (drawn, drawn), JSRT_FILM_MM, rng, zoom=0.03, shift_mm=6, angle=0.015
            )
            film = expose(anatomy, view, sites.JSRT_DIGITIZER, rng)
            _save_raw(images / f"{case_id}.IMG", film, size, rng)
            fold = folds[1 - int(case_id[5:]) % 2]
            for structure, mask in _scr_masks(anatomy, view.resized(size // 2, size // 2)).items():
                Image.fromarray(mask * np.uint8(255)).save(fold / structure / f"{case_id}.gif")
            table = "CLNDAT_EN.txt" if nodule else "CNNDAT_EN.TXT"
            at = view.resized(size, size).pixel(anatomy.opacities[0].centre) if nodule else None
            tables[table].append(_jsrt_row(case_id, at, rng))
        for name, rows in tables.items():
            (images / name).write_text("".join(rows))
        _mark(folder / "scratch", ids, ids, size // 2, seed)
        _mark(images, ids, ids, size, seed)

    replace_folders(root, ["scratch", "All247images"], fill)


def _official(name: str) -> list[str]:
    return (resources.files("datamodules.sources.official") / name).read_text().split()


def _choose(ids: Sequence[str], count: int, abnormal: Callable[[str], bool]) -> list[str]:
    """Take half normal and half abnormal, the first of each; what one lacks the other gives."""
    if not 0 < count <= len(ids):
        raise ValueError(f"{count} cases of a release that has {len(ids)}")
    sick = [case_id for case_id in ids if abnormal(case_id)]
    well = [case_id for case_id in ids if not abnormal(case_id)]
    n_sick = min(len(sick), max(count // 2, count - len(well)))
    return sorted(well[: count - n_sick] + sick[:n_sick])


def _case_rng(seed: int, case_id: str) -> np.random.Generator:
    """One stream of chance per case, so that a smaller set holds the same films."""
    return np.random.default_rng([seed, zlib.crc32(case_id.encode())])


def _make(home: Path, places: Sequence[str]) -> list[Path]:
    folders = [home / place for place in places]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def _collimate(film: FloatImage, lungs: Mask, rng: np.random.Generator) -> None:
    """Blacken borders in place, below the lungs and at one side of them: unexposed film."""
    height, width = film.shape
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    if rng.random() < 0.5:
        film[max(round(height * rng.uniform(0.86, 0.99)), rows[-1] + 1) :] = 0
    if rng.random() < 0.5:
        film[:, : min(round(width * rng.uniform(0.0, 0.05)), columns[0])] = 0


def _to_8_bit(film: FloatImage) -> NDArray[np.uint8]:
    return np.rint(film * 255).astype(np.uint8)


def _save_grey(path: Path, pixels: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise DataError(path, "a file that cannot be written")


def _save_as(mode: str, path: Path, pixels: NDArray[np.uint8]) -> None:
    """Save as a PNG of mode ``L``, ``RGB`` or ``P``; the palette runs backwards."""
    image = Image.fromarray(pixels if mode == "L" else 255 - pixels if mode == "P" else pixels)
    if mode == "RGB":
        image = image.convert("RGB")
    elif mode == "P":
        image.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    image.save(path, compress_level=1)


def _mark(home: Path, ids: Sequence[str], masked: Sequence[str], size: int, seed: int) -> None:
    facts = {"phantom": True, "seed": seed, "size": size, "ids": list(ids), "masks": list(masked)}
    (home / PHANTOM_MARKER).write_text(json.dumps(facts, indent=1) + "\n")


def replace_folders(root: Path, names: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Write folders aside, then put them in place, the marked one (the last name) last."""
    for name in names:
        target = root / name
        if target.exists() and not (target / PHANTOM_MARKER).is_file():
            raise DataError(
                target,
                "a folder that is no phantom",
                "no such folder, or phantoms of before",
                "choose another data root; real data is never overwritten",
            )
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".phantoms-", dir=root) as aside:
        new, old = Path(aside) / "new", Path(aside) / "old"
        new.mkdir()
        old.mkdir()
        fill(new)
        for name in reversed(names):
            if (root / name).exists():
                (root / name).rename(old / name)
        for name in names:
            (new / name).rename(root / name)


def _scr_masks(anatomy: Anatomy, view: View) -> dict[str, Mask]:
    right, left = draw_lungs(anatomy, view)
    right_clavicle, left_clavicle = (view.stroke([line], 11) > 0 for line in anatomy.clavicles)
    heart = view.fill([anatomy.heart]) > 0
    return dict(
        zip(SCR_STRUCTURES, (left, right, heart, left_clavicle, right_clavicle), strict=True)
    )


def _save_raw(path: Path, film: FloatImage, size: int, rng: np.random.Generator) -> None:
    grain: FloatImage = np.zeros((1, 1), np.float32)
    if film.shape[0] != size:
        film = np.asarray(cv2.resize(film, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)
        grain = sites.JSRT_DIGITIZER.noise * rng.standard_normal(film.shape, np.float32)
    values = np.clip(np.rint((1 - film - grain) * 4095), 0, 4095)
    path.write_bytes(values.astype(">u2").tobytes())


def _jsrt_row(case_id: str, nodule: tuple[int, int] | None, rng: np.random.Generator) -> str:
    age = str(int(rng.integers(21, 90))) if rng.random() > 0.1 else "?"
    sex = ("Female", "Male")[int(rng.integers(2))]
    if nodule is None:
        return f"{case_id}.IMG\t{age}\t{sex}\tnon-nodule\n"
    benign = bool(rng.random() < 0.35)
    lobe = ("l.upper lobe", "r.upper lobe", "l.lower lobe", "r.lower lobe")[int(rng.integers(4))]
    fields = [f"{case_id}.IMG", *map(str, rng.integers((1, 5), (6, 40))), age, sex]
    fields += [str(nodule[0]), str(nodule[1]), "benign" if benign else "malignant", lobe]
    if rng.random() > 0.15:
        fields.append("granuloma" if benign else "lung cancer")
    return "\t".join(fields) + "\n"
