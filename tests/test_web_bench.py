"""The bench of the page starts one, looks at it, and ends it."""

from __future__ import annotations

import sys

import browser
import pytest
from shelf import denoise

from denoise.errors import UserError
from denoise.measure import bench_page
from denoise.measure.bench import Wish

pytest.importorskip("gradio", reason="the web extra is not installed")


@pytest.mark.browser
def test_it_says_how_long_a_visitor_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.setenv("CHROMIUM", browser.chromium())
    monkeypatch.setattr(bench_page, "MEGAPIXELS", 0.02)
    monkeypatch.setattr(bench_page, "SECONDS", 0.5)
    monkeypatch.setattr(bench_page, "PAINTED_S", 1e-3)
    painted, there, *cleaned = bench_page.run(Wish())
    assert painted["within"] == "no"
    assert 0 < float(str(painted["seconds"])) <= float(str(there["seconds"]))
    assert [row["what"] for row in cleaned] == [
        f"{what}, {time}" for what in ("0.02 megapixels", "0.5 s of sound") for time in ("first", "again")
    ]
    assert all(0 < float(str(row["seconds"])) < 100 for row in cleaned)


def test_without_a_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    told = denoise("bench", "page")
    assert told.exit_code == 2
    assert "pip install playwright" in " ".join(told.stderr.split())


def test_a_page_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_page, "START", ("-c", "raise SystemExit('no port is free')"))
    with pytest.raises(UserError, match="did not start: no port is free"), bench_page.served():
        pass
