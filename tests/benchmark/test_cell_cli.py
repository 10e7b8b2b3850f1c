"""The config's own word decides what the Trainer gets."""

import pytest

from benchmark.cell.cli import whole_numbers
from benchmark.cell.fit import CellCLI
from contract.errors import UserError


@pytest.mark.parametrize(
    ("parsed", "stated", "expected"),
    [
        (1.0, 1, {"limit_train_batches": 1}),
        (1.0, 1.0, {}),
        (0.5, 0.5, {}),
        (16.0, 16, {"limit_train_batches": 16}),
        (16.0, None, {"limit_train_batches": 16}),
        (3, 3, {}),
    ],
)
def test_counts_stay_counts(parsed, stated, expected):
    found = whole_numbers({"limit_train_batches": parsed}, {"limit_train_batches": stated})
    assert found == expected
    assert all(isinstance(value, int) for value in found.values())


@pytest.mark.parametrize("batches", [1, 2])
def test_a_limit_of_batches_reaches_the_trainer(tiny_cell, tmp_path, batches):
    from typing import Optional, Union

    # What poisons typing's cache: an equal union in another order.
    _ = Optional[Union[float, int]]  # noqa: UP007, UP045
    overrides = {"preprocessing.size": 32, "trainer.limit_train_batches": batches}
    config = tiny_cell(systems=["unet"], overrides=overrides)
    trainer = CellCLI(config, tmp_path, []).trainer
    assert trainer.limit_train_batches == batches
    assert isinstance(trainer.limit_train_batches, int)


def test_no_argument_is_guessed_from_its_beginning(tiny_cell, tmp_path):
    config = tiny_cell(systems=["unet"], overrides={"preprocessing.size": 32})
    with pytest.raises(UserError, match=r"--trainer\.max_epoch=3"):
        CellCLI(config, tmp_path, ["--trainer.max_epoch=3"])
