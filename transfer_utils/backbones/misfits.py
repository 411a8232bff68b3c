"""Weights that do not fit a network, and why, in words."""

from torch import Tensor

COUNTS = "num_batches_tracked"  # of batch-norms, which torch sets to 0 where a file has none
# Who puts what before the names of weights.
WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DataParallel", "model.": "Lightning"}
AVERAGED = "n_averaged"  # beside them, the counter of torch's AveragedModel


def check_fit(found: dict[str, Tensor], wanted: dict[str, Tensor], origin: str) -> None:
    """ValueError unless the weights `found` in the file `origin` are those `wanted` by a network, both by name."""
    missing = [name for name in wanted if name not in found and not name.endswith(COUNTS)]
    extra = [name for name in found if name not in wanted]
    if missing or extra:
        raise ValueError(f"{origin} does not fit this network: {_other_names(found, wanted, missing, extra)}")
    for name, tensor in ((name, found[name]) for name in wanted if name in found):  # from the photo to the head
        if wanted[name].is_meta:  # torch would only warn, and copy nothing
            raise ValueError(
                f"{name} of this network is on the device 'meta', which keeps no values. Build the network outside of "
                "torch.device('meta')."
            )
        if tensor.shape != wanted[name].shape:
            raise ValueError(f"{origin} does not fit this network: {_other_shape(name, tensor, wanted[name])}")
        if _kind(tensor) != _kind(wanted[name]):
            raise ValueError(
                f"{origin} does not fit this network: {name} holds {tensor.dtype} where the network has "
                f"{wanted[name].dtype}. Save the weights as floating-point numbers, before they are quantised."
            )


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """Half precision is as good as single, whole numbers instead of fractions are not."""
    return tensor.is_floating_point(), tensor.is_complex()


def _other_names(found: dict[str, Tensor], wanted: dict[str, Tensor], missing: list[str], extra: list[str]) -> str:
    needed = [name for name in wanted if not name.endswith(COUNTS)]
    if (prefix := _prefix(list(found), needed)) is not None:
        return (
            f"its names begin with {prefix!r}{_writer(prefix, found)}. Take that off: model.load_state_dict({{"
            f"name.removeprefix({prefix!r}): tensor for name, tensor in safetensors.torch.load_file(path).items() "
            f"if name.startswith({prefix!r})}}), and save it with save_checkpoint()."
        )
    stored = [name for name in found if not name.endswith(COUNTS)]
    if (prefix := _prefix(list(wanted), stored)) is not None:
        return f"this network's names begin with {prefix!r}, those in the file do not. Load into that part of it."
    if {name.replace("_orig_mod.", "") for name in found} == {name.replace("_orig_mod.", "") for name in wanted}:
        return (
            "torch.compile put '_orig_mod.' into some names of one of them. Save from and load into a network whose "
            "parts are not compiled yet."
        )
    parts = [f"it lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}"] if missing else []
    parts += [f"it has {len(extra)} that the network lacks, first {extra[0]}"] if extra else []
    return f"{', and '.join(parts)}. Build the network with the architecture and the classes in its card."


def _prefix(longer: list[str], shorter: list[str]) -> str | None:
    """What stands before all of the shorter names in the longer ones, None where nothing does."""
    there = set(longer)
    prefixes = (name.removesuffix(shorter[0]) for name in longer if shorter and name.endswith(f".{shorter[0]}"))
    return next((prefix for prefix in prefixes if all(f"{prefix}{name}" in there for name in shorter)), None)


def _writer(prefix: str, found: dict[str, Tensor]) -> str:
    writers = [writer for part, writer in WRAPPERS.items() if part in prefix]
    if AVERAGED in found:
        writers = ["AveragedModel"]
    return f", as {' and '.join(writers)} writes them" if writers else ""


def _other_shape(name: str, found: Tensor, wanted: Tensor) -> str:
    if name.startswith("head.") and found.dim() == wanted.dim() and found.shape[1:] == wanted.shape[1:]:
        return (
            f"{name} is for {len(found)} classes in the file and for {len(wanted)} in the network. Build the network "
            f"with the classes in its card, {len(found)} of them, load, and then call new_head({len(wanted)})."
        )
    return (
        f"{name} has the shape {tuple(found.shape)} in the file and {tuple(wanted.shape)} in the network. Build the "
        "network with the architecture and the classes in its card."
    )
