"""What ``streamlit run`` opens: the pages and how one gets from one to another."""

from __future__ import annotations

import streamlit as st

from dashboard.catalogue_page import load_named_blocks, show_catalogue
from dashboard.published_page import show_published
from dashboard.study_page import show_study
from dashboard.wording import plain

# Less empty space than Streamlit leaves, and small print for what was found.
_STYLE = """
<style>
.stMainBlockContainer{padding-top:4.5rem;padding-bottom:3rem}
.st-key-findings li,.st-key-findings p{font-size:.9rem}
.st-key-findings ul{margin-bottom:1rem}
</style>
"""


def main() -> None:
    """Shows the page that the address names, the studies by default."""
    st.set_page_config(page_title="Branchwork", layout="wide")
    pages = [
        st.Page(show_study, title="Studies", url_path="studies", default=True),
        st.Page(show_catalogue, title="Catalogue", url_path="catalogue"),
        st.Page(show_published, title="Published", url_path="published"),
    ]
    st.html(_STYLE)
    page = st.navigation(pages, position="top")
    # Studies may hold networks of these blocks, so every page needs them.
    for problem in load_named_blocks():
        st.warning(plain(problem))
    page.run()


if __name__ == "__main__":
    main()
