"""Searching: study files, trials, engines, and the Optuna study that proposes networks.

Reports of rank studies, which load Matplotlib, are imported from their own file.
"""

from search.engine import Engine, Finished, LocalEngine
from search.ledger import Progress
from search.rank_networks import draw_entrants
from search.rank_results import RankResults, rank_results
from search.rank_study import Entrant, RankProgress, RankStudy, run_rank_study
from search.runner import default_workers, run_search
from search.samplers import SAMPLERS
from search.status import front_of, search_status
from search.study import Limit, Study
from search.study_file import load_search, read_study, start_search, write_study
from search.trial import Job, Outcome, make_record, open_split, protocol_of, run_job

__all__ = [
    "SAMPLERS",
    "Engine",
    "Entrant",
    "Finished",
    "Job",
    "Limit",
    "LocalEngine",
    "Outcome",
    "Progress",
    "RankProgress",
    "RankResults",
    "RankStudy",
    "Study",
    "default_workers",
    "draw_entrants",
    "front_of",
    "load_search",
    "make_record",
    "open_split",
    "protocol_of",
    "rank_results",
    "read_study",
    "run_job",
    "run_rank_study",
    "run_search",
    "search_status",
    "start_search",
    "write_study",
]
