"""From runs to rows, from rows to intervals and verdicts."""

from transfer_utils.stats.evaluation import (
    calibration_error,
    cell,
    confusion,
    model_card,
    often_confused,
    overall,
    per_class,
    reliability,
    temperature,
)
from transfer_utils.stats.intervals import Interval, Share, mean_interval, share_interval
from transfer_utils.stats.rows import difference, paired, pareto, results, select, stack, summarise
from transfer_utils.stats.sweeps import SEEDS, Row, failures, result_row, sweep

__all__ = [
    "Interval",
    "Row",
    "SEEDS",
    "Share",
    "calibration_error",
    "cell",
    "confusion",
    "difference",
    "failures",
    "mean_interval",
    "model_card",
    "often_confused",
    "overall",
    "paired",
    "pareto",
    "per_class",
    "reliability",
    "result_row",
    "results",
    "select",
    "share_interval",
    "stack",
    "summarise",
    "sweep",
    "temperature",
]
