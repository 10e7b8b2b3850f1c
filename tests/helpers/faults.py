"""Faults to plant in a root of phantoms, and what is to be said of each."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.sources import open_source


@dataclass(frozen=True)
class Fault:
    """A fault: ``plant(path)`` damages the file or folder that ``where(root)`` chooses."""

    name: str
    dataset: str
    kind: str
    told: str
    where: Callable[[Path], Path]
    plant: Callable[[Path], None]


def plant(fault: Fault, root: Path) -> Path:
    """Plant a fault and return what it damaged, or the case's id where a file is gone."""
    path = fault.where(root)
    fault.plant(path)
    return path if path.exists() or path.is_symlink() else Path(path.stem)


def image(dataset):
    return lambda root: open_source(dataset, root).cases()[2].image


def mask(dataset, structure="lungs"):
    return lambda root: open_source(dataset, root).cases()[2].masks[structure][0]


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def shrink(path):
    with Image.open(path) as pixels:
        smaller = pixels.resize((pixels.width - 1, pixels.height), Image.Resampling.NEAREST)
    smaller.save(path)


def blacken(path):
    with Image.open(path) as pixels:
        Image.fromarray(np.zeros_like(np.asarray(pixels))).save(path)


def deepen(path):
    with Image.open(path) as pixels:
        deep = np.asarray(pixels.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(path)


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0\0")


def break_link(path):
    shutil.rmtree(path)
    path.symlink_to(path.with_name("gone"))


def pack(path):
    shutil.rmtree(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "images")


FAULTS = [
    Fault("truncated PNG", "montgomery", "unreadable", "decode", image("montgomery"), truncate),
    Fault("truncated mask", "shenzhen", "unreadable", "decode", mask("shenzhen"), truncate),
    Fault("empty file", "shenzhen", "unreadable", "an empty file", image("shenzhen"),
          lambda path: path.write_bytes(b"")),
    Fault("mask of another size", "shenzhen", "mismatched", "a mask of", mask("shenzhen"), shrink),
    Fault("SCR mask of another size", "jsrt", "mismatched", "a mask of", mask("jsrt"), shrink),
    Fault("mask missing", "montgomery", "missing", "mask",
          mask("montgomery", "left_lung"), Path.unlink),
    Fault("image missing", "montgomery", "missing", "image", image("montgomery"), Path.unlink),
    Fault("mask all zero", "montgomery", "empty_mask", "an empty mask of left_lung",
          mask("montgomery", "left_lung"), blacken),
    Fault("IMG of wrong length", "jsrt", "unreadable", "8194 bytes", image("jsrt"), lengthen),
    Fault("16-bit PNG", "montgomery", "unreadable", "16-bit", image("montgomery"), deepen),
    Fault("unreadable folder", "montgomery", "folder", "no readable folder",
          lambda root: root / "MontgomerySet" / "CXR_png", break_link),
    Fault("unreadable data set", "montgomery", "folder", "a broken link",
          lambda root: root / "MontgomerySet", break_link),
    Fault("zip where a folder should be", "shenzhen", "folder", "a file",
          lambda root: root / "ChinaSet_AllFiles", pack),
    Fault("zip where the images should be", "montgomery", "folder", "Not a directory",
          lambda root: root / "MontgomerySet" / "CXR_png", pack),
]  # fmt: skip
