"""What a person sees who opens the report, on a large and a small screen and without a network."""

import math
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.pages.html import write_report
from kseflow.trends import anomalies, read_inputs
from tests.notebooks.browser import Browser

Changed = Callable[..., Path]
SCREENS = {"desktop": 1280, "phone": 360}
DRAWN = "path.point, .points path, path.js-line, .heatmaplayer image, .heatmaplayer rect"
PDF_PAGE = b"/Type /Page\n"
ODD_WORDS = ("nan", "NaN", "NaT", "None", "Traceback", "inf ")


@pytest.fixture(scope="session")
def report(database: Path) -> Path:
    return write_report(database, database.parent / "report.html")


@pytest.fixture
def page(browser: Browser, report: Path) -> Browser:
    """The report on a desktop, opened anew only where the last test left something else."""
    if browser.evaluate("[location.href, innerWidth]") != [report.as_uri(), SCREENS["desktop"]]:
        browser.open(report)
    return browser


def charts_without_marks(browser: Browser) -> list[str]:
    found: list[str] = browser.evaluate(
        f"[...document.querySelectorAll('figure')].filter(f => !f.querySelector('{DRAWN}'))"
        ".map(f => f.ariaLabel)"
    )
    return found


def words(browser: Browser) -> str:
    found: str = browser.evaluate("document.querySelector('.page').innerText")
    return found


def headings(browser: Browser) -> list[str]:
    found: list[str] = browser.evaluate(
        "[...document.querySelectorAll('h4')].map(h => h.textContent)"
    )
    return found


def cards(browser: Browser) -> dict[str, str]:
    """The numbers on top of both parts, by their names."""
    found: dict[str, str] = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.card')].map(c =>"
        " [c.firstElementChild.textContent, c.querySelector('strong').textContent]))"
    )
    return found


def answers(browser: Browser) -> dict[str, str]:
    """What is answered to each question on top."""
    found: dict[str, str] = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.answer')].map(a =>"
        " [a.previousElementSibling.textContent, a.innerText]))"
    )
    return found


def bars(browser: Browser, claim: str) -> dict[str, int]:
    """The counts that bars under the claim tell, each line by its whole text."""
    found: dict[str, int] = browser.evaluate(
        "(claim => { let list = [...document.querySelectorAll('h4')].find("
        "    h => h.textContent.includes(claim));"
        "  while (!list.matches('ul.bars')) list = list.nextElementSibling;"
        "  return Object.fromEntries([...list.children].map(li => [li.textContent,"
        "    +li.querySelector('.bar').textContent.match(/([\\d,]+) of/)[1].replaceAll(',', '')]))"
        f"}})('{claim}')"
    )
    return found


def drawn(browser: Browser, claim: str, axis: str = "y") -> list[list[Any]]:
    """The values of each trace that plotly.js drew under the claim."""
    found: list[list[Any]] = browser.evaluate(
        "(f => f.querySelector('.js-plotly-plot')._fullData.map("
        f"trace => Array.from(trace.{axis}, v => v && v.length ? Array.from(v) : v)))"
        f"([...document.querySelectorAll('figure')].find(f => f.ariaLabel.includes('{claim}')))"
    )
    return found


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'Europe/Warsaw'")
        return connection.sql(sql).fetchall()


def complaints_of(browser: Browser, page: Path) -> list[str]:
    """Open a page and list everything about it that would shame us."""
    found = []
    for screen, width in SCREENS.items():
        browser.open(page, width=width)
        found += [f"{screen}: {text}" for text in browser.complaints]
        found += [f"{screen}: asks for {url}" for url in browser.requests if url != page.as_uri()]
        found += [f"{screen}: draws nothing: {claim}" for claim in charts_without_marks(browser)]
        if browser.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{screen}: scrolls sideways")
        found += [f"{screen}: says {odd}" for odd in ODD_WORDS if odd in words(browser)]
    return found


def test_the_report_is_clean_on_a_desktop_and_a_phone(browser: Browser, report: Path) -> None:
    assert complaints_of(browser, report) == []


def test_what_lasted_a_day_is_told_in_words_and_what_lasted_longer_is_drawn(
    page: Browser,
) -> None:
    parts = (
        "[...document.querySelectorAll('section')].map(s => s.querySelectorAll('figure').length)"
    )
    answer, failures, _, packages = page.evaluate(parts)
    assert [answer, failures, packages] == [0, 4, 0]  # the demo exports on one day


def test_no_chart_is_wider_than_a_phone(browser: Browser, report: Path) -> None:
    browser.open(report, width=360)
    widest = "Math.max(...[...document.querySelectorAll('figure svg')].map(s => s.clientWidth))"
    assert 300 < browser.evaluate(widest) <= 360 - 2 * 16


def test_charts_follow_the_window(page: Browser) -> None:
    width = "document.querySelector('.main-svg').clientWidth"
    before = page.evaluate(width)
    page.resize(700)
    page.evaluate("new Promise(done => setTimeout(done, 500))")
    assert page.evaluate(width) < before


def test_charts_fit_on_paper(page: Browser) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelector('.main-svg').clientWidth") == 660
    page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_every_line_of_the_contents_leads_to_a_heading(page: Browser) -> None:
    broken = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash))"
    assert page.evaluate(f"{broken}.length") == 0
    assert page.evaluate(
        "document.querySelectorAll('nav a').length === document.querySelectorAll('h2, h3').length"
    )


def test_the_header_says_when_the_data_were_loaded(page: Browser, database: Path) -> None:
    ((loaded,),) = rows(database, "select strftime(as_of, '%Y-%m-%d %H:%M') from marts.as_of")
    header = page.evaluate("document.querySelector('header').innerText")
    assert loaded in header
    assert "Europe/Warsaw" in header


def test_the_numbers_on_top_are_those_of_the_marts(page: Browser, database: Path) -> None:
    ((submitted, failed, decided, passed, attempts),) = rows(
        database,
        "select sum(submitted_count), sum(failed_count), sum(decided_count), "
        "sum(first_pass_count), sum(first_attempt_count) from marts.daily_outcomes",
    )
    ((unresolved,),) = rows(database, "select sum(invoice_count) from marts.unresolved_failures")
    ((built, truncated, cap),) = rows(
        database,
        "select sum(built_count), sum(truncated_count), "
        "max(greatest(max_count_cap_share, max_size_cap_share)) from marts.package_truncation",
    )
    shown = cards(page)
    assert shown["Submitted"] == f"{submitted:,}"
    assert shown["Failed"] == f"{failed / decided:.1%}"
    assert shown["Accepted at first try"] == f"{passed / attempts:.1%}"
    assert shown["Still to be put right"] == f"{unresolved:,}"
    assert shown["Packages built"] == f"{built:,}"
    assert shown["Truncated"] == f"{truncated / built:.1%}"
    assert shown["Fullest package"] == f"{cap:.1%}"


def test_the_lines_are_those_of_the_marts(page: Browser, database: Path) -> None:
    expected = rows(
        database,
        "select sum(failed_count), sum(decided_count), "
        "1 - sum(accepted_7d_count) / sum(decided_7d_count), "
        "sum(first_pass_7d_count) / sum(first_attempt_7d_count) "
        "from marts.daily_outcomes group by day order by day",
    )
    days, week, _, first_pass, bars = drawn(page, "failure rate of the last 7 days")
    assert week == pytest.approx([row[2] for row in expected])
    assert first_pass == pytest.approx([row[3] for row in expected])
    assert bars == [row[1] for row in expected]
    of_the_day = [failed / decided for failed, decided, *_ in expected]
    shown = [share for share in days if share is not None and not math.isnan(share)]
    assert {round(share, 9) for share in shown} <= {round(share, 9) for share in of_the_day}


def test_no_failure_and_no_submission_is_lost_between_the_charts(
    page: Browser, database: Path
) -> None:
    ((submitted, stored, failed),) = rows(
        database,
        "select (select sum(submitted_count) from marts.daily_outcomes), "
        "(select count(*) from marts.invoices), "
        "(select sum(failed_count) from marts.failure_reasons)",
    )
    stacked = drawn(page, "of all failures")
    assert sum(map(sum, stacked)) == failed
    heat, _ = drawn(page, "of invoices are submitted on", "z")
    cells = [cell for row in heat for cell in row if cell is not None and not math.isnan(cell)]
    assert sum(cells) == stored
    assert f"Without {submitted - stored:,} invoices of which no row is here" in words(page)
    assert sum(bars(page, "were sent again and accepted").values()) == failed
    assert sum(bars(page, "of failures").values()) == failed


def test_the_percentiles_are_of_invoices_and_never_of_percentiles(
    page: Browser, database: Path
) -> None:
    expected = rows(
        database,
        "select quantile_cont(seconds_to_acceptance, 0.5) from marts.invoices "
        "where session_type = 'Online' and seconds_to_acceptance is not null "
        "group by submitted_day order by submitted_day",
    )
    _, median = drawn(page, "had their KSeF number within")
    assert median == pytest.approx([row[0] for row in expected])


def test_the_report_is_small_and_has_neither_code_nor_paths(report: Path, database: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 6_000_000
    own = page.replace(page[page.index("plotly.js v") : page.rindex("<script>")], "")
    for secret in (str(database.parent), str(Path.home()), "marts.sql(", "connect("):
        assert secret not in own


def test_an_empty_database_says_what_is_missing(
    browser: Browser, changed: Changed, tmp_path: Path
) -> None:
    empty = write_report(changed("delete from {mart}"), tmp_path / "empty.html")
    assert complaints_of(browser, empty) == []
    told = words(browser)
    assert "No invoice was submitted in these days" in told
    assert "Nothing is loaded of these days yet" in told
    assert "No package was exported in these days" in told
    assert "No invoice was exported, so there are no amounts" in told
    assert "nothing was loaded yet" in browser.evaluate("document.body.innerText")


def test_a_backfill_that_is_half_done_says_what_is_known_and_what_is_not(
    browser: Browser, backfill: Path, tmp_path: Path
) -> None:
    assert complaints_of(browser, write_report(backfill, tmp_path / "half.html")) == []
    ((failed, decided, unclassified, unread),) = rows(
        backfill,
        "select sum(failed_count), sum(decided_count), sum(unclassified_failed_count), "
        "sum(unread_count) from marts.daily_outcomes",
    )
    ((out,),) = rows(backfill, "select sum(invoice_count) from marts.unresolved_failures")
    ((kept,),) = rows(
        backfill,
        "select sum(invoice_count) from marts.sessions "
        "where not is_open and (is_complete or unread_count > 0)",
    )
    got_in, copy, to_do, _ = answers(browser).values()
    assert f"No: at least {out:,} invoices are not in KSeF" in got_in
    assert f"({failed:,} of {decided:,}) failed" in got_in
    assert f"{unclassified:,} have no row here yet" in got_in
    assert f"{unread:,} invoices of {kept:,} are not stored here yet" in copy
    assert "load again until their rows are here" in to_do
    assert "to" in cards(browser)["Accepted at first try"]  # bounds, as not all is read
    assert sum(bars(browser, "were sent again and accepted").values()) == failed


def test_one_day_of_one_taxpayer_is_all_that_is_told(
    browser: Browser, database: Path, changed: Changed, tmp_path: Path
) -> None:
    day, nip = date(2026, 11, 17), "8351915077"
    strangers = changed(
        "delete from marts.counterparties where counterparty_identifier = '7438939438'"
    )
    page = write_report(strangers, tmp_path / "day.html", nips=[nip], first=day, last=day)
    assert complaints_of(browser, page) == []
    ((submitted,),) = rows(
        database,
        "select sum(submitted_count) from marts.daily_outcomes "
        f"where context_id = '{nip}' and day = '{day}'",
    )
    assert cards(browser)["Submitted"] == f"{submitted:,}"
    assert "Cannot tell" in answers(browser)["Is it getting better or worse?"]
    assert "not two taxpayers" in words(browser)
    assert "7438939438" not in page.read_text(encoding="utf-8")


def test_of_a_hundred_taxpayers_the_worst_are_shown(
    browser: Browser, changed: Changed, tmp_path: Path
) -> None:
    copies = (
        "insert into marts.{0} select m.* replace ((1000 + n)::varchar as context_id) "
        "from marts.{0} as m, range(98) as numbers(n) where context_id = '8351915077'"
    )
    hostile = "</script><img src=x onerror=alert(1)> <b>*text*</b>"
    many = changed(
        *(
            copies.replace("{0}", mart)
            for mart in ("daily_outcomes", "package_truncation", "failure_reasons", "sessions")
        ),
        "update marts.package_truncation set truncated_count = 1, exports_to_catch_up = 7",
        "update marts.package_windows set relation = 'gap', difference_seconds = 5000 "
        "where relation = 'touching'",
        f"update marts.failure_reasons set normalised_message = '{hostile}'",
        f"update marts.failed_invoices set normalised_message = '{hostile}'",
    )
    page = write_report(many, tmp_path / "many.html")
    assert complaints_of(browser, page) == []
    told = words(browser)
    assert "The other 80 have" in told
    assert "longest gaps" in told
    assert "exports to catch up with" in told
    assert any("all 100 taxpayers together" in claim for claim in headings(browser))
    assert browser.evaluate("document.querySelectorAll('img[src=x], td b').length") == 0


def test_what_cannot_be_told_of_is_refused_in_plain_words(database: Path, tmp_path: Path) -> None:
    out, plain = tmp_path / "report.html", tmp_path / "plain.duckdb"
    duckdb.connect(str(plain)).close()
    with pytest.raises(WarehouseError, match="no such file; run kseflow load --build first"):
        write_report(tmp_path / "none.duckdb", out)
    with pytest.raises(WarehouseError, match=r"lacks marts .*; run kseflow build"):
        write_report(plain, out)
    with pytest.raises(ConfigurationError, match=r"no taxpayer 1 in .*; it has 7438939438, 8351"):
        write_report(database, out, nips=["1"])
    with pytest.raises(ConfigurationError, match="is after the last"):
        write_report(database, out, first=date(2026, 11, 2), last=date(2026, 11, 1))
    assert not out.exists()


def test_a_database_open_for_writing_elsewhere_is_named_as_the_reason(
    changed: Changed, tmp_path: Path
) -> None:
    database = changed()
    hold = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held'); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        with pytest.raises(WarehouseError, match="open for writing in another program"):
            write_report(database, tmp_path / "report.html")


def test_the_trend_is_what_trends_tell_of_the_chosen_taxpayers(
    page: Browser, database: Path
) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        (day,) = connection.sql("select as_of_day from marts.as_of").fetchall()[0]
        inputs = read_inputs(connection, as_of_day=day)
        assert inputs
        headline, *_ = anomalies(inputs)
    told = answers(page)["Is it getting better or worse?"]
    assert headline.sentence.partition(" (")[0] in told
    assert f"{headline.after_failed_count:,} of {headline.after_decided_count:,}" in told


def drawn_bytes(printed: bytes) -> list[int]:
    """How much is drawn on each page of a PDF: nothing on a white one."""
    found = re.findall(rb"(?m)^(\d+) 0 obj\n(.*?)\nendobj", printed, re.DOTALL)
    contents = [re.search(rb"/Contents (\d+)", made) for _, made in found if PDF_PAGE in made]
    lengths = {number: re.search(rb"/Length (\d+)", made) for number, made in found}
    return [int(length[1]) for page in contents if page and (length := lengths[page[1]])]


def test_it_prints_without_white_pages_and_wide_charts(page: Browser) -> None:
    paper = {"preferCSSPageSize": True, "printBackground": True}
    print_out = b64decode(page.call("Page.printToPDF", **paper)["data"])
    height = page.evaluate("document.documentElement.scrollHeight")
    sizes = drawn_bytes(print_out)
    assert 4 <= len(sizes) <= height / 900
    assert min(sizes) > 1_000


def test_the_report_appears_in_one_step_and_in_a_new_folder(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    assert write_report(database, out) == out
    assert list(out.parent.iterdir()) == [out]


def test_a_place_that_cannot_be_written_keeps_what_it_had(database: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(WarehouseError, match="cannot be written"):
        write_report(database, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


WITHOUT_NOTEBOOKS = """
import sys
from kseflow.cli import main

class Without:
    def find_spec(self, name, path=None, target=None):
        if name in ("pandas", "plotly", "jinja2"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Without())
main()
"""


def test_without_the_packages_of_notebooks_the_report_says_what_to_install(
    database: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WITHOUT_NOTEBOOKS, "report", f"--database={database}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "install kseflow[notebooks] to write reports" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
