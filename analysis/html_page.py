"""Pages that open offline: one look, tables and lists of plain text, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
<style>
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;background:#fff;max-width:1080px;
  margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.7rem;margin:0 0 .2rem} h2{font-size:1.25rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
.sub,.note{color:#52606d;font-size:.86rem}
ul.found{padding-left:1.1rem} ul.found li{margin:.3rem 0}
table{border-collapse:collapse;font-size:.86rem;margin:.4rem 0;width:100%}
th,td{padding:.3rem .55rem;border-bottom:1px solid #e4e7eb;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.n{white-space:nowrap}
th{max-width:11rem}
.scroll{overflow-x:auto}
svg{max-width:100%;height:auto}
details{border:1px solid #e4e7eb;border-radius:8px;padding:.5rem .9rem;margin:.7rem 0}
summary{cursor:pointer;font-weight:600}
code{font-size:.84rem;background:#f0f2f5;padding:.05rem .3rem;border-radius:4px}
@media print{
  @page{margin:12mm}
  *{print-color-adjust:exact}
  body{font-size:11px;max-width:none;margin:0;padding:0}
  h1,h2,h3,summary{break-after:avoid} tr,svg,.bw-part{break-inside:avoid}
  .scroll,.bw-net{overflow:visible} .bw-net{flex-wrap:wrap}
  h1{font-size:18px} h2{font-size:14px} h3{font-size:12px}
  table{font-size:9px} .note,.bw-key{font-size:10px} .bw-net{zoom:.62}
  th,td{padding:.15rem .25rem;overflow-wrap:break-word}
  details::details-content{display:block;content-visibility:visible;height:auto}
}
</style>
"""


def html_page(title: str, parts: Iterable[str], *, styles: str = "") -> str:
    """Returns a whole page.

    Args:
        title: What the browser shows as its title, after the project's name.
        parts: What stands on it, as HTML; empty ones are left out.
        styles: Further ``<style>`` elements that the parts need.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(f'Branchwork: {title}')}</title>{_STYLE}{styles}</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def html_list(items: Iterable[str], name: str) -> str:
    """Returns texts as a list.

    Args:
        items: The texts.
        name: The classes of the list.
    """
    return f'<ul class="{name}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, num_text: int) -> str:
    """Returns a table whose first columns hold text and whose others hold numbers.

    Args:
        head: The columns' names.
        rows: The cells' texts.
        num_text: How many columns hold text.
    """

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{'' if index < num_text else ' class=n'}>{escape(text)}</{tag}>"
            for index, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
