"""What was found in a study, with paired tests where per-image results are stored.

Tests take a while, so what was found is kept until there are other records. The only file here
that knows the tasks: the types of per-image results are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.comparing import Comparable
from analysis.findings import findings
from analysis.image_results_store import ImageResultsStore
from analysis.records import Record
from analysis.store import RunStore
from tasks import results_type

_MAX_KEPT = 256


def found_in(store: RunStore, records: Sequence[Record], group: Comparable | None) -> list[str]:
    """Returns what was found in records, of accuracy under one protocol and at one input size.

    Args:
        store: Where they are.
        records: All records of a study.
        group: The scores to speak of, None if there are none.
    """
    chosen = f"{group.protocol_id} {group.input} {group.metric}" if group else ""
    which = tuple((record.reference, record.created) for record in records)
    return _found(str(store.root.resolve()), which, chosen, store, records, group)


@st.cache_data(max_entries=_MAX_KEPT, show_spinner="Testing networks on the same images ...")
def _found(
    root: str,
    which: tuple[tuple[str, str], ...],
    chosen: str,
    _store: RunStore,
    _records: Sequence[Record],
    _group: Comparable | None,
) -> list[str]:
    del root, which, chosen
    return findings(_records, ImageResultsStore(_store).reader(results_type), _group)
