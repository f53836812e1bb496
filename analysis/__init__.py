"""Measuring networks: operations and cost, latency, statistics, records, tables, figures, reports.

What most callers need stands here; tables, figures and reports, which load pandas and Matplotlib,
are imported from their own files.
"""

from analysis.conventions import CONVENTIONS, fvcore, macs, paper, params, thop
from analysis.cost import By, Cost, Part, break_down, measure_cost
from analysis.latency import RUNTIMES, Latency, measure_latency
from analysis.many import cost_many
from analysis.pareto import pareto_mask
from analysis.records import Protocol, Record, Score, Status
from analysis.statistics import Interval, bootstrap, paired_bootstrap
from analysis.store import RunStore

__all__ = [
    "CONVENTIONS",
    "RUNTIMES",
    "By",
    "Cost",
    "Interval",
    "Latency",
    "Part",
    "Protocol",
    "Record",
    "RunStore",
    "Score",
    "Status",
    "bootstrap",
    "break_down",
    "cost_many",
    "fvcore",
    "macs",
    "measure_cost",
    "measure_latency",
    "paired_bootstrap",
    "paper",
    "params",
    "pareto_mask",
    "thop",
]
