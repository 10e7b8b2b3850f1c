"""Run as a script: a plain Trainer with Lightning's defaults on one process or more.

Writes the rows of its test, the means that it returned, the films of each joint training batch and
the masks that it predicted.
"""

import json
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch

from lightning_modules.case_rows import from_all_processes
from lungbench import CaseRows, Montgomery, load_system, system_data

SMALL = {
    "preprocessing.size": 32,
    "batch_size": 4,
    "trainer.max_epochs": 2,
    "model.init_args.generator.init_args.widths": [4, 8],
}


class Seen(pl.Callback):
    """Keeps a number for each film of each training batch."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        films = [round(float(film.double().sum()), 3) for film in batch["image"]]
        parts = from_all_processes([{"films": films}])
        self.batches.append(sorted(film for part in parts for film in part["films"]))


def main(root: str, out: Path, devices: int) -> None:
    data = Montgomery(root, cache=out / f"cache-{devices}", **system_data("unet", **SMALL))
    pl.seed_everything(0)
    rows, seen = CaseRows(), Seen()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=devices, callbacks=[rows, seen],
        default_root_dir=out / f"lightning-{devices}", logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(load_system("unet", **SMALL), data)
    (means,) = trainer.test(datamodule=data, verbose=False)
    batches = trainer.predict(datamodule=data)
    predicted = [
        {"case": one["identity"]["case_id"], "shape": list(one["masks"]["lungs"].shape)}
        for batch in batches
        for one in batch
    ]
    predicted = from_all_processes(predicted)
    if trainer.is_global_zero:
        told = {
            "rows": [{k: r[k] for k in ("case_id", "structure", "dice")} for r in rows.rows],
            "means": {name: float(value) for name, value in means.items()},
            "batches": seen.batches,
            "predicted": predicted,
            "checkpoint": trainer.checkpoint_callback.best_model_path,
        }
        (out / f"told-{devices}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
