"""Columns of ``cases.parquet`` and ``leaderboard.csv``: the one place that holds the schemas."""

from __future__ import annotations

import pyarrow as pa

METRICS = (
    "dice", "iou", "precision", "recall", "accuracy", "auc", "nsd",
    "hausdorff_px", "hausdorff95_px", "assd_px", "hausdorff_mm", "hausdorff95_mm", "assd_mm",
    "dice_netgrid", "iou_netgrid",
)  # fmt: skip
"""Metrics of one case and structure, in the order of the columns."""

LOWER_IS_BETTER = frozenset(m for m in METRICS if m.startswith(("hausdorff", "assd")))
UNRANKED = frozenset({"auc"})

CELL_COLUMNS = ("suite", "system", "protocol", "seed")

CASE_SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("system", pa.string()),
        ("protocol", pa.string()),
        ("seed", pa.int64()),
        ("train_on", pa.string()),
        ("test_on", pa.string()),
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
        ("structure", pa.string()),
        *((metric, pa.float64()) for metric in METRICS),
        ("reference", pa.string()),
        ("unit", pa.string()),
        ("scan_id", pa.string()),
        ("slice_index", pa.int64()),
        ("volume_ml", pa.float64()),
        ("empty_prediction", pa.bool_()),
        ("empty_reference", pa.bool_()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("phantom", pa.bool_()),
    ]
)
"""One row per case and structure. A null means undefined (no spacing, AUC of one class)."""
