"""The dashboard: Streamlit pages over the run store, read-only."""
