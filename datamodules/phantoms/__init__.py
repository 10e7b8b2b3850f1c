"""Small synthetic chest X-ray data sets in the official layouts, for tests and dry runs."""

from datamodules.phantoms.writers import (
    write_jsrt,
    write_montgomery,
    write_phantoms,
    write_shenzhen,
)
from datamodules.sources.base import PHANTOM_MARKER

__all__ = [
    "PHANTOM_MARKER",
    "write_jsrt",
    "write_montgomery",
    "write_phantoms",
    "write_shenzhen",
]
