"""From runs to rows, from rows to intervals and verdicts."""

from transfer_utils.stats.evaluation import Evaluation, cell, evaluate
from transfer_utils.stats.intervals import Interval, Verdict, mean_interval, share_interval
from transfer_utils.stats.rows import difference, differences, paired, pareto, results, select, summarise
from transfer_utils.stats.sweeps import SEEDS, failures, result_row, sweep
from transfer_utils.stats.tables import Row

__all__ = [
    "Evaluation",
    "Interval",
    "Row",
    "SEEDS",
    "Verdict",
    "cell",
    "difference",
    "differences",
    "evaluate",
    "failures",
    "mean_interval",
    "paired",
    "pareto",
    "result_row",
    "results",
    "select",
    "share_interval",
    "summarise",
    "sweep",
]
