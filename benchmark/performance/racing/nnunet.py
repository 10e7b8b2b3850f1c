"""nnU-Net's side of the race: the same films as its own data set, its own commands, its predictor.

nnU-Net is imported by functions alone: it is there where ``make perf`` installed it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.performance.processes import ON_ONE_THREAD
from benchmark.performance.racing.judging import Predict, mean_dice, reference_batches
from benchmark.performance.racing.laps import Rival
from benchmark.start import ROOT
from contract.batch import EvaluationBatch
from datamodules.base import ProtocolDataModule
from datamodules.cache import PLANES
from datamodules.datasets import CaseList

DATASET = "Dataset901_Lungs"
LABEL = 1
"""The label of the lungs; 0 is background."""
TRAINER = "RacedTrainer"
CHANNELS = ("background", "lungs")


@dataclass(frozen=True)
class NnunetFolders:
    """Where nnU-Net reads and writes.

    Attributes:
        home: the folder of all of them.
    """

    home: Path

    @property
    def raw(self) -> Path:
        """The data set as nnU-Net is given it."""
        return self.home / "raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        """The data set as nnU-Net prepared it."""
        return self.home / "preprocessed" / DATASET

    @property
    def films(self) -> Path:
        """The test films, which nnU-Net's data set does not hold."""
        return self.home / "films"

    @property
    def trained(self) -> Path:
        """What its training leaves."""
        return self.home / "results" / DATASET / f"{TRAINER}__nnUNetPlans__2d"

    @property
    def fold(self) -> Path:
        """The checkpoints."""
        return self.trained / "fold_0"

    @property
    def batch_size(self) -> int:
        """Films of a batch, as nnU-Net planned; its data set is prepared."""
        plans = json.loads((self.preprocessed / "nnUNetPlans.json").read_text("utf-8"))
        return int(plans["configurations"]["2d"]["batch_size"])

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells nnU-Net these places, and to be content with one process."""
        return {
            **{f"nnUNet_{name}": str(self.home / name)
               for name in ("raw", "preprocessed", "results")},
            "nnUNet_extTrainer": str(Path(__file__).with_name("nnunet_trainer")),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "PYTHONPATH": str(ROOT),
            **ON_ONE_THREAD,
        }  # fmt: skip


def write_raw(data: ProtocolDataModule, raw: Path) -> None:
    """Write the films that train and validate, squashed, with their lungs, as nnU-Net reads them.

    Args:
        data: the protocol, set up, with a preprocessing that squashes and does no more.
        raw: the folder.
    """
    count = 0
    for cases in (data.train_cases, data.validation_cases):
        _write_films(cases, raw / "imagesTr")
        (raw / "labelsTr").mkdir(exist_ok=True)
        for number, case in enumerate(cases.cases):
            lungs = (cases.pixels(number)[1] & PLANES["lungs"]) > 0
            _write_png(raw / "labelsTr" / f"{case.case_id}.png", lungs.astype(np.uint8) * LABEL)
        count += len(cases)
    described = {
        "channel_names": {"0": "X-ray"},
        "labels": {"background": 0, "lungs": LABEL},
        "numTraining": count,
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(described, indent=4))


def _write_films(cases: CaseList, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases.cases):
        _write_png(film_of(folder, case.case_id), cases.pixels(number)[0])


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path} cannot be written")


def film_of(folder: Path, case_id: str) -> Path:
    """Return the file of a film's only channel."""
    return folder / f"{case_id}_0000.png"


def own_split(data: ProtocolDataModule) -> list[dict[str, list[str]]]:
    """Return the protocol's training and validation cases as nnU-Net's only fold."""
    assert data.split is not None
    sides = {"train": data.split.train, "val": data.split.validation}
    return [{side: [case_id for _, case_id in keys] for side, keys in sides.items()}]


def prepare_nnunet(data: ProtocolDataModule, folders: NnunetFolders) -> None:
    """Write nnU-Net's data set, let it plan and preprocess, and give it the protocol's split.

    Args:
        data: see ``write_raw``.
        folders: empty ones.

    Raises:
        RuntimeError: with the end of what nnU-Net said, if it fails.
    """
    write_raw(data, folders.raw)
    _write_films(data.test_cases, folders.films)
    planned = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
    told = [sys.executable, "-P", "-m", planned, "-d", "901", "-c", "2d", "-np", "1", "-npfp", "1"]
    ended = subprocess.run(
        told, check=False, capture_output=True, text=True,
        env={**os.environ, **folders.environment},
    )  # fmt: skip
    if ended.returncode:
        said = (ended.stdout + ended.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(told)} ended with {ended.returncode}: {said}")
    (folders.preprocessed / "splits_final.json").write_text(json.dumps(own_split(data)))


@contextlib.contextmanager
def nnunet_at(folders: NnunetFolders) -> Iterator[None]:
    """Let nnU-Net find its folders from within this process, and keep what it prints to itself."""
    before = dict(os.environ)
    os.environ.update(folders.environment)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def dice_of_nnunet(data: ProtocolDataModule, folders: NnunetFolders) -> Callable[[Path], float]:
    """Return what tells the mean Dice of a protocol's test cases with a file of weights.

    Args:
        data: see ``write_raw``.
        folders: nnU-Net's folders.
    """
    batches = reference_batches(data)

    def dice_of(weights: Path) -> float:
        with nnunet_at(folders):
            return mean_dice(batches, nnunet_probabilities(folders, weights), CHANNELS, "softmax")

    return dice_of


def nnunet_rival(
    folders: NnunetFolders, laps: int, iterations: int, dice_of: Callable[[Path], float]
) -> Rival:
    """Return nnU-Net as a rival.

    Args:
        folders: its folders, its data set prepared.
        laps: epochs of its schedule.
        iterations: batches of each.
        dice_of: judges a lap's weights.
    """
    told = [sys.executable, "-P", "-m", "nnunetv2.run.run_training", "901", "2d", "0"]
    schedule = {
        "nnUNet_n_proc_DA": "0",  # loads and augments in the process that trains
        "LUNGBENCH_RACE_LAPS": str(laps),
        "LUNGBENCH_RACE_ITERATIONS": str(iterations),
    }
    return Rival(
        "nnU-Net", [*told, "-tr", TRAINER, "-device", "cpu"], {**folders.environment, **schedule},
        folders.fold, dice_of,
    )  # fmt: skip


def nnunet_probabilities(folders: NnunetFolders, weights: Path) -> Predict:
    """Return nnU-Net's own prediction with a checkpoint, its mirroring included.

    It is used within ``nnunet_at``.

    Args:
        folders: its folders; the film of each test case lies in ``folders.films``.
        weights: a checkpoint in ``folders.fold``.
    """
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folders.trained), (0,), weights.name)
    reader = NaturalImage2DIO()

    def predict(batch: EvaluationBatch) -> Tensor:
        found = []
        for case in batch["identity"]:
            film, facts = reader.read_images([str(film_of(folders.films, case["case_id"]))])
            _, probabilities = predictor.predict_single_npy_array(
                film, facts, None, None, save_or_return_probabilities=True
            )
            found.append(torch.from_numpy(np.asarray(probabilities)[:, 0]).float())
        return torch.stack(found)

    return predict
