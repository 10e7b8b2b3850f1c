"""Columns of ``cases.parquet`` and ``leaderboard.csv``: the one place that holds the schemas."""

from __future__ import annotations

import pyarrow as pa

METRICS = (
    "dice", "iou", "precision", "recall", "accuracy", "auc", "nsd",
    "hausdorff_px", "hausdorff95_px", "assd_px", "hausdorff_mm", "hausdorff95_mm", "assd_mm",
    "dice_netgrid", "iou_netgrid", "iou_keras_pixelwise", "hausdorff_rowvector",
    "nodule_coverage", "nodule_pixel_coverage",
    "pleural_nodule_coverage", "pleural_nodule_pixel_coverage",
)  # fmt: skip
"""Metrics of one case and structure, in the order of the columns.

``iou_keras_pixelwise`` is no IoU but what DEFU-Net's paper prints as one, and
``hausdorff_rowvector`` no distance between masks but what LGAN's tables fit: both stand beside
their paper only. Nodule coverage is the share, in [0, 1], of a scan's annotated nodules (or of
their pixels) inside the predicted lungs; null where a scan has none.
"""

LOWER_IS_BETTER = frozenset(m for m in METRICS if m.startswith(("hausdorff", "assd")))
UNRANKED = frozenset({"auc", "iou_keras_pixelwise", "hausdorff_rowvector"})

ENDPOINTS = ("area_px", "area_mm2", "volume_ml", "cardiothoracic_ratio")
"""Measurements that people make on masks; each has a ``reference_`` column beside it.

Areas count pixels of the grid that is scored; the ratio stands in rows of the heart.
"""

QUALITY = ("disagreement", "components", "flagged")
"""What is known of a prediction without its reference.

``disagreement`` is 1 - Dice between the lungs predicted for the film and for its mirror image, in
[0, 1]; ``components`` counts the mask's connected parts but for specks; ``flagged`` warns of poor
lungs. The first and the last stand in rows of the lungs only, null elsewhere.
"""

SUBGROUPS = ("finding", "sex", "age", "view", "subgroup")
"""What the clinical files, or a user's table, tell of a case; null where they tell nothing."""

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
        *((f"{side}{name}", pa.float64()) for name in ENDPOINTS for side in ("", "reference_")),
        ("disagreement", pa.float64()),
        ("components", pa.int64()),
        ("flagged", pa.bool_()),
        ("empty_prediction", pa.bool_()),
        ("empty_reference", pa.bool_()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("phantom", pa.bool_()),
        ("reduced", pa.bool_()),
        *((subgroup, pa.string()) for subgroup in SUBGROUPS),
    ]
)
"""One row per case and structure. A null means undefined (no spacing, AUC of one class)."""

STATISTICS = ("mean", "ci_low", "ci_high", "median", "sd_cases", "sd_seeds", "mean_clean", "n")
"""What the leaderboard says of every metric, as columns ``<metric>_<statistic>``."""

ALL_SLICES = ("dice", "iou", "hausdorff_rowvector")
"""Metrics of which there is a mean and a median over all slices, as LGAN's paper may take them."""

TABLE_KEYS = ("protocol", "structure", "reference", "unit", "phantom")
"""Rows of ``leaderboard.csv`` that agree in these are one table: only they are compared."""

RANKED_REFERENCES = frozenset({"plain", "automatic"})
RANKED_UNITS = frozenset({"image", "scan"})

LEADERBOARD_SCHEMA = pa.schema(
    [
        ("protocol", pa.string()),
        ("structure", pa.string()),
        ("rank", pa.int64()),
        ("system", pa.string()),
        ("label", pa.string()),
        ("reduced", pa.bool_()),
        ("reference", pa.string()),
        ("unit", pa.string()),
        ("n_cases", pa.int64()),
        ("n_patients", pa.int64()),
        ("n_seeds", pa.int64()),
        ("n_failed", pa.int64()),
        ("n_below_90", pa.int64()),
        ("n_below_80", pa.int64()),
        *(
            (f"{metric}_{statistic}", pa.int64() if statistic == "n" else pa.float64())
            for metric in METRICS
            for statistic in STATISTICS
        ),
        ("n_cases_clean", pa.int64()),
        *(
            (f"{metric}_{statistic}_all_slices", pa.float64())
            for statistic in ("mean", "median")
            for metric in ALL_SLICES
        ),
        ("false_positive_slice_rate", pa.float64()),
        ("published_dice", pa.float64()),
        ("published_source", pa.string()),
        ("changes", pa.string()),
        ("tested_epoch_min", pa.int64()),
        ("tested_epoch_max", pa.int64()),
        ("n_train", pa.int64()),
        ("n_validation", pa.int64()),
        ("n_labelled", pa.int64()),
        ("split_hash", pa.string()),
        ("phantom", pa.bool_()),
    ]
)
"""One row per protocol, system and structure (and per reference and unit, where they differ).

``n_failed`` counts cases with exactly one mask empty in any seed, ``n_below_90`` and
``n_below_80`` cases whose Dice, averaged over seeds, is lower. A null rank is outside the
ranking; any other null is undefined, and ``<metric>_n`` counts the cases behind a mean.
"""

LEADERBOARD_COLUMNS = tuple(LEADERBOARD_SCHEMA.names)
