"""What libraries say to programmers, kept out of a cell's log.

Only what is named here is left out; every other warning of Lightning's or of a user's own code
stands in the log.
"""

from __future__ import annotations

import logging
import warnings

WARNINGS = (
    "torch.jit",
    "isinstance.treespec, LeafSpec.",
    "srun. command is available",  # cells say themselves whether srun starts their processes
    "args parameter is intended",  # LightningCLI is called from Python by design
    "configure_optimizers. returned .None.",  # the mean shape learns without any
    "does not have many workers",  # data.workers, 0 unless a system says otherwise
    "smaller than the logging interval",  # a line an epoch is what is logged
)
"""Parts of warnings, as regular expressions."""

SAYINGS = (
    "Tip: For seamless cloud",
    "`weights_only` was not set",
    "TPU available",
    "that has Tensor Cores",  # float32 stays as it is: results are to repeat
)
"""Parts of what Lightning logs."""

_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.trainer.connectors.checkpoint_connector",
)


def _is_for_people(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return not any(part in said for part in SAYINGS)


def keep_quiet() -> None:
    """Leave these out from now on; to be called before Lightning is imported, which warns too."""
    for part in WARNINGS:
        warnings.filterwarnings("ignore", message=f"(?s).*{part}")
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_for_people)  # the same filter is added once
