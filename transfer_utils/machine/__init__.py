"""What this computer is and can do, and where files lie."""

from transfer_utils.machine.cache import digest, keep, recall
from transfer_utils.machine.cores import on_free_cores, use_threads
from transfer_utils.machine.device import (
    autocast,
    best_device,
    best_profile,
    channels_last,
    describe,
    gradient_scaler,
    precision,
    send,
)
from transfer_utils.machine.doctor import check
from transfer_utils.machine.downloads import download_weights, fetch
from transfer_utils.machine.draws import Seed, draws_from, generator, no_second_draws
from transfer_utils.machine.errors import unknown
from transfer_utils.machine.files import expanded, read_shipped, shipped_folder, write_atomically, write_checksums
from transfer_utils.machine.homes import cache_folder, temporary_folder, trouble, use_home
from transfer_utils.machine.locks import alone
from transfer_utils.machine.memory import hold_memory, in_parts, nothing_kept, on_device
from transfer_utils.machine.tensors import check_labels, check_photos, check_size, check_tokens, is_whole

__all__ = [
    "Seed",
    "alone",
    "autocast",
    "best_device",
    "best_profile",
    "cache_folder",
    "channels_last",
    "check",
    "check_labels",
    "check_photos",
    "check_size",
    "check_tokens",
    "describe",
    "digest",
    "download_weights",
    "draws_from",
    "expanded",
    "fetch",
    "generator",
    "gradient_scaler",
    "hold_memory",
    "in_parts",
    "is_whole",
    "keep",
    "no_second_draws",
    "nothing_kept",
    "on_device",
    "on_free_cores",
    "precision",
    "read_shipped",
    "recall",
    "send",
    "shipped_folder",
    "temporary_folder",
    "trouble",
    "unknown",
    "use_home",
    "use_threads",
    "write_atomically",
    "write_checksums",
]
