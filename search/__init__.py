"""Searching: study files, trials, engines, and the Optuna study that proposes networks."""

from search.engine import Engine, Finished, LocalEngine
from search.ledger import Progress
from search.runner import default_workers, run_search
from search.samplers import SAMPLERS
from search.status import front_of, search_status
from search.study import Limit, Study
from search.study_file import load_search, read_study, start_search, write_study
from search.trial import Job, Outcome, make_record, open_split, protocol_of, run_job

__all__ = [
    "SAMPLERS",
    "Engine",
    "Finished",
    "Job",
    "Limit",
    "LocalEngine",
    "Outcome",
    "Progress",
    "Study",
    "default_workers",
    "front_of",
    "load_search",
    "make_record",
    "open_split",
    "protocol_of",
    "read_study",
    "run_job",
    "run_search",
    "search_status",
    "start_search",
    "write_study",
]
