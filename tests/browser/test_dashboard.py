"""The dashboard in a real browser: start it, click a point, read what appears."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from dashboard_records import search_records

from analysis.store import RunStore

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

START_S = 60
WAIT_MS = 30_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("Chromium is missing: no chromium on the path, none named by CHROMIUM")
    return found


@pytest.fixture(scope="module")
def records():
    return search_records()


@pytest.fixture(scope="module")
def address(root, tmp_path_factory, records) -> Iterator[str]:
    """A running dashboard over a store with one search."""
    runs = tmp_path_factory.mktemp("runs")
    for record in records:
        RunStore(runs).write(record)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "BRANCHWORK_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(root), "BRANCHWORK_BLOCKS": ""}
    options = {
        "--server.port": str(port),
        "--server.address": "127.0.0.1",
        "--server.headless": "true",
        "--server.fileWatcherType": "none",
        "--browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(root / "dashboard/app.py")]
    log = (runs.parent / "streamlit.log").open("w+", encoding="utf-8")
    server = subprocess.Popen(
        [*command, *(word for option in options.items() for word in option)],
        env=environment,
        cwd=runs.parent,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _when_ready(server, f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.seek(0)
        said = log.read()
        log.close()
    assert "Traceback" not in said, said


def _when_ready(server: subprocess.Popen, url: str) -> str:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        assert server.poll() is None, "streamlit ended before it answered"
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return url
    pytest.fail(f"streamlit did not answer within {START_S} s")


@pytest.fixture(scope="module")
def page(chromium, address):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.outside = []
        page.on("request", lambda r: None if _is_local(r.url) else page.outside.append(r.url))
        page.goto(address)
        yield page
        browser.close()


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))


def check_quiet(page) -> None:
    assert page.locator("[data-testid=stException]").count() == 0
    assert "Traceback" not in page.inner_text("body")
    assert page.outside == [], "the dashboard works offline"


def test_clicking_a_point_shows_that_network(page, records):
    best = max(records[:8], key=lambda record: record.score.value)
    title = page.get_by_role("heading", name=f"trial {best.trial}: lite_hrnet_18 [{best.spec_id}]")
    title.wait_for()
    others = page.locator(".js-plotly-plot").first.locator(".scatterlayer .trace").first
    others.locator(".points path").first.wait_for()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState"
        " === 'notRunning'"
    )
    box = others.locator(".points path").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    title.wait_for(state="detached")
    shown = page.get_by_role("heading", name="trial ").first.inner_text()
    clicked = next(record for record in records if f"[{record.spec_id}]" in shown)
    assert clicked is not best
    page.get_by_text(f"{clicked.score.value:.3f}", exact=True).first.wait_for()
    drawing = page.locator(".bw-net").inner_text()
    assert all(f"{width} channels" in drawing for width in _widths(clicked))
    check_quiet(page)


@pytest.mark.parametrize(
    ("name", "sign"), [("Catalogue", "conv1x1_shuffle"), ("Published", "not measured here")]
)
def test_the_other_pages_open(page, name, sign):
    page.get_by_role("link", name=name).click()
    page.get_by_text(sign).first.wait_for()
    check_quiet(page)


def _widths(record) -> list[int]:
    return record.spec["stages"][-1]["transition"]["widths"]
