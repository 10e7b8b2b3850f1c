"""Training steps on a GPU: half precision beside eager fp32, and beside what the card can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.performance.lines import Goal, Line, Measured, NotMeasuredError, Setting
from benchmark.performance.timing import Sample, TimedAct, in_turn
from benchmark.planning.own_systems import load_system

STEP_SIZE = 512
STEP_BATCH = 8
REPEATS = 10
MATRIX = 8192
"""Side of the square matrices whose product tells a card's rate."""


def on_device(device: str, act: Callable[[], object], times: int) -> TimedAct:
    """Return an act that repeats another one and waits for the device to end; seconds of one."""

    def timed() -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(times):
            act()
        _wait(device)
        return (time.perf_counter() - began) / times

    return timed


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def step_of(
    system: str,
    device: str,
    half: bool,
    size: int = STEP_SIZE,
    batch: int = STEP_BATCH,
    **changes: Any,
) -> Callable[[], None]:
    """Return a training step of a system's generator on random images.

    Args:
        system: its name.
        device: torch's.
        half: whether as with ``--profile gpu``: bfloat16, channels last, a fused optimiser.
        size: side of the images in pixels.
        batch: images of a step.
        changes: of the system, as for ``load_system``.
    """
    torch.manual_seed(0)
    module: Any = load_system(system, **changes).to(device)
    generator = module.generator
    image = torch.randn(batch, 1, size, size, device=device)
    lungs = (image > 0).float()
    target = torch.cat([1 - lungs, lungs], dim=1)
    if half:
        generator.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(generator.parameters(), fused=half)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = generator(image)
        logits = logits.float()
        module.loss(logits, logits.softmax(dim=1), target).backward()
        optimizer.step()

    return step


def _require_gpu(setting: Setting) -> None:
    if setting.device != "gpu":
        raise NotMeasuredError("needs a GPU that torch can use")


def half_beside_full(system: str, setting: Setting) -> Measured:
    """Time a system's step in half precision beside the plain one in fp32."""
    _require_gpu(setting)
    half, full = (on_device("cuda", step_of(system, "cuda", one), REPEATS) for one in (True, False))
    pairs = in_turn(half, full, setting.rounds)
    return Measured(pairs.speed, f"{STEP_BATCH / pairs.here.middle:.0f} images/s in bf16")


def share_of_rate(system: str, setting: Setting) -> Measured:
    """Take the share of the card's matrix rate, measured by a product in bf16, that a step gets."""
    _require_gpu(setting)
    step = step_of(system, "cuda", True)
    with FlopCounterMode(display=False) as counter:
        step()
    one = torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16)
    product = on_device("cuda", lambda: one @ one, REPEATS)
    pairs = in_turn(on_device("cuda", step, REPEATS), product, setting.rounds)
    rates = [
        (counter.get_total_flops() / ours / 1e12, 2 * MATRIX**3 / card / 1e12)
        for ours, card in zip(pairs.here.values, pairs.beside.values, strict=True)
    ]
    note = f"{rates[-1][0]:.1f} of {rates[-1][1]:.0f} TFLOP/s"
    return Measured(Sample(tuple(100 * ours / card for ours, card in rates)), note)


GPU = (
    *(
        Line(f"10{letter}", "training", f"a training step of `{system}` at 512², bf16",
             "eager fp32", "× as fast", partial(half_beside_full, system), Goal(5, "at least"))
        for letter, system in (("a", "unet"), ("b", "attention_unet"))
    ),
    Line("10c", "training", "a training step of `unet` at 512², bf16", "the card's matrix rate",
         "% of it", partial(share_of_rate, "unet"), Goal(35, "at least")),
)  # fmt: skip
"""The lines that need a GPU."""
