"""Films and scans without files, and a module that sees their prediction: tests of testing."""

import numpy as np
import torch
from pytorch_lightning import Trainer
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

from lightning_modules.case_rows import CaseRows
from lightning_modules.segmenter import Segmenter

SPACING, SLICE_MM = (0.8, 0.7), 2.5
SHAPE = (24, 20)


class Seen(Segmenter):
    """Predicts what the image shows: a channel of probabilities becomes all channels."""

    def __init__(self, structures=("lungs",), activation="sigmoid"):
        super().__init__(structures, activation)

    def forward(self, image):
        lungs = image
        return lungs if len(self.structures) == 1 else torch.cat([1 - lungs, lungs], dim=1)


def body(seed, n_slices, shape=SHAPE):
    """A smooth volume with empty first and last slices."""
    noise = np.random.default_rng(seed).normal(size=(n_slices, *shape))
    volume = gaussian_filter(noise, 2) > 0.02
    volume[[0, -1]] = False
    return volume


def slices_of(scan_id, prediction, reference, nodules=()):
    """Test items of one scan; ``prediction`` is what the network sees."""
    items = []
    for place, (seen, mask) in enumerate(zip(prediction, reference, strict=True)):
        items.append(
            {
                "image": torch.from_numpy(seen[None].astype(np.float32)),
                "target": torch.from_numpy(mask[None].astype(np.float32)),
                "references": {"lungs": mask},
                "box": (0, 0, *mask.shape),
                "spacing": SPACING,
                "identity": {
                    "test_on": "lidc_idri", "case_id": f"{scan_id}:{place:04d}",
                    "patient_id": f"patient of {scan_id}", "reference": "automatic",
                    "unit": "slice", "scan_id": scan_id, "slice_index": place,
                },
                "scan": {"scan_id": scan_id, "n_slices": len(reference), "slice_mm": SLICE_MM},
                "nodules": [(name, mask[place]) for name, mask in nodules if mask[place].any()],
            }
        )  # fmt: skip
    return items


def films_of(count, shape=SHAPE):
    """Test items of films; what the network sees is a little off."""
    items = []
    for number in range(count):
        mask = body(number, 3, shape)[1]
        items.append(
            {
                "image": torch.from_numpy(np.roll(mask, 1, axis=0)[None].astype(np.float32)),
                "target": torch.from_numpy(mask[None].astype(np.float32)),
                "references": {"lungs": mask},
                "box": (0, 0, *shape),
                "spacing": None,
                "identity": {
                    "test_on": "montgomery", "case_id": f"film-{number}",
                    "patient_id": f"patient {number}", "reference": "plain", "unit": "image",
                },
                "scan": None,
                "nodules": [],
            }
        )  # fmt: skip
    return items


def collate(part):
    batch = {key: [item[key] for item in part] for key in part[0]}
    return batch | {key: torch.stack(batch[key]) for key in ("image", "target")}


def run_test(items, batch_size, module=None, *callbacks):
    """Test in batches of that size, in the order of the items; return what kept the rows."""
    kept = CaseRows()
    trainer = Trainer(
        accelerator="cpu", callbacks=[kept, *callbacks], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.test(module or Seen(), DataLoader(items, batch_size, collate_fn=collate), verbose=False)
    return kept


def rows_of_test(items, batch_size, module=None):
    """The rows of a test in batches of that size."""
    return run_test(items, batch_size, module).rows
