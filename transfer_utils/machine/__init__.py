"""What this computer is and can do, and where files lie."""

from transfer_utils.machine.device import (
    autocast,
    best_device,
    best_profile,
    channels_last,
    describe,
    gradient_scaler,
    has_own_memory,
    precision,
    send,
    use_threads,
)
from transfer_utils.machine.doctor import check
from transfer_utils.machine.downloads import download_weights, fetch
from transfer_utils.machine.errors import unknown
from transfer_utils.machine.files import read_shipped, shipped_folder, write_atomically, write_checksums
from transfer_utils.machine.homes import cache_folder, temporary_folder, trouble, use_home
from transfer_utils.machine.locks import alone
from transfer_utils.machine.memory import in_parts, nothing_kept, on_device

__all__ = [
    "alone",
    "autocast",
    "best_device",
    "best_profile",
    "cache_folder",
    "channels_last",
    "check",
    "describe",
    "download_weights",
    "fetch",
    "gradient_scaler",
    "has_own_memory",
    "in_parts",
    "nothing_kept",
    "on_device",
    "precision",
    "read_shipped",
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
