"""Small synthetic chest X-ray and CT data sets in the official layouts, for tests and dry runs."""

from datamodules.phantoms.ct import write_ct_phantoms, write_lidc, write_qin
from datamodules.phantoms.writers import (
    write_jsrt,
    write_montgomery,
    write_phantoms,
    write_shenzhen,
)
from datamodules.sources.base import PHANTOM_MARKER

__all__ = [
    "PHANTOM_MARKER",
    "write_ct_phantoms",
    "write_jsrt",
    "write_lidc",
    "write_montgomery",
    "write_phantoms",
    "write_qin",
    "write_shenzhen",
]
