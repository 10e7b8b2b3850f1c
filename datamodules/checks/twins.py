"""The same image under two names: within a data set, across data sets, on two sides of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from datamodules.cache import PreparedSet
from datamodules.splits import Key, Split


def pixel_digest(pixels: NDArray[np.generic]) -> str:
    """Return a digest of decoded pixels and their shape: the same for any encoding of an image."""
    digest = hashlib.blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def twins(digests: Iterable[tuple[Key, str]]) -> list[tuple[Key, ...]]:
    """Return the groups of cases whose images have one digest, each group sorted."""
    found: dict[str, list[Key]] = defaultdict(list)
    for key, digest in digests:
        found[digest].append(key)
    return sorted(tuple(sorted(keys)) for keys in found.values() if len(keys) > 1)


def sides_of(split: Split) -> dict[Key, str]:
    """Return the side of the split on which each case stands."""
    sides = {"train": split.train, "validation": split.validation, "test": split.test}
    return {key: side for side, keys in sides.items() for key in keys}


def require_distinct(prepared: Mapping[str, PreparedSet]) -> None:
    """Require that no two films, or two scans, show the same pixels.

    Args:
        prepared: prepared sets by data set's name, all with one preprocessing.

    Raises:
        DataError: if an image stands under two names, in one data set or in two.
    """
    keyed = (
        ((name, case_id), pixel_digest(cases.images[place.start : place.stop]))
        for name, cases in prepared.items()
        for case_id, place in cases.places.items()
    )
    for first, second, *_ in twins(keyed):
        raise DataError(
            " ".join(second),
            f"the same image as {' '.join(first)}",
            "each image under one name",
            "download the data again, or remove one of them from your own data",
        )
