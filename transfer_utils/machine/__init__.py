"""What this computer is and can do, and where files lie."""

from transfer_utils.machine.cache import digest, keep, recall
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
from transfer_utils.machine.errors import unknown
from transfer_utils.machine.files import (
    cache_folder,
    download_weights,
    fetch,
    read_shipped,
    shipped_folder,
    use_home,
    write_atomically,
    write_checksums,
)
from transfer_utils.machine.memory import in_parts, nothing_kept, on_device

__all__ = [
    "autocast",
    "best_device",
    "best_profile",
    "cache_folder",
    "channels_last",
    "check",
    "describe",
    "digest",
    "download_weights",
    "fetch",
    "gradient_scaler",
    "has_own_memory",
    "in_parts",
    "keep",
    "nothing_kept",
    "on_device",
    "precision",
    "read_shipped",
    "recall",
    "send",
    "shipped_folder",
    "unknown",
    "use_home",
    "use_threads",
    "write_atomically",
    "write_checksums",
]
