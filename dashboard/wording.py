"""Text that comes from files, such as names and reasons, made safe for pages."""

from __future__ import annotations

_MARKDOWN_SIGNS = "\\`*_[]<>$#~:"


def plain(text: str) -> str:
    r"""Keeps a text from being read as Markdown.

    >>> plain("my_net *2*")
    'my\\_net \\*2\\*'
    """
    return "".join(f"\\{sign}" if sign in _MARKDOWN_SIGNS else sign for sign in text)
