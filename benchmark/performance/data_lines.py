"""Data: waiting for batches, loaders beside others' loaders, films prepared on one core and two."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.dataloader import DataLoader as MonaiLoader
from monai.data.dataset import CacheDataset
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import RandAffined
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmark.performance.lines import (
    DifferentValuesError,
    Goal,
    Line,
    Measured,
    NotMeasuredError,
    Setting,
)
from benchmark.performance.timing import Pairs, Sample, in_turn, on_cores, wall
from benchmark.performance.training_lines import BATCH, RATE, WIDTHS
from benchmark.planning.own_systems import system_data
from contract.machine import cores
from datamodules.cache import prepare, prepare_all
from datamodules.montgomery import Montgomery
from datamodules.phantoms import write_montgomery
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import DiceCrossEntropy

LOADED_FILMS = 120
LOADED_SIZE = 256
PREPARED_SIZES = (192, 256, 512)
EPOCHS = 3
"""Of which the first waits for the loading process to start."""
FULL = {"preprocessing.size": LOADED_SIZE, "batch_size": BATCH}
"""``unet`` with all of its augmentation."""


def opened(setting: Setting, workers: int) -> Montgomery:
    """Return the data of ``unet`` on phantoms, prepared and ready to train on."""
    root = setting.place("loaded_films")
    if not (root / "MontgomerySet").exists():
        write_montgomery(root, LOADED_FILMS, size=LOADED_SIZE)
    settings = system_data("unet", **FULL) | {"workers": workers}
    data = Montgomery(root, cache=setting.place("cache"), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def waiting(setting: Setting) -> Measured:
    """Train a small network while one process loads; take each epoch's share of waiting.

    The process that loads lives as long as the training, as it does in a cell: the first epoch
    waits for its start.
    """
    if cores() < 2:
        raise NotMeasuredError("needs two cores, one that trains and one that loads")
    data = opened(setting, workers=1)
    torch.manual_seed(0)
    network, loss_of = UNet(widths=WIDTHS), DiceCrossEntropy()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def train(image: Tensor, target: Tensor) -> None:
        logits = network(image)
        optimizer.zero_grad()
        loss_of(logits, logits.softmax(dim=1), target).backward()
        optimizer.step()

    shares, count, loader = [], 0, data.train_dataloader()
    for _ in range(EPOCHS):
        waited, count = 0.0, 0
        began = asked = time.perf_counter()
        for batch in loader:
            waited += time.perf_counter() - asked
            count += len(batch["image"])
            train(batch["image"], batch["target"])
            asked = time.perf_counter()
        ended = time.perf_counter()
        waited += ended - asked
        shares.append(100 * waited / (ended - began))
    note = f"{EPOCHS} epochs of {count} films; the first, its worker's start included"
    return Measured(Sample(tuple(shares)), f"{note}, waits {shares[0]:.2f} %")


class _PeerSet(Dataset[dict[str, Tensor]]):
    """The same films and masks as tensors, changed by torchvision as its reference scripts do."""

    def __init__(self, pixels: list[tuple[Tensor, Tensor]], change: Callable[..., Any]) -> None:
        self._pixels, self._change = pixels, change

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, mask = self._pixels[index]
        image, mask = self._change(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return {"image": image.as_subclass(Tensor), "target": mask.as_subclass(Tensor)}


def torchvision_loader(pixels: list[tuple[Tensor, Tensor]]) -> Iterable[Any]:
    """Return a loader that moves, tones, blurs and roughens films by torchvision's ``v2``."""
    change = v2.Compose(
        [
            v2.RandomAffine(degrees=12, translate=(0.08, 0.08), scale=(0.8, 1.2), shear=4),
            v2.ColorJitter(brightness=0.2, contrast=0.5),
            v2.GaussianBlur(5, sigma=(0.1, 1.0)),
            v2.GaussianNoise(sigma=0.05),
        ]
    )
    return DataLoader(_PeerSet(pixels, change), batch_size=BATCH, shuffle=True)


def monai_loader(pixels: list[tuple[Tensor, Tensor]]) -> Iterable[Any]:
    """Return a loader of MONAI's: its cached data set, its dictionary transforms."""
    both, image = ["image", "target"], ["image"]
    turn, shift = float(np.deg2rad(12)), 0.08 * LOADED_SIZE
    change = Compose(
        [
            RandAffined(
                both, prob=1.0, rotate_range=turn, translate_range=shift, scale_range=0.2,
                shear_range=0.07, mode=("bilinear", "nearest"), padding_mode="border",
            ),
            RandAdjustContrastd(image, prob=1.0, gamma=(0.55, 1.8)),
            RandScaleIntensityd(image, factors=0.5, prob=1.0),
            RandShiftIntensityd(image, offsets=0.2, prob=1.0),
            RandGaussianSmoothd(image, (0.1, 1.0), (0.1, 1.0), prob=1.0),
            RandGaussianNoised(image, prob=1.0, std=0.05),
        ]
    )  # fmt: skip
    items = [{"image": one, "target": other} for one, other in pixels]
    cached = CacheDataset(items, change, progress=False)
    loader: Iterable[Any] = MonaiLoader(cached, batch_size=BATCH, shuffle=True)
    return loader


def throughput(
    beside: Callable[[list[tuple[Tensor, Tensor]]], Iterable[Any]], setting: Setting
) -> Measured:
    """Time an epoch of batches on one core, in this process, beside another loader's."""
    data = opened(setting, workers=0)
    cases = data.train_cases
    pixels = []
    for index in range(len(cases)):
        image, planes = cases.pixels(index)
        mask = torch.from_numpy((planes > 0).astype(np.float32))[None]
        pixels.append((torch.from_numpy(image.astype(np.float32) / 255)[None], mask))
    theirs = beside(pixels)
    batches = len(cases) // BATCH

    def load(loader: Iterable[Any]) -> None:
        for _, _batch in zip(range(batches), loader, strict=False):
            pass

    pairs = in_turn(
        wall(lambda: load(data.train_dataloader())), wall(lambda: load(theirs)), setting.rounds
    )
    here, there = (batches * BATCH / side.middle for side in (pairs.here, pairs.beside))
    return Measured(pairs.speed, f"{here:.0f} images/s here, {there:.0f} there")


@cache
def _prepared(setting: Setting) -> tuple[Pairs, int]:
    """Prepare all real films on two cores and on one; return the times and the number of films."""
    root = setting.real_data()
    if cores() < 2:
        raise NotMeasuredError("needs two cores")
    sources = {name: open_source(name, root) for name in ("montgomery", "shenzhen")}
    cases = {name: source.cases() for name, source in sources.items()}
    count = 0

    def on(number: int) -> None:
        nonlocal count
        count += 1
        place = setting.place(f"prepared_{count}")
        with on_cores(number):
            for name, source in sources.items():
                prepare(source, cases[name], Preprocessing(LOADED_SIZE, "before_resize"), place)

    pairs = in_turn(wall(lambda: on(2)), wall(lambda: on(1)), min(setting.rounds, 2))
    return pairs, sum(map(len, cases.values()))


def several_sizes(setting: Setting) -> Measured:
    """Time three preprocessings of all real films together beside one after another, on one core.

    Raises:
        DifferentValuesError: if other images come out.
    """
    root, wanted = (
        setting.real_data(),
        [Preprocessing(size, "before_resize") for size in PREPARED_SIZES],
    )
    source = open_source("shenzhen", root)
    cases, count = source.cases(), itertools.count()

    def place() -> Path:
        return setting.place(f"several_sizes_{next(count)}")

    def together() -> None:
        prepared = prepare_all(source, cases, wanted, place())
        images.append([prepared[one].images for one in wanted])

    def one_by_one() -> None:
        images.append([prepare(source, cases, one, place()).images for one in wanted])

    images: list[list[NDArray[np.uint8]]] = []
    with on_cores(1):
        pairs = in_turn(wall(together), wall(one_by_one), min(setting.rounds, 2), warm_up=False)
    if not all(np.array_equal(*pair) for pair in zip(*images[:2], strict=True)):
        raise DifferentValuesError("images that were prepared together and one by one")
    sizes = ", ".join(map(str, PREPARED_SIZES))
    note = f"{len(cases)} films at {sizes}; {pairs.here.middle:.1f} s together"
    return Measured(pairs.speed, note)


def two_cores(setting: Setting) -> Measured:
    """Take how much faster real films are prepared on two cores."""
    pairs, films = _prepared(setting)
    return Measured(pairs.speed, f"{films} films, {pairs.here.middle:.1f} s on two cores")


def one_film(setting: Setting) -> Measured:
    """Take the milliseconds of a film on one core."""
    pairs, films = _prepared(setting)
    each = tuple(1000 * seconds / films for seconds in pairs.beside.values)
    return Measured(Sample(each), f"{films} films, CLAHE, 256², digests of the files included")


DATA = (
    Line("4a", "data", "waiting for data, 256², full augmentation, one core trains and one loads",
         "the whole epoch", "% of it", waiting, Goal(2, "at most")),
    Line("4b", "data", "loading and augmenting on one core, 256²", "torchvision's v2 transforms",
         "× as fast", partial(throughput, torchvision_loader)),
    Line("4c", "data", "loading and augmenting on one core, 256²", "MONAI's CacheDataset",
         "× as fast", partial(throughput, monai_loader)),
    Line("6a", "data", "preparing real films on two cores", "the same on one core",
         "× as fast", two_cores, Goal(1.8, "at least")),
    Line("6b", "data", "preparing a real film on one core", "nothing", "ms", one_film,
         Goal(10, "at most")),
    Line("6c", "data", "preparing real films at three sizes, together", "one size after another",
         "× as fast", several_sizes),
)  # fmt: skip
"""The lines about data."""
