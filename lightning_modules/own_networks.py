"""Networks that were made for other pictures and outputs: what fits, and a trial before training.

Most libraries' segmentation networks want colour and some return more than one tensor. Two rules
let them in as they are: a grey image is repeated in three channels where one is refused, and of
several outputs one is the masks' logits (``out`` of a mapping, as torchvision names it, the first
of a sequence). All else is refused by the network's name.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.rank_zero import rank_zero_info
from torch import Tensor, nn

from contract.errors import UserError

_COLOURS = 3
_MAIN_OUTPUT = "out"


def channels_wanted(network: nn.Module, image: Tensor) -> int:
    """Return how many channels a network wants its grey image in: 1, or 3 where it refuses 1.

    A network without a convolution of three channels is not tried: it is given one. Of one that
    refuses both, the answer is 1.

    Args:
        network: images to logits.
        image: ``(N, 1, H, W)``; the first is tried, on a copy of the network.
    """
    if not any(
        isinstance(part, nn.Conv2d) and part.in_channels == _COLOURS for part in network.modules()
    ):
        return 1
    copy = _copy_of(network)
    if copy is None:
        return 1
    for channels in (1, _COLOURS):
        try:
            with _same_draws(image), torch.no_grad():
                copy.eval()(in_channels(image[:1], channels))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:  # a user's network raises any kind; the trial will name it
            continue
        return channels
    return 1


def in_channels(image: Tensor, channels: int) -> Tensor:
    """Return grey images ``(N, 1, H, W)`` repeated as ``(N, channels, H, W)``."""
    return image if channels == 1 else image.repeat(1, channels, 1, 1)


def mask_logits(output: Any, network: nn.Module) -> Tensor:
    """Return the masks' logits out of what a network returned.

    Args:
        output: a tensor, a mapping with ``out``, or a sequence that begins with the logits.
        network: for the message.

    Raises:
        UserError: if it is none of these.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get(_MAIN_OUTPUT)
    elif isinstance(output, list | tuple) and output:
        found = output[0]
    if isinstance(found, Tensor):
        return found
    raise UserError(
        _name(network),
        f"an output of {_told(output)}",
        f"logits as a tensor, as {_MAIN_OUTPUT!r} of a mapping, or as the first of a tuple",
        "wrap the network in a class of your own that returns its logits",
    )


def try_network(network: nn.Module, image: Tensor, classes: int, channels: int) -> None:
    """Try a network on a few images before training; it and all random draws stay as they are.

    Tried is a copy, in both modes: what it returns, its shape, that it is finite, and whether a
    gradient comes back.

    Args:
        network: images to logits.
        image: ``(N, 1, H, W)`` of a training batch.
        classes: the output channels that the system's structures need.
        channels: of the network's input, from ``channels_wanted``.

    Raises:
        UserError: naming the network's class, the shapes given, found and expected; its cause is
            the network's own error, if it raised one.
    """
    copy = _copy_of(network)
    if copy is None:
        return
    given = in_channels(image, channels)
    output: Any = None
    for training in (False, True):
        copy.train(training)
        with _same_draws(image), torch.set_grad_enabled(training):
            output = _called(copy, given)
        logits = mask_logits(output, network)
        _require_fit(network, given, logits, classes)
    _require_gradient(copy, logits)
    if channels != 1:
        rank_zero_info(f"{_name(network)} wants {channels} channels: grey is repeated in each")
    if not isinstance(output, Tensor) and len(output) > 1:
        which = repr(_MAIN_OUTPUT) if isinstance(output, Mapping) else "the first"
        rank_zero_info(
            f"{_name(network)} returns {len(output)} outputs: {which} is the masks' logits, the "
            "others have no part in the loss"
        )


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimiser is to move.

    Raises:
        UserError: if there are none.
    """
    found = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not found:
        raise UserError(
            _name(network),
            "no parameter that takes a gradient",
            "a network that can learn",
            "register its layers as attributes, and freeze fewer of them",
        )
    return found


def _called(network: nn.Module, image: Tensor) -> Any:
    try:
        return network(image)
    except Exception as error:  # a user's network raises any kind
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise UserError(
            _name(network),
            f"{type(error).__name__}{f': {told}' if told else ''}{_line_of(error)}",
            f"logits for {'training on ' if network.training else ''}images of shape "
            f"{_shape(image)} ({'grey' if image.shape[1] == 1 else 'grey, repeated'})",
            "mend the network, or choose preprocessing.size, batch_size and its arguments so that "
            "it takes these",
        ) from error


def _require_fit(network: nn.Module, image: Tensor, logits: Tensor, classes: int) -> None:
    expected = (len(image), classes, *image.shape[2:])
    if tuple(logits.shape) != expected:
        raise UserError(
            _name(network),
            f"an output of shape {_shape(logits)} for images of shape {_shape(image)}",
            f"{expected!s} (images, classes, height, width)",
            "give it `$classes`, and have it return logits of the image's size",
        )
    if not logits.is_floating_point():
        raise UserError(_name(network), f"an output of {logits.dtype}", "logits as floats")
    if not logits.isfinite().all():
        raise UserError(
            _name(network),
            "an output that is not finite, before any training",
            "finite logits",
            "look at how its weights begin, and at divisions and roots in its forward",
        )


def _require_gradient(network: nn.Module, logits: Tensor) -> None:
    parameters = trained_parameters(network)
    gradients: Sequence[Tensor | None] = ()
    if logits.requires_grad:
        score = logits.float().square().mean()
        gradients = torch.autograd.grad(score, parameters, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    if not reached:
        raise UserError(
            _name(network),
            "no gradient from its output to any parameter",
            "an output that follows from its parameters",
            "look for `detach`, `no_grad` and NumPy in its forward",
        )
    if not all(gradient.isfinite().all() for gradient in reached):
        raise UserError(
            _name(network),
            "a gradient that is not finite, before any training",
            "finite gradients",
            "look for roots and logarithms of 0 in its forward",
        )


def _copy_of(network: nn.Module) -> nn.Module | None:
    """Return a copy of a network, or None, told in the log, where it cannot be copied."""
    try:
        return deepcopy(network)
    except (RuntimeError, TypeError, ValueError) as error:
        told = str(error).partition("\n")[0]
        rank_zero_info(f"{_name(network)} is not tried before training: no copy of it ({told})")
        return None


def _same_draws(image: Tensor) -> Any:
    """Return a context after which random numbers go on as if nothing had been drawn."""
    return torch.random.fork_rng([image.device] if image.device.type == "cuda" else [])


def _name(network: nn.Module) -> str:
    kind = type(network)
    return f"the network {kind.__module__}.{kind.__qualname__}"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _told(output: Any) -> str:
    """Return an output's kind and shapes in words."""
    if isinstance(output, Tensor):
        return _shape(output)
    if isinstance(output, Mapping):
        inner = ", ".join(f"{key!r}: {_told(value)}" for key, value in output.items())
        return f"{type(output).__name__} {{{inner}}}"
    if isinstance(output, list | tuple):
        return f"{type(output).__name__} ({', '.join(map(_told, output))})"
    return f"type {type(output).__name__}"


def _line_of(error: Exception) -> str:
    """Return where an error arose, outside of torch."""
    torch_folder = Path(torch.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if torch_folder not in file.parents and file != Path(__file__):
            return f" ({file.name}, line {frame.lineno})"
    return ""
