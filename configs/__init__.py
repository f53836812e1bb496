"""Shipped network and study files."""
