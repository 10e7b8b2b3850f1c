"""What a person waits for: whole suites, and ``predict`` beside ONNX Runtime."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.cell.loading import load_cell
from benchmark.performance.lines import (
    DifferentValuesError,
    Goal,
    Line,
    Measured,
    Setting,
    require_peer,
)
from benchmark.performance.processes import ON_ONE_THREAD, fitted, run_process, write_cell
from benchmark.performance.timing import Sample, cpu_of_process, in_turn, on_cores, wall
from benchmark.planning.phantom_roots import phantom_root
from benchmark.prediction.networks import trained
from benchmark.prediction.predict import predict
from benchmark.start import command
from datamodules.phantoms import write_montgomery
from datamodules.preprocessing import Preprocessing
from lightning_modules.segmenter import Segmenter

PREDICTED_FILMS = 100
DIFFERENT_FILMS = 20
FILM_SIZE = 1024
CALLED_AGAIN = 3
"""How often a finished suite is called again."""
MOST_DIFFERING = 0.005
"""Share of a mask's pixels: OpenCV and torch round differently between two probabilities."""
TORCH = (sys.executable, "-c", "import torch")


def mean_shapes(drawn: bool, setting: Setting) -> Measured:
    """Take the CPU time of three tiny cells, all processes and the leaderboard included.

    Args:
        drawn: whether the phantoms, too, are drawn in that time.
        setting: the run's.
    """
    home, numbers = setting.place("mean_shapes"), itertools.count()
    words = ("run", "--suite", "smoke", "--systems", "mean_shape")

    def suite() -> float:
        runs = home / f"{'drawn' if drawn else 'there'}-{next(numbers)}"
        if not drawn:
            shutil.copytree(_phantoms(setting), runs / "phantoms")
        return cpu_of_process(command("benchmark", *words, "--runs", str(runs)), ON_ONE_THREAD)()

    rounds = min(setting.rounds, 3)
    pairs = in_turn(suite, cpu_of_process(TORCH, ON_ONE_THREAD), rounds, warm_up=False)
    note = f"{pairs.here.middle:.1f} s of CPU time, {pairs.beside.middle:.1f} s for torch"
    if importlib.util.find_spec("matplotlib") is not None:
        note += "; torchmetrics loads matplotlib here, which the suite itself does not install"
    return Measured(pairs.cost, note)


@cache
def _phantoms(setting: Setting) -> Path:
    return phantom_root(setting.place("mean_shapes_films"), "smoke")


def whole_benchmark(again: bool, setting: Setting) -> Measured:
    """Take the seconds of ``make benchmark`` after installing, or of calls after it."""
    setting.require_long()
    first, *later = _benchmark(setting)
    return Measured(Sample(tuple(later))) if again else Measured(Sample((first,)), "one run")


@cache
def _benchmark(setting: Setting) -> tuple[float, ...]:
    runs = setting.place("benchmark")
    told = command("benchmark", "run", "--suite", "smoke", "--runs", str(runs))
    return tuple(wall(lambda: run_process(told))() for _ in range(1 + CALLED_AGAIN))


def quick(setting: Setting) -> Measured:
    """Take the minutes of ``make benchmark SUITE=quick`` on real data."""
    setting.require_long()
    root, runs = setting.real_data(), setting.place("quick_runs")
    told = ("run", "--suite", "quick", "--runs", str(runs), "--data-root", str(root))
    seconds = wall(lambda: run_process(command("benchmark", *told)))()
    return Measured(Sample((seconds / 60,)), "one run; the goal's time before is another commit's")


@cache
def small_cell(setting: Setting) -> Path:
    """Return the folder of a small trained ``unet`` at 256²."""
    config = write_cell(setting, "predicting", size=256, batch=8)
    return fitted(config, setting.place("predicting_cell")).path


@cache
def films(setting: Setting) -> Path:
    """Return a folder of phantom films, each there several times: they take long to draw."""
    root, folder = setting.place("predicted_films"), setting.place("all_predicted_films")
    write_montgomery(root, DIFFERENT_FILMS, size=FILM_SIZE)
    drawn = sorted((root / "MontgomerySet" / "CXR_png").iterdir())
    for number, film in zip(range(PREDICTED_FILMS), itertools.cycle(drawn), strict=False):
        shutil.copy(film, folder / f"{number:03}.png")
    return folder


def _exported(cell: Path, out: Path) -> Preprocessing:
    """Write a cell's generator as ONNX; return the preprocessing of its films."""
    model, data = load_cell(cell)
    assert isinstance(model, Segmenter)
    settings: Any = data
    preprocessing: Preprocessing = settings._preprocessing
    image = torch.zeros(1, 1, preprocessing.size, preprocessing.size)
    generator: torch.nn.Module = model.generator  # type: ignore[assignment]
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(generator.eval(), (image,), out, dynamo=True, input_names=["image"])
    return preprocessing


Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _by_hand(paths: Sequence[Path], infer: Infer, as_before: Preprocessing, out: Path) -> None:
    """Segment films as a short script does: read, prepare, infer, enlarge, write a mask."""
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        film = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
        image = as_before.to_range(as_before.prepare_image(film))[None, None]
        logits = infer(image)[0]
        share = 1 / (1 + np.exp(logits[0] - logits[1]))  # softmax over two classes
        large = cv2.resize(share, film.shape[::-1], interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(out / path.name), (large > 0.5).astype(np.uint8) * 255)


def many_films(both_views: bool, setting: Setting) -> Measured:
    """Time ``predict`` on a folder, on one core, beside a script around ONNX Runtime.

    Args:
        both_views: whether the script, too, shows each film to the network a second time,
            mirrored, as ``predict`` does to tell how sure it is.
        setting: the run's.

    Raises:
        DifferentValuesError: if the masks differ.
    """
    for peer in ("onnx", "onnxscript", "onnxruntime"):
        require_peer(peer)
    import onnxruntime

    cell, images = small_cell(setting), films(setting)
    paths = sorted(images.iterdir())
    graph = setting.place("onnx") / "generator.onnx"
    preprocessing = _exported(cell, graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def infer(image: NDArray[np.float32]) -> NDArray[np.float32]:
        if both_views:
            session.run(None, {"image": np.ascontiguousarray(image[..., ::-1])})
        found: NDArray[np.float32] = session.run(None, {"image": image})[0]
        return found

    ours, theirs = setting.folder / "predicted", setting.folder / "by_hand"

    def here() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            predict(trained([cell]), images, ours, "cpu")

    with on_cores(1):
        pairs = in_turn(
            wall(here), wall(lambda: _by_hand(paths, infer, preprocessing, theirs)),
            min(setting.rounds, 3), warm_up=False,
        )  # fmt: skip
    _require_same_masks(ours / "masks" / "lungs", theirs)
    each = 1000 * pairs.here.middle / len(paths)
    note = f"{each:.0f} ms a film here, {1000 * pairs.beside.middle / len(paths):.0f} there"
    return Measured(pairs.cost, f"{note}; overlays, table and flags are written here alone")


def _require_same_masks(ours: Path, theirs: Path) -> None:
    for path in sorted(theirs.iterdir()):
        one, other = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (ours / path.name, path))
        if one is None or other is None or one.shape != other.shape:
            raise DifferentValuesError(f"{path.name}: no two masks of one shape")
        differing = float(np.mean(one != other))
        if differing > MOST_DIFFERING:
            raise DifferentValuesError(f"{path.name}: {differing:.2%} of the pixels differ")


def one_cold_film(setting: Setting) -> Measured:
    """Take the CPU time of ``predict`` on one film, from the start of its process.

    The network is the one that comes with the package.
    """
    images = setting.place("one_film")
    shutil.copy(min(films(setting).iterdir()), images)
    words = ("--images", str(images), "--out", str(setting.place("one_out")))
    told = command("benchmark", "predict", *words, "--device", "cpu")
    pairs = in_turn(
        cpu_of_process(told, ON_ONE_THREAD), cpu_of_process(TORCH, ON_ONE_THREAD),
        min(setting.rounds, 2), warm_up=False,
    )  # fmt: skip
    note = f"{pairs.here.middle:.1f} s of CPU time, {pairs.beside.middle:.1f} s for torch"
    return Measured(pairs.cost, note)


_WHOLE = "`make benchmark` after installing"
_PREDICT = f"`predict` on {PREDICTED_FILMS} films, one core"
PROCESSES = (
    Line("1a", "processes", _WHOLE, "nothing", "s", partial(whole_benchmark, False),
         Goal(120, "at most")),
    Line("1b", "processes", f"{_WHOLE}, called again", "nothing", "s",
         partial(whole_benchmark, True), Goal(1, "at most")),
    Line("1c", "processes", "three cells of `mean_shape` and their leaderboard, phantoms drawn",
         "`python -c 'import torch'`", "× the CPU time", partial(mean_shapes, True),
         Goal(6, "at most")),
    Line("1d", "processes", "three cells of `mean_shape` and their leaderboard, films there",
         "`python -c 'import torch'`", "× the CPU time", partial(mean_shapes, False),
         Goal(6, "at most")),
    Line("7a", "processes", _PREDICT, "ONNX Runtime, each film seen once", "× the time",
         partial(many_films, False), Goal(1.3, "at most")),
    Line("7b", "processes", _PREDICT, "ONNX Runtime, mirrored too", "× the time",
         partial(many_films, True), Goal(1.3, "at most")),
    Line("7c", "processes", "`predict` on one film, cold, as installed",
         "`python -c 'import torch'`", "× the CPU time", one_cold_film, Goal(2, "at most")),
    Line("9b", "processes", "`make benchmark SUITE=quick` on real films", "nothing", "minutes",
         quick),
)  # fmt: skip
"""The lines about whole processes."""
