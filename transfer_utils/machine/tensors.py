"""What a tensor must be before anything is computed with it. What is not is refused at the door, with the way out."""

import numbers
from typing import Any, TypeGuard

import torch
from torch import Tensor

PIXELS = "photos are a tensor of uint8 (N, 3, H, W), from 0 to 255"


def check_photos(call: str, images: Any) -> None:
    """Refuse what are no photos, uint8 (N, 3, H, W). call: who asks, for the message.

    It reads no number of a good tensor, so nobody waits for the device. TypeError for what is no tensor, ValueError
    for another dtype or layout.
    """
    if not isinstance(images, Tensor):
        raise TypeError(
            f"{call} got images of type {type(images).__name__}; {PIXELS}. An ImageSet has them in photos.images; "
            "torch.from_numpy(images) makes a tensor of an array, and torch.stack(images) of a list of tensors."
        )
    if images.dtype != torch.uint8:
        raise ValueError(f"{call} got {_digits(images)} images{_as_bytes(images)}")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"{call} got images of shape {tuple(images.shape)}; {PIXELS}. {_in_layout(images)}")


def check_tokens(call: str, tokens: Any, longest: int) -> None:
    """Refuse what are no tokens, int64 (N, L), with L from 1 to `longest`. Errors as in check_photos."""
    if not isinstance(tokens, Tensor):
        raise TypeError(f"{call} got tokens of type {type(tokens).__name__}; model.encode(lines, size) makes them.")
    if tokens.dtype != torch.int64 or tokens.ndim != 2 or not 1 <= tokens.shape[1] <= longest:
        raise ValueError(
            f"{call} got {_digits(tokens)} tokens of shape {tuple(tokens.shape)}; tokens are int64 (N, L), with L from "
            f"1 to {longest}. model.encode(lines, size) makes them; a single line is a batch of one: [line]."
        )


def check_labels(call: str, labels: Any, count: int, classes: int | None = None, one: str = "photo") -> None:
    """Refuse what are no labels of `count` photos, int64 (N,), each the position of a class. classes: how many.

    one: what an item is called.

    TypeError for what is no tensor, ValueError for the rest.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"{call} got labels of type {type(labels).__name__}; they are a tensor of int64: torch.tensor(labels)."
        )
    if labels.ndim != 1:
        way = "labels.argmax(1)" if labels.ndim == 2 and labels.shape[1] > 1 else "labels.flatten()"
        raise ValueError(f"{call} got labels of shape {tuple(labels.shape)}; it needs one a {one}, (N,): {way}.")
    if labels.dtype != torch.int64:
        raise ValueError(f"{call} got {_digits(labels)} labels; they are int64, positions of classes: labels.long().")
    if len(labels) != count:
        raise ValueError(
            f"{call} got {count} {one}s and {len(labels)} labels; it needs a label for each {one}. "
            "Pick both with the same positions."
        )
    if count:
        _check_range(call, *labels.aminmax(), classes, one)


def _check_range(call: str, low: Tensor, high: Tensor, classes: int | None, one: str) -> None:
    if low < 0:
        raise ValueError(f"{call} got the label {low}; labels count from 0. Leave {one}s without a class out.")
    if classes is not None and high >= classes:
        raise ValueError(
            f"{call} got labels up to {high} and {classes} classes, so labels go from 0 to {classes - 1}. "
            f"Count them from 0, or give {one}s of these classes only."
        )


def is_whole(value: Any, least: int) -> TypeGuard[int]:
    """Whether this is a whole number of at least `least`. True and False are no numbers here."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least


def check_size(call: str, size: Any) -> None:
    """ValueError unless size, the side of square photos in pixels, is a whole number of at least 1."""
    if not is_whole(size, 1):
        raise ValueError(
            f"{call} got size={size!r}; it is the side of a square photo in pixels. "
            "Give one whole number of at least 1, for example 32."
        )


def _digits(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _as_bytes(images: Tensor) -> str:
    """Where the numbers lie, the rule, and how they become bytes."""
    if images.is_meta or images.is_complex() or not images.numel():
        return f"; {PIXELS}: images.byte()."
    low, high = (limit.item() for limit in images.float().aminmax())
    told = f" from {low:.3g} to {high:.3g}; {PIXELS}"
    if 0 <= low <= high <= 1:
        return f"{told}. Scale them back: (images * 255).round().byte()."
    if 0 <= low <= high <= 255:
        return f"{told}. Make bytes of them: images.round().byte()."
    return f"{told}. Give them as they were before they were normalised: preprocess() does that, once."


def _in_layout(images: Tensor) -> str:
    """How the layouts that libraries and mistakes bring become (N, 3, H, W)."""
    match 0 in images.shape[1:], *images.shape:
        case True, *_:
            return "These have no pixels: leave them out."
        case _, _, _, _, 3:
            return "Here colours come last: images.permute(0, 3, 1, 2)."
        case _, _, _, _, 4:
            return "Here colours come last, with transparency: images[..., :3].permute(0, 3, 1, 2)."
        case _, _, _, _, 1:
            return "These are grey: images.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)."
        case _, _, 1, _, _:
            return "These are grey: images.expand(-1, 3, -1, -1)."
        case _, _, 4, _, _:
            return "These have a fourth channel, transparency: images[:, :3]."
        case _, 3, _, _:
            return "A single photo is a batch of one: images[None]."
        case _, _, _, 3:
            return "A single photo with its colours last: images.permute(2, 0, 1)[None]."
        case _, _, _, _:
            return "These are grey: images[:, None].expand(-1, 3, -1, -1)."
    return "Bring them into this shape, for example by images.reshape(-1, 3, 32, 32)."
