"""The study file of the tests: six tiny networks of two branches, and what came of it."""

from __future__ import annotations

from collections import Counter

import optuna

from search.journal import JOURNAL_FILE

STUDY = """
[study]
name = "tiny"
base = "base.json"
task = "synthetic_keypoints"
input = "64x64"
schedule = {{steps = 2, batch = 4, num_evals = 1, warmup_steps = 1}}
sampler = "{sampler}"
trials = {trials}
{study}

[task]
num_train = 32
num_val = 16
flip_test = false

[limits]
{limits}

[free]
{free}
"""

FREE = """
widths = [[8, 16], [12, 24], [16, 32]]
block = ["ccw", "conv1x1_shuffle"]
"""


def statuses(store, study="tiny"):
    return Counter(
        "reused" if record.reused_from else record.status.value
        for record in store.load(study).records
    )


def trials(store):
    journal = store.study_folder("tiny") / JOURNAL_FILE
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="tiny", storage=storage).trials
