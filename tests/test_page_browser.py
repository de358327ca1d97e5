"""The page of a board in a real browser: it sorts, filters, shows figures on hover, and asks the network for nothing.

The browser is looked for in ``XLBENCH_BROWSER`` (a path), then on the path, then where ``playwright install chromium``
puts it; Playwright drives it. Without one these tests skip; where ``XLBENCH_REQUIRE`` says ``browser``, they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from toy_board import example_records, statistics_of, student

from xlbench.records.rows import rows_of
from xlbench.report.figures import figures
from xlbench.report.page import BoardText, asset, render
from xlbench.report.write import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

    Open = Callable[..., Tab]

PATIENCE = 120_000  # milliseconds: a busy machine is slow, and says nothing of the page
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def skip_or_fail(what: str) -> NoReturn:
    """Skip, or fail where a browser is promised (.ci/run): there a test that did not run must not look like one."""
    if "browser" in os.environ.get("XLBENCH_REQUIRE", "").split(","):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("no package 'playwright', which drives the browser")
    # Chromium refuses its sandbox to root, who runs tests in containers.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as driver:
        own = driver.chromium.executable_path
        path = os.environ.get("XLBENCH_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), own)
        if not Path(path).is_file():
            skip_or_fail(f"no browser at '{path}': name one in XLBENCH_BROWSER, or run `playwright install chromium`")
        started = driver.chromium.launch(
            executable_path=path, timeout=PATIENCE, args=["--disable-gpu", *(["--no-sandbox"] if root else [])]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with two more students; the better of them is the larger."""
    rows = rows_of(
        [
            *example_records(),
            student(0.0, method="plain", name="x" * 300),
            student(5.0, method="large", name="large | <b>", parameters=10**7),
        ]
    )
    place = tmp_path_factory.mktemp("board")
    title = f"A <script>alert(1)</script> board {'with a long name ' * 9}"
    said = BoardText(name="toy", title=title, text="Some *text*.")
    for name, text in render(said, rows, statistics_of(rows)).items():
        (place / name).write_text(text, "utf-8")
    found = figures(rows, statistics_of(rows))
    for wanted in ("latex", "csv", "markdown"):
        (place / wanted).write_text(text_of(found, wanted, said), "utf-8")
    return place / "toy.html"


@pytest.fixture
def visit(browser: Browser, board: Path) -> Iterator[Open]:
    """Opens the page; at the end of the test it must have complained of nothing and asked for nothing but itself."""
    context = None
    complaints: list[str] = []
    requests: list[str] = []

    def go(width: int = 1280, height: int = 900) -> Tab:
        nonlocal context
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(board.as_uri())
        return tab

    yield go
    assert context is not None
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [board.as_uri()]


def names(tab: Tab) -> list[str]:
    return [text[:50] for text in tab.locator("#main tbody tr:visible .name").all_inner_texts()]


def test_a_click_on_a_heading_sorts_and_is_announced(visit: Open) -> None:
    tab = visit()
    before = names(tab)
    head = tab.locator("#main thead th[scope=col]").nth(2)  # STS score
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"  # the best on top
    # 56.7, 55.2, 52.2, then 34.3 + 5, and two of 34.3 in their old order.
    assert names(tab)[:4] == [
        "multilingual-e5-small",
        "multilingual-e5-small, aligned (stage 1)",
        "multilingual-e5-small, mean-centred",
        "large | <b>",
    ]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(tab)[-1] == "multilingual-e5-small"
    assert sorted(names(tab)) == sorted(before)


def test_rows_without_a_value_stay_last(visit: Open) -> None:
    tab = visit()
    button = tab.get_by_role("button", name="Δ (STS)")
    for _ in range(2):
        button.click()
        # Only the three students have a difference against the assistant.
        assert all(name.startswith("multilingual") for name in names(tab)[3:])


def test_the_filter_hides_rows_everywhere_and_counts(visit: Open) -> None:
    tab = visit()
    assert tab.locator("#count").inner_text() == "6 of 6 rows"
    tab.get_by_label("Find").fill("LARGE")
    assert names(tab) == ["large | <b>"]
    assert tab.locator("#count").inner_text() == "1 of 6 rows"
    assert tab.locator(".maps .heat tbody tr:visible").count() == 2  # one in each family
    assert tab.locator("details.making:visible").count() == 1
    assert tab.locator(".point:not(.off)").count() == 4
    assert tab.locator(".point use:visible").count() == 4
    tab.get_by_label("Find").fill("nothing like it")
    assert tab.get_by_text("No row matches.").is_visible()
    tab.get_by_label("Find").fill("")
    tab.get_by_label("Show").select_option("teacher")
    assert names(tab) == ["multilingual-e5-small, mean-centred"]


def test_a_mark_shows_its_figures_to_pointer_and_keyboard(visit: Open) -> None:
    tab = visit()
    tip = tab.get_by_role("tooltip")
    assert not tip.is_visible()
    mark = tab.locator("svg.plot").first.locator(".point[aria-label^='large']").first
    mark.scroll_into_view_if_needed()
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # scrolled
    mark.hover()
    # 34.346 + 5 points, known to 2; smaller than the three of 471 MB, which are better.
    assert tip.inner_text().split("\n")[:3] == [
        "large | <b> (student)",
        "STS 39.3 ± 2.0",
        "212 MB, on the frontier",
    ]
    assert "hot" in (tab.locator("#main tbody tr", has_text="large").get_attribute("class") or "")
    tab.mouse.move(0, 0)
    assert not tip.is_visible()
    tab.locator("svg.plot").first.locator(".point[tabindex='0']").focus()
    first = tip.inner_text()
    tab.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert tip.inner_text() != first
    tab.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_narrow_page_scrolls_tables_not_itself(visit: Open) -> None:
    tab = visit()
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for width in (320, 390, 768):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        table = tab.locator("#ranking .scroll")
        assert table.evaluate("each => each.scrollWidth > each.clientWidth")
        # The name stays in sight while its figures pass by.
        table.evaluate("each => { each.scrollLeft = 200; }")
        box = tab.locator("#main tbody th").first.bounding_box()
        assert box is not None
        assert box["x"] >= 0


def test_no_label_of_a_plot_covers_another_or_a_mark_as_drawn(visit: Open) -> None:
    tab = visit()
    boxes: list[list[list[dict[str, float]]]] = tab.evaluate(
        "[...document.querySelectorAll('svg.plot')].map(plot => ['.label text', '.point use'].map("
        "kind => [...plot.querySelectorAll(kind)].map(each => each.getBoundingClientRect().toJSON())))"
    )
    assert sum(len(labels) for labels, _ in boxes) >= 20
    for labels, marks in boxes:
        for number, one in enumerate(labels):
            for other in [*labels[number + 1 :], *marks]:
                apart = (
                    one["right"] <= other["left"] + 1
                    or other["right"] <= one["left"] + 1
                    or one["bottom"] <= other["top"] + 3
                    or other["bottom"] <= one["top"] + 3
                )  # fmt: skip - a line box is higher than its letters
                assert apart, (one, other)


def test_print_shows_the_whole_table_without_tools(visit: Open) -> None:
    tab = visit(1050, 800)
    tab.emulate_media(media="print")
    assert not tab.get_by_label("Find").is_visible()
    assert tab.locator("#ranking .scroll").evaluate("each => getComputedStyle(each).overflowX") == "visible"
    assert tab.locator("#main").evaluate("each => each.getBoundingClientRect().right") <= 1050


@pytest.mark.parametrize("width", [1400, 1280])
@pytest.mark.parametrize("name", ["headline", "size-curve"])
def test_the_whole_table_fits_on_a_usual_screen(browser: Browser, name: str, width: int) -> None:
    # The widest tables are those of the published boards; the style is today's, whenever they were rendered.
    page = (Path(__file__).parents[1] / "leaderboards" / f"{name}.html").read_text("utf-8")
    page = re.sub("<style>.*?</style>", lambda _: f"<style>{asset('board.css')}</style>", page, flags=re.DOTALL)
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.set_content(re.sub("<meta http-equiv[^>]*>", "", page))
    last = tab.locator("#main thead tr:last-child th").last
    assert last.inner_text().startswith("Train min")
    right = last.evaluate("each => each.getBoundingClientRect().right")
    box = tab.locator("#ranking .scroll").evaluate("each => each.getBoundingClientRect().right")
    tab.close()
    assert right <= box + 0.5
    assert box <= width


def test_rows_are_filtered_by_megabytes_and_speed_with_their_points(visit: Open) -> None:
    tab = visit()
    size, speed = tab.get_by_label("At most"), tab.get_by_label("At least")
    # The least and the most of the column, as the table shows them.
    for box, heading, unit in ((size, "MB", ""), (speed, "Speed", "×")):
        place = tab.locator("#main thead tr:last-child th").evaluate_all(
            "(heads, name) => heads.findIndex(each => each.dataset.name === name)", heading
        )
        shown = tab.locator(f"#main tbody tr > :nth-child({place + 1})").all_inner_texts()
        ends = sorted({text.removesuffix(unit) for text in shown}, key=float)
        assert box.get_attribute("placeholder") == f"{ends[0]}–{ends[-1]}"
    size.focus()
    tab.keyboard.type("212")  # that of 'large', as the table rounds it
    assert all(not name.startswith("multilingual") for name in names(tab))
    assert "large | <b>" in names(tab)
    kept = len(names(tab))
    # Of each row a point in both families of both plots; the tab key stops at one that is shown.
    assert tab.locator(".point use:visible").count() == 4 * kept
    assert tab.locator("svg.plot .point[tabindex='0']:not(.off)").count() == 2
    size.fill("")
    tab.keyboard.press("Tab")
    assert speed.evaluate("each => each === document.activeElement")
    tab.keyboard.type("100")
    assert names(tab) == []
    assert tab.locator(".point use:visible").count() == 0
    speed.fill("")
    assert tab.locator("#count").inner_text() == "6 of 6 rows"


@pytest.mark.parametrize("wanted", ["LaTeX", "CSV", "Markdown"])
@pytest.mark.parametrize("clipboard", [True, False])
def test_the_table_is_copied_as_the_command_prints_it(visit: Open, board: Path, wanted: str, clipboard: bool) -> None:
    tab = visit()
    expected = (board.parent / wanted.lower()).read_text("utf-8")
    # The clipboard of a machine without a screen is not to be relied on: a stand-in takes the text, or refuses it.
    tab.evaluate(
        "works => Object.defineProperty(navigator, 'clipboard', { value: { writeText: async text => {"
        " if (!works) throw new Error('refused'); window.copied = text; } } })",
        clipboard,
    )
    tab.get_by_role("button", name=wanted, exact=True).press("Enter")
    area = tab.get_by_label(f"The table as {wanted}")
    if clipboard:
        tab.get_by_text(f"{wanted} copied.").wait_for()
        assert tab.evaluate("window.copied") == expected
        assert not area.is_visible()
    else:
        area.wait_for()
        chosen = "each => each.value.slice(each.selectionStart, each.selectionEnd)"
        assert area.evaluate(chosen) == expected
        assert area.evaluate("each => each === document.activeElement")


def test_a_row_links_to_its_training_details(visit: Open) -> None:
    tab = visit()
    # The details of the first student are open from the start, those of others are not.
    shut = tab.locator("#main tbody tr", has_text="mean-centred").locator("a.name")
    shut.press("Enter")
    tab.locator("details.making:target[open]").wait_for()  # the page hears of a new target some time after it
    tab.get_by_label("Find").fill("large")
    tab.locator("#main tbody a.name:visible").press("Enter")
    details = tab.locator("details.making:target[open]")
    details.wait_for()
    assert details.locator("summary b").inner_text() == "large | <b>"
    facts = details.locator(".facts li").all_inner_texts()
    assert "STS 39.3 ± 2.0, on the frontier" in facts
    assert "MB 212" in facts


def test_exactly_the_marks_on_the_frontier_are_labelled_so(visit: Open) -> None:
    tab = visit()
    plots: list[list[tuple[str, float, float]]] = tab.evaluate(
        "[...document.querySelectorAll('svg.plot')].map(plot => [...plot.querySelectorAll('.point')].map(point => {"
        " const target = point.querySelector('.target');"
        " return [point.getAttribute('aria-label'), +target.getAttribute('cx'), +target.getAttribute('cy')]; }))"
    )
    for points in plots:
        panels: dict[str, list[tuple[bool, float, float]]] = {}
        for label, x, y in points:
            panels.setdefault(label.split("\n")[1].split()[0], []).append(("on the frontier" in label, x, y))
        assert sorted(panels) == ["Bitext", "STS"]
        for panel in panels.values():
            # Better lies to the left and above: no other mark is as good in both and better in one.
            best = [
                not any(u <= x and v <= y and (u, v) != (x, y) for _, u, v in panel) for _, x, y in panel
            ]  # fmt: skip
            assert [said for said, _, _ in panel] == best
            assert 0 < sum(best) < len(best)
