"""Counts the operations of steps on tensors that have a shape and no content.

Torch works out the shape of each result in Python, again and again for the layers of equal shape
that networks are made of: most of the time of such a step. Here equal calls are worked out once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_Form = tuple[Any, ...]
"""Shape, strides and type of a tensor; of what is none, its type and itself."""


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, through second derivatives too, which torch's own counter cannot.

    Attributes:
        total: operations so far, two for a multiplication with its addition.
    """

    _known: ClassVar[dict[_Form, tuple[float, Any] | None]] = {}
    """By call, its operations and the forms of its results; None where it has to be made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = (func, _form(args), _form(tuple(kwargs.items())))
        try:
            known = self._known.get(call)
            is_new = known is None and call not in self._known
        except TypeError:  # what cannot be a key
            known, is_new = None, False
        if known is not None:
            self.total += known[0]
            return _made(known[1])
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        flop = float(count(*args, **kwargs, out_val=result)) if count is not None else 0.0
        self.total += flop
        if is_new:
            plain = _is_plain(func, args, kwargs, result)
            self._known[call] = (flop, _form(result)) if plain else None
        return result


def _form(value: Any) -> Any:
    """Return all of a value that the shape of a result can depend on."""
    if isinstance(value, Tensor):
        return Tensor, value.shape, value.stride(), value.dtype, value.device.type
    if isinstance(value, tuple | list):
        return (type(value), *map(_form, value))
    return type(value), value


def _made(form: _Form) -> Any:
    """Return a value of a form: for a tensor, a new one without content."""
    kind, *parts = form
    if kind is Tensor:
        shape, strides, dtype, device = parts
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)
    if issubclass(kind, tuple | list):
        return kind(map(_made, parts))
    return parts[0]


def _is_plain(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> bool:
    """Tell whether a call makes new tensors and changes none: no view, nothing in place."""
    schema = func._schema
    if schema.is_mutable or any(value.alias_info is not None for value in schema.returns):
        return False
    given = {one.untyped_storage()._cdata for one in _tensors((args, tuple(kwargs.values())))}
    made = [one.untyped_storage()._cdata for one in _tensors(result)]
    return bool(made) and len(set(made)) == len(made) and not given & set(made)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)
