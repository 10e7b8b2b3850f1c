"""Training: the adversarial step beside loops of others, and two processes beside one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmark.performance.lines import DifferentValuesError, Goal, Line, Measured, Setting
from benchmark.performance.processes import images_a_second, write_cell
from benchmark.performance.timing import Sample, in_turn, on_cores
from contract.batch import TrainingBatch
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.critics.patch import PatchCritic
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import DiceCrossEntropy
from lightning_modules.objectives import BinaryCrossEntropyObjective

WIDTHS = (4, 8, 16, 32)
"""A small network: what a step does besides the network weighs most beside it."""
BATCH = 8
STEPS = 5
"""Of a training; the first, which sets things up, is not timed."""
RATE = 1e-3
MOST_APART = 1e-6
"""Between the weights of two ways after ``STEPS`` steps."""

GamePair = tuple[nn.Module, nn.Module]


def networks() -> GamePair:
    """Return a generator and a critic, the same at each call."""
    torch.manual_seed(0)
    return UNet(widths=WIDTHS), PatchCritic(mask_channels=2, design="patch46")


def batches(size: int) -> list[TrainingBatch]:
    """Return the batches of a training, the same at each call, ``(8, 1 or 2, size, size)``."""
    random = torch.Generator().manual_seed(1)
    made: list[TrainingBatch] = []
    for _ in range(STEPS):
        image = torch.randn(BATCH, 1, size, size, generator=random)
        lungs = (functional.avg_pool2d(image, 9, 1, 4) > 0).float()
        made.append({"image": image, "target": torch.cat([1 - lungs, lungs], dim=1)})
    return made


def _stamped(found: list[TrainingBatch], stamps: list[float]) -> Iterator[TrainingBatch]:
    """Yield batches, noting when each is asked for."""
    for batch in found:
        stamps.append(time.perf_counter())
        yield batch


def _against(score: Tensor, truth: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(score, torch.full_like(score, truth))


def written_by_hand(pair: GamePair, found: list[TrainingBatch]) -> float:
    """Train as a person would without any framework; return the seconds of the timed steps."""
    generator, critic = pair
    loss_of = DiceCrossEntropy()
    playing = torch.optim.Adam(generator.parameters(), lr=RATE, fused=True)
    judging = torch.optim.Adam(critic.parameters(), lr=RATE, fused=True)
    stamps: list[float] = []
    for batch in _stamped(found, stamps):
        image, target = batch["image"], batch["target"]
        critic.requires_grad_(False)
        logits = generator(image)
        fake = logits.softmax(dim=1)
        loss = loss_of(logits, fake, target) + _against(critic(image, fake), 1.0)
        playing.zero_grad()
        torch.autograd.backward(loss)
        playing.step()
        critic.requires_grad_(True)
        fake = fake.detach()
        loss = _against(critic(image, target), 1.0) + _against(critic(image, fake), 0.0)
        judging.zero_grad()
        torch.autograd.backward(loss)
        judging.step()
    return time.perf_counter() - stamps[1]


class PlainModule(pl.LightningModule):
    """The same game as a Lightning module that a person would write.

    Args:
        pair: generator and critic.
    """

    def __init__(self, pair: GamePair) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = pair
        self.loss = DiceCrossEntropy()

    def configure_optimizers(self) -> Any:
        """Return Adam for each network."""
        return [
            torch.optim.Adam(self.generator.parameters(), lr=RATE, fused=True),
            torch.optim.Adam(self.critic.parameters(), lr=RATE, fused=True),
        ]

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Step the generator, then the critic."""
        optimizers: Any = self.optimizers()
        playing, judging = optimizers
        image, target = batch["image"], batch["target"]
        self.toggle_optimizer(playing)
        logits = self.generator(image)
        fake = logits.softmax(dim=1)
        loss = self.loss(logits, fake, target) + _against(self.critic(image, fake), 1.0)
        self.log("generator", loss)
        playing.zero_grad()
        self.manual_backward(loss)
        playing.step()
        self.untoggle_optimizer(playing)
        self.toggle_optimizer(judging)
        fake = fake.detach()
        loss = _against(self.critic(image, target), 1.0) + _against(self.critic(image, fake), 0.0)
        self.log("critic", loss)
        judging.zero_grad()
        self.manual_backward(loss)
        judging.step()
        self.untoggle_optimizer(judging)


def our_module(pair: GamePair) -> AdversarialSegmenter:
    """Return the project's module for the same game."""
    adam = partial(torch.optim.Adam, lr=RATE)
    return AdversarialSegmenter(
        ["background", "lungs"],
        pair[0],
        DiceCrossEntropy(),
        generator_optimizer=adam,
        critic=pair[1],
        objective=BinaryCrossEntropyObjective(),
        critic_optimizer=adam,
    )


class _Clock(pl.Callback):
    """Notes when batches begin and when the last one ends."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self.ended = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Note the beginning."""
        self.stamps.append(time.perf_counter())

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the end."""
        self.ended = time.perf_counter()


def in_lightning(
    setting: Setting,
    build: Callable[[GamePair], pl.LightningModule],
    pair: GamePair,
    found: list[TrainingBatch],
) -> float:
    """Train with a Trainer that logs; return the seconds of the timed steps."""
    clock = _Clock()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, callbacks=[clock], logger=True,
        log_every_n_steps=1, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=setting.place("logs"),
    )  # fmt: skip
    loader: DataLoader[Any] = DataLoader(found, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(build(pair), loader)
    return clock.ended - clock.stamps[1]


def step(other: str, size: int, setting: Setting) -> Measured:
    """Time the adversarial step beside one written by hand, or beside a plain Lightning module.

    Raises:
        DifferentValuesError: if both do not end with the same weights.
    """
    found = batches(size)
    ended: dict[str, GamePair] = {}

    def here() -> float:
        ended["here"] = networks()
        return in_lightning(setting, our_module, ended["here"], found)

    def beside() -> float:
        ended["beside"] = networks()
        if other == "by hand":
            return written_by_hand(ended["beside"], found)
        return in_lightning(setting, PlainModule, ended["beside"], found)

    pairs = in_turn(here, beside, min(setting.rounds, 5 if size < 256 else 3), warm_up=False)
    _require_same_weights(ended["here"], ended["beside"])
    each = 1000 * pairs.here.middle / (STEPS - 1)
    return Measured(pairs.cost, f"{each:.0f} ms a step here; equal weights after {STEPS} steps")


def _require_same_weights(one: GamePair, other: GamePair) -> None:
    for mine, theirs in zip(one, other, strict=True):
        for name, weight in mine.state_dict().items():
            apart = float((weight - theirs.state_dict()[name]).abs().max())
            if not apart <= MOST_APART:
                raise DifferentValuesError(f"{name} after {STEPS} steps: {apart} apart")


JOINED_EPOCHS = 8


def two_processes(setting: Setting) -> Measured:
    """Time a cell's training on two processes of a core each beside one on one core.

    It lasts long enough for what only the first steps cost, such as choosing convolutions, to
    weigh little.
    """
    config = write_cell(setting, "joined", size=128, batch=8, films=100, epochs=JOINED_EPOCHS)
    ratios, seen = [], []
    for number in range(min(setting.rounds, 2)):
        speeds = []
        for devices in (1, 2):
            with on_cores(devices):  # one process on two would load its films on the other
                out = setting.place(f"joined_{number}_{devices}")
                speeds.append(images_a_second(config, out, devices))
        one, two = speeds
        ratios.append(two / one)
        seen.append(f"{two:.1f} and {one:.1f}")
    return Measured(Sample(tuple(ratios)), f"images/s: {'; '.join(seen)}")


ARITHMETIC = """\
import sys, time, torch
torch.set_num_threads(1)
layer, image = torch.nn.Conv2d(32, 32, 3, padding=1), torch.ones(1, 32, 256, 256)
layer(image)
print("ready", flush=True)
sys.stdin.readline()
count, ends = 0, time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < ends:
    layer(image)
    count += 1
print(count)
"""
"""A program that convolves for so many seconds once it is told to."""
COUNTED_S = 3


def convolutions(processes: int) -> int:
    """Return how often so many processes convolve together in the same few seconds."""
    told = [sys.executable, "-c", ARITHMETIC, str(COUNTED_S)]
    with ExitStack() as ends:
        started = [
            ends.enter_context(
                subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(processes)
        ]
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        return sum(int(process.communicate("go\n")[0]) for process in started)


def second_core(setting: Setting) -> Measured:
    """Count what two processes of nothing but arithmetic do beside one."""
    pairs = [(convolutions(1), convolutions(2)) for _ in range(min(setting.rounds, 3))]
    ratios = Sample(tuple(two / one for one, two in pairs))
    return Measured(ratios, "nothing shared but the machine: no more can be asked of 5 and 6a")


TRAINING = (
    *(
        Line(f"3{letter}", "training", f"the adversarial step, {size}², batch 8, logging on",
             beside, "× the time", partial(step, other, size), goal)
        for letter, size, other, beside, goal in (
            ("a", 128, "by hand", "a hand-written loop", Goal(1.05, "at most")),
            ("b", 256, "by hand", "a hand-written loop", Goal(1.05, "at most")),
            ("c", 128, "plain", "a plain Lightning module", None),
        )
    ),
    Line("5", "training", "a cell's training on 2 processes, 2 cores", "1 process on 1 core",
         "× the images/s", two_processes, Goal(1.6, "at least")),
    Line("5b", "training", "two processes that convolve, 2 cores", "one, on one of them",
         "× the convolutions", second_core),
)  # fmt: skip
"""The lines about training."""
