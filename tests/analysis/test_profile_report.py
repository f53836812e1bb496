"""Reports of profiles: exact in every format, complete, and safe to open, paste and print."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from analysis.any_module import profile_module
from analysis.conventions import CONVENTIONS, convention_rule
from analysis.figures import SLOT_COLOURS
from analysis.profile_report import write_profile_report
from analysis.profile_tables import cost_difference_table, stage_table, totals_difference_table
from analysis.profiles import labelled, profile_network, profile_of_module
from analysis.spec_difference import ABSENT, spec_differences
from analysis.table_formats import latex_text
from analysis.treemap import Rectangle, squarify, treemap_svg
from blocks import BranchworkError, ImageSize
from networks import PRESETS, lite_hrnet_18, spec_from_dict, spec_to_dict

SIZE = ImageSize(256, 192)
NAMES = ("lite_hrnet_18", "naive_lite_hrnet_18", "hrnet_w32")
HOSTILE = r"50% of <q>&amp;{a_b} #1 | ~x^2$ `c`"


@pytest.fixture(scope="module")
def profiles():
    return [profile_network(name, PRESETS[name].make(17), SIZE, "coco_keypoints") for name in NAMES]


@pytest.fixture(scope="module")
def report(profiles, tmp_path_factory):
    """Writes a report of the first networks, and returns its text."""
    folder = tmp_path_factory.mktemp("reports")

    def write(suffix, num=3, name=None):
        chosen = profiles[:num]
        if name is not None:
            chosen = [dataclasses.replace(profiles[0], name=name, label=""), *chosen[1:]]
        return write_profile_report(chosen, folder / f"out{suffix}").read_text(encoding="utf-8")

    return write


class _Crossing(nn.Module):
    """Runs until something depends on a value."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.never = nn.Linear(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        image = self.conv(image)
        return self.never(image.mean((2, 3))) if image.sum() > 0 else image


@pytest.fixture(scope="module")
def partial():
    return profile_of_module("mine:Crossing", profile_module(_Crossing(), ImageSize(32, 32)))


@pytest.mark.parametrize("index", range(len(NAMES)))
def test_places_add_up_to_every_convention(profiles, index):
    profile = profiles[index]
    for name in CONVENTIONS:
        counts = [place.counts[name] for place in profile.places]
        assert sum(counts) == profile.cost.conventions[name] > 0


def _overlap(one, other):
    wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, wide) * max(0.0, high)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=12))
def test_a_treemap_fills_its_area_in_proportion(values):
    whole = Rectangle(10, 20, 300, 170)
    parts = squarify([float(value) for value in values], whole)
    area = whole.width * whole.height
    for value, part in zip(values, parts, strict=True):
        assert part.width * part.height == pytest.approx(area * value / sum(values), rel=1e-6)
        assert _overlap(part, whole) == pytest.approx(part.width * part.height, rel=1e-6, abs=1e-6)
    for index, part in enumerate(parts):
        assert sum(_overlap(part, other) for other in parts[index + 1 :]) < 1e-6 * area


def test_equal_values_make_squares():
    parts = squarify([1.0] * 6, Rectangle(0, 0, 300, 200))
    assert {(round(part.width, 6), round(part.height, 6)) for part in parts} == {(100, 100)}


@pytest.mark.parametrize("measure", ["macs", "params"])
@pytest.mark.parametrize("index", range(len(NAMES)))
def test_a_treemap_shows_every_layer_with_its_share(profiles, index, measure):
    profile = profiles[index]
    root = ET.fromstring(treemap_svg(profile, measure))
    tag = "{http://www.w3.org/2000/svg}"
    total = profile.cost.conventions[measure]
    layers: dict[str, int] = {}
    for place in profile.places:
        layers[place.layer] = layers.get(place.layer, 0) + place.counts[measure]
    slots = {place.layer: place.slot for place in profile.places}
    shown = {}
    for group in root.findall(f"{tag}g"):
        layer, _, tip = group.find(f"{tag}title").text.partition(": ")
        rect = group.find(f"{tag}rect")
        x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        shown[layer] = layers[layer]
        assert tip.startswith(f"{layers[layer]:,} {measure}, ")
        assert rect.get("fill") == SLOT_COLOURS[slots[layer]]
        # Corners are written to a hundredth of a pixel.
        margin = 0.02 * (width + height)
        assert width * height == pytest.approx(1040 * 420 * layers[layer] / total, abs=margin)
        for line in group.iter(f"{tag}tspan"):
            size = float(group.find(f"{tag}text").get("font-size"))
            assert x <= float(line.get("x"))
            assert float(line.get("x")) + 0.6 * size * len(line.text) <= x + width
            assert y + size <= float(line.get("y")) <= y + height
    assert shown == {layer: value for layer, value in layers.items() if value}


def test_specs_that_differ_in_one_field_differ_at_one_address():
    data = spec_to_dict(lite_hrnet_18())
    data["stages"][1]["units"][2]["body"][0]["block"]["reduce_ratio"] = 4
    changed = spec_from_dict(data)
    assert spec_differences([lite_hrnet_18(), lite_hrnet_18()]) == ()
    assert spec_differences([lite_hrnet_18(), changed, lite_hrnet_18()]) == (
        ("stages.1.units.2.body.0.block.reduce_ratio", (8, 4, 8)),
    )


def test_layers_of_other_kinds_and_missing_ones_stand_whole():
    data = spec_to_dict(lite_hrnet_18())
    data["stages"][1]["units"].pop()
    data["stages"][0]["units"][0]["fusion"] = {"kind": "none"}
    found = dict(spec_differences([lite_hrnet_18(), spec_from_dict(data)]))
    assert set(found) == {
        "stages.0.units.0.fusion",
        *(f"stages.1.units.3.{last}" for last in ("body.0.branches", "body.0.block", "fusion")),
        "stages.1.units.3.body.0.depth",
    }
    assert found["stages.0.units.0.fusion"][1] == {"kind": "none"}
    assert found["stages.1.units.3.body.0.branches"] == ([0, 1, 2], ABSENT)


def test_a_comparison_is_exact(profiles):
    totals = {row[0]: row[2:] for row in totals_difference_table(profiles).rows}
    assert totals["macs"] == ("198,626,688", "-13,108,800", "-6.6", "+7,446,377,088", "+3,748.9")
    table = cost_difference_table(profiles, "macs")
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["stem", "stem"][:4] == ("20,594,688", "20,594,688", "0", "0")
    assert rows["stages.3", "fusion"][:4] == ("0", "0", "0", "0")
    assert rows["stages.3", "fusion"][4:] == ("182,452,224", "+182,452,224", "-")
    stages = [stage for stage, _ in rows]
    assert stages.index("stages.3") < stages.index("aggregator") < stages.index("head")
    for column in (2, 3, 6):
        *parts, total = (int(row[column].replace(",", "")) for row in table.rows)
        assert sum(parts) == total


def test_shares_are_of_the_total(profiles):
    rows = {row[:2]: row[2:] for row in stage_table(profiles[0]).rows}
    assert rows["stages.2", "fusion"][:4] == ("492,480", "43.6", "52,496,640", "26.4")
    assert rows["total", ""][:4] == ("1,130,769", "100.0", "198,626,688", "100.0")


class _Page(HTMLParser):
    """Reads a page: what stands open, what it refers to, what cells say."""

    VOID = frozenset({"meta", "br", "wbr", "img", "hr", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [v for k, v in attrs if k in {"src", "href", "xlink:href", "data"} and v]
        if tag in {"td", "th"}:
            self.cells.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th"}:
            self.cells[-1] += data


@pytest.mark.parametrize("num", [1, 3])
def test_a_page_is_whole_and_opens_offline(report, profiles, num):
    text = report(".html", num)
    page = _Page(text)
    assert page.open == []
    assert all(reference.startswith("#") for reference in page.references)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    cells = set(page.cells)
    for name in CONVENTIONS:
        assert {name, convention_rule(name)} <= cells
        assert {f"{each.cost.conventions[name]:,}" for each in profiles[:num]} <= cells
    drawings = 2 * num + 2 * num + (2 if num > 1 else 0)
    assert text.count("<svg") == drawings
    assert text.count('class="bw-net"') == num
    assert ("Differences between the specs" in text) == (num > 1)


def test_reports_repeat_to_the_byte(report):
    for suffix in (".html", ".md", ".csv", ".json", ".tex"):
        assert report(suffix) == report(suffix)


def test_names_are_text_and_nothing_else(report):
    page = _Page(report(".html", 3, HOSTILE))
    assert page.open == []
    assert "q" not in page.tags
    assert HOSTILE in page.cells
    text = report(".md", 3, HOSTILE)
    assert "<q>" not in text
    assert r"\<q\>\&amp;{a\_b}" in text
    assert "&lt;q&gt;&amp;amp;{a_b}" in text, "a folded table's title is HTML"


def _markdown_tables(text):
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            yield block
            block = []


@pytest.mark.parametrize("name", [None, HOSTILE])
def test_markdown_tables_have_as_many_cells_as_heads(report, name):
    text = report(".md", 3, name)
    tables = list(_markdown_tables(text))
    # Three of all, four that compare, three of each network.
    assert len(tables) == 3 + 4 + 3 * 3
    for head, rule, *rows in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in (head, rule, *rows)}
        assert len(counts) == 1
        assert re.fullmatch(r"\|( -{3}:? \|)+", rule)
        assert rows
    assert text.count("<details>") == text.count("</details>") == 3
    assert not re.search(r"^(?!\||<).*(?<!\\)_", text, re.MULTILINE), (
        "underscores would be emphasis"
    )


def _unescaped(text):
    return re.sub(r"\\[\\{}$&#%_]", "", text)


@pytest.mark.parametrize("name", [None, HOSTILE])
def test_latex_is_balanced_and_its_rows_fill_their_columns(report, name):
    text = report(".tex", 3, name)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = _unescaped(body.replace(r"\\", ""))
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not set("#%~^") & set(bare)
    assert "_" not in re.sub(r"\\label\{[^}]*\}", "", bare)
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", body)
    opened = []
    for what, environment in environments:
        if what == "begin":
            opened.append(environment)
        else:
            assert opened.pop() == environment
    assert opened == []
    labels = re.findall(r"\\label\{(.*?)\}", body)
    assert (
        len(labels) == len(set(labels)) == body.count(r"\begin{table}") == body.count(r"\caption")
    )
    for columns, rows in re.findall(
        r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}\n(.*?)\\end\{tabular\}", body, re.DOTALL
    ):
        num = len(re.sub(r"\{[^}]*\}", "", columns))
        lines = [line for line in rows.splitlines() if line.endswith(r"\\")]
        assert len(lines) > 1
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {num - 1}
        assert [rows.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]


def test_latex_keeps_every_number(report):
    text = report(".tex")
    for number in ("198,626,688", "1,130,769", "$-$13,108,800", "$+$7,446,377,088"):
        assert number in text
    assert r"\shortstack[r]{macs\\MACs}" in text
    assert latex_text(r"\{$&#%_^~") == (
        r"\textbackslash{}\{\$\&\#\%\_\textasciicircum{}\textasciitilde{}"
    )


def test_csv_rows_add_up_exactly(report, profiles):
    rows = list(csv.DictReader(io.StringIO(report(".csv"))))
    for profile in profiles:
        own = [row for row in rows if row["network"] == profile.name]
        assert {row["spec_id"] for row in own} == {profile.spec_id}
        assert len({(row["layer"], row["branch"]) for row in own}) == len(own)
        for name, total in profile.cost.conventions.items():
            assert sum(int(row[name]) for row in own) == total
    fusions = [row for row in rows if row["network"] == "lite_hrnet_18" and row["slot"] == "fusion"]
    assert sum(int(row["macs"]) for row in fusions) == 119_988_480


def test_json_holds_specs_rules_and_differences(report, profiles):
    first, second, third = json.loads(report(".json"))
    assert spec_from_dict(first["spec"]) == profiles[0].spec
    assert first["rules"] == {name: convention_rule(name) for name in CONVENTIONS}
    assert "difference_to_first" not in first
    difference = second["difference_to_first"]
    assert difference["conventions"]["macs"] == second["macs"] - first["macs"] == -13_108_800
    for name in CONVENTIONS:
        parts = [stage["conventions"][name] for stage in third["difference_to_first"]["stages"]]
        assert sum(parts) == third["conventions"][name] - first["conventions"][name]
    changed = {each["address"]: (each["first"], each["this"]) for each in difference["spec"]}
    assert changed["stages.0.transition.widths"] == ([40, 80], [30, 60])
    absent = {e["address"]: e["first"] for e in third["difference_to_first"]["spec"]}
    assert absent["stages.3.transition"] is None


def test_long_or_equal_names_become_letters(profiles):
    same = [profiles[0], profiles[0]]
    assert [each.label for each in labelled(same)] == ["A", "B"]
    assert [each.label for each in labelled(profiles)] == list(NAMES)
    long = dataclasses.replace(profiles[0], name="a" * 40, label="")
    assert [each.label for each in labelled([long, profiles[1]])] == ["A", "B"]


def test_other_inputs_are_told(profiles, tmp_path):
    other = profile_network("small", lite_hrnet_18(), ImageSize(128, 96))
    text = write_profile_report([profiles[0], other], tmp_path / "two.md").read_text()
    assert "The inputs differ (256x192, 128x96): no fair match." in text


@pytest.mark.parametrize("suffix", [".html", ".md", ".csv", ".json", ".tex"])
def test_what_was_not_counted_is_marked(profiles, partial, tmp_path, suffix):
    assert partial.is_partial
    path = write_profile_report([partial, profiles[0]], tmp_path / f"out{suffix}")
    text = path.read_text(encoding="utf-8")
    marks = {".csv": ",true,,,conv,,", ".json": '"is_partial": true'}
    assert marks.get(suffix, "mine:Crossing (partial)") in text
    if suffix not in marks:
        assert "broken off" in text
        assert "Partial numbers are too low." in text


def test_a_module_alone_is_told_by_its_layers(partial, tmp_path):
    text = write_profile_report([partial], tmp_path / "alone.html").read_text(encoding="utf-8")
    assert _Page(text).open == []
    assert "cost by layer" in text
    assert "cost by stage" not in text
    assert "Layers without any, not drawn: 1." in text
    assert f"{partial.cost.params:,}" == "242"


@pytest.mark.parametrize(
    ("name", "got", "do"),
    [
        ("out.pdf", "got '.pdf'", "choose one of"),
        ("out", "got no suffix", "choose one of"),
        ("out.htm", "got '.htm'", "did you mean '.html'?"),
    ],
)
def test_an_unknown_suffix_is_one_clear_error(profiles, tmp_path, name, got, do):
    with pytest.raises(BranchworkError) as caught:
        write_profile_report(profiles, tmp_path / name)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"--report {tmp_path / name}: the suffix of a report names")
    assert got in str(problem)
    assert do in str(problem)
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_and_capitals_are_read(profiles, tmp_path):
    path = write_profile_report(profiles[:1], tmp_path / "a" / "b" / "OUT.CSV")
    assert path.read_text().startswith("network,spec_id,")


@pytest.mark.browser
def test_a_browser_asks_for_nothing_and_paper_is_wide_enough(report, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("Chromium is missing: no chromium on the path, none named by CHROMIUM")
    path = tmp_path / "three.html"
    path.write_text(report(".html"), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        width = "document.documentElement.scrollWidth"
        assert page.evaluate(width) == 1200
        # A4 without its margins.
        page.set_viewport_size({"width": 702, "height": 1000})
        page.emulate_media(media="print")
        assert page.evaluate(width) == 702
        assert page.locator("details table").first.is_visible()
        browser.close()
    assert asked == [path.as_uri()]
