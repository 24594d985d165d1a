"""Checks the web page for operators in a real Chromium, over a real ratelimiterd. scripts/test-ui runs it.

Each check is a function `check_...` that gets a fresh tab. After each one the page must have had no fault, must have
asked no other site, and its policy must have stopped nothing. `--screenshots FOLDER` makes the pictures of
docs/operate/ui.md.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from browser import SHIFT, Browser, BrowserError, Page
from ui_service import (
    BUCKET,
    DENIED,
    HOSTILE,
    LARGEST,
    LIMITS,
    MANY,
    SLOTS,
    TEMPLATE,
    TPM,
    USED,
    Service,
    fill,
    many_limits,
)

# How long a search among MANY limits may take from the last letter to the shown result, in a debug build on a busy
# machine. The page waits 120 ms of it for another letter.
SEARCH_MS_MAX = 3_000


def sign_in(page: Page, service: Service, path: str = "", token: str | None = None) -> None:
    """Opens the page with a token that was entered in its dialog."""
    page.go(f"{service.url}/ui/{path}")
    page.wait("document.activeElement?.id === 'sign-in-token'")
    page.fill("#sign-in-token", token or service.admin)
    page.press("Enter")
    page.wait("!document.querySelector('#sign-in').open && document.querySelector('#clock').textContent")


def row(key: str) -> str:
    """A row of the table, as an expression."""
    has_key = f"(row) => row.querySelector('a')?.textContent === {json.dumps(key)}"
    return f"[...document.querySelectorAll('tbody tr')].find({has_key})"


def link(key: str) -> str:
    return f"#/limit/{urllib.parse.quote(key, safe='')}"


def check_a_wrong_token_is_refused_and_a_right_one_stays_in_the_tab(page: Page, service: Service) -> None:
    page.go(f"{service.url}/ui")
    page.wait("location.pathname === '/ui/' && document.activeElement?.id === 'sign-in-token'")
    for wrong, text in [
        ("", "Enter a token"),
        ("two words", "Enter a token"),
        ("rl_wrong", "does not know this token"),
    ]:
        page.fill("#sign-in-token", wrong)
        page.press("Enter")
        page.wait_text(text, "#sign-in-failure")
    assert page.run("document.querySelector('tbody tr')") is None
    page.fill("#sign-in-token", service.admin)
    page.press("Enter")
    page.wait(row(SLOTS))
    assert page.run("sessionStorage.length") == 1
    assert page.run("localStorage.length + document.cookie.length") == 0
    page.call("Page.reload")
    page.wait(row(SLOTS))
    page.click("#token")
    page.click("#sign-in button.quiet")
    page.wait("sessionStorage.length === 0 && document.querySelector('#sign-in').open")
    page.press("Escape")
    page.wait_text("A token is needed", "#trouble")


def check_the_list_shows_use_and_status(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait(row(SLOTS))
    for key, cells in [
        (SLOTS, ["100 %", "0", "10", "10", "", "7", "no room"]),
        (TPM, ["58 %", "25,200", "34,800", "60,000", "", "1", "active"]),
        ("batch:nightly:slots", ["-", "0", "0", "0", "", "", "paused"]),
        ("largest", ["0 %", "9.22E18", "0", "9.22E18", "", "", "active"]),
        (TEMPLATE, ["3 of 100", "", "", "1,000,000", "", "", "template"]),
    ]:
        page.wait(f"{row(key)}.cells.length === 8")
        shown = page.run(f"[...{row(key)}.cells].slice(1).map((cell) => cell.innerText.trim())")
        assert shown == cells, f"{key}: {shown}"
    widths = page.run(f"['used', 'debt'].map((part) => {row(TPM)}.querySelector('.' + part).getAttribute('width'))")
    assert widths == ["58.00%", "0.00%"], widths
    most = page.run("[...document.querySelectorAll('.most a')].map((link) => link.textContent)")
    assert most == [key for key, _ in DENIED], most
    # The table is read again by itself, and a row stays the same element.
    page.run(f"window.row = {row('api:upload:monthly')}")
    service.reserve("api:upload:monthly", 100)
    page.wait("window.row.innerText.includes('512') && window.row.isConnected")


def check_the_search_finds_parts_of_keys(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait(row(SLOTS))
    page.press("/")
    page.wait("document.activeElement.id === 'search'")
    page.type("openai")
    page.wait("document.querySelectorAll('tbody tr').length === 3")
    page.wait_text("1 to 3")
    page.wait_text("3 limits", "#news")
    assert page.run("location.hash") == "#/?contains=openai"
    page.call("Page.reload")
    page.wait(
        "document.querySelectorAll('tbody tr').length === 3 && document.querySelector('#search').value === 'openai'"
    )
    # An instance of a template is in no list, and found by its whole key.
    page.fill("#search", "tenant:acme:llm:daily_tokens")
    page.wait(row("tenant:acme:llm:daily_tokens"))
    page.fill("#search", "nobody has this")
    page.wait_text('No key holds "nobody has this".')
    page.fill("#search", "")
    page.wait(f"document.querySelectorAll('tbody tr').length === {len(LIMITS)}")


def check_a_limit_has_its_definition_versions_and_plots(page: Page, service: Service) -> None:
    for capacity in [90_000, 60_000]:
        service.put(LIMITS[1] | {"capacity": capacity})
    sign_in(page, service, link(TPM))
    page.wait_text(TPM, "h1")
    page.wait_text("capacity 90,000 → 60,000", "table")
    versions = page.run("[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].innerText)")
    assert versions == ["4", "3", "2", "1"], versions
    page.wait_text("the lower capacity took effect", "tbody")
    tiles = page.run("[...document.querySelectorAll('.tiles div')].map((tile) => tile.innerText.split('\\n'))")
    assert ["Available", "25,200"] in tiles and ["Denied in the last hour", "1"] in tiles, tiles
    fields = page.run("[...document.querySelectorAll('.fields div')].map((field) => field.innerText.split('\\n'))")
    assert ["window seconds", "600"] in fields and ["unit", "token"] in fields, fields
    page.wait("(document.querySelector('.plot .line').getAttribute('d').match(/L/g) ?? []).length >= 1")
    assert page.run("document.querySelectorAll('.bars rect').length") >= 1
    labels = page.run("[...document.querySelectorAll('svg[role=img]')].map((plot) => plot.getAttribute('aria-label'))")
    assert labels[0].startswith("Reserved: 34,800 now, at most 34,800"), labels
    assert labels[1].startswith("1 denials in 60 minutes"), labels


def check_a_template_has_its_instances(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait(row(TEMPLATE))
    page.run(f"{row(TEMPLATE)}.querySelector('a').click()")
    page.wait(
        f"document.title.startsWith({json.dumps(TEMPLATE)}) && document.querySelectorAll('tbody th').length === 3"
    )
    page.fill("#search", "globex")
    page.wait("document.querySelectorAll('tbody th').length === 1")
    page.wait(row("tenant:globex:llm:daily_tokens"))
    assert page.run("document.querySelector('#reset').hidden")


def check_an_edit_shows_its_plan_before(page: Page, service: Service) -> None:
    version = service.limit("api:upload:monthly")["version"]
    sign_in(page, service, link("api:upload:monthly"))
    page.click("#edit")
    page.fill("#field-capacity", "many")
    page.press("Enter")
    page.wait_text("Enter a whole number.", "#failure-capacity")
    page.fill("#field-capacity", "1,500")
    page.fill("#field-description", "Uploads of all users")
    page.press("Enter")
    page.wait("document.activeElement.id === 'apply'")
    plan = page.run(
        "[...document.querySelectorAll('.plan tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    assert plan == [["capacity", "1,000", "1,500"], ["description", "-", "Uploads of all users"]], plan
    assert service.limit("api:upload:monthly")["version"] == version, "a plan changes nothing"
    page.click("#apply")
    page.wait("!document.querySelector('#change').open")
    page.wait_text("Changed api:upload:monthly.", "#news")
    page.wait_text("capacity 1,000 → 1,500", "table")
    changed = service.limit("api:upload:monthly")
    assert changed["definition"]["capacity"] == 1_500 and changed["version"] == version + 1, changed


def check_the_service_page_shows_its_health(page: Page, service: Service) -> None:
    sign_in(page, service, "#/service")
    page.wait_text("ready", ".status.good")
    fields = page.run("[...document.querySelectorAll('.fields div')].map((field) => field.innerText.split('\\n'))")
    names = {name: value for name, value in fields}
    # Other checks reserve, too.
    assert int(names["reserves granted"]) >= len(USED), names
    assert int(names["reserves no room"]) == sum(count for _, count in DENIED), names
    assert names["mean time of a reserve"].endswith(" ms"), names
    assert names["kind"].startswith("memory"), names


def check_a_bad_value_is_refused_in_the_words_of_the_service(page: Page, service: Service) -> None:
    sign_in(page, service, link("api:upload:monthly"))
    page.click("#edit")
    page.fill("#field-window_seconds", "999999999999")
    page.press("Enter")
    page.click("#apply")
    page.wait_text("window_seconds", "#change .failure")
    page.press("Escape")
    page.wait("!document.querySelector('#change').open && document.activeElement.id === 'edit'")


def check_two_editors_do_not_overwrite_each_other(page: Page, service: Service) -> None:
    key = "global:llm:openai:gpt-4o:rpm"
    sign_in(page, service, link(key))
    page.click("#edit")
    page.fill("#field-capacity", "700")
    page.press("Enter")
    page.wait("document.activeElement.id === 'apply'")
    service.put(LIMITS[2] | {"capacity": 600, "unit": "request"})
    page.click("#apply")
    page.wait_text("somebody else has changed the limit", "#change")
    assert service.limit(key)["definition"]["capacity"] == 600
    plan = page.run(
        "[...document.querySelectorAll('.plan tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    assert plan == [["capacity", "600", "700"]], plan
    page.click("#apply")
    page.wait("!document.querySelector('#change').open")
    changed = service.limit(key)["definition"]
    assert (changed["capacity"], changed["unit"]) == (700, "request"), changed


def check_a_limit_is_paused_and_resumed(page: Page, service: Service) -> None:
    key = "global:llm:anthropic:opus:tpm"
    sign_in(page, service, link(key))
    page.click("#pause")
    page.wait_text("A paused limit grants nothing", "#change")
    page.click("#apply")
    page.wait_text("pausing", ".status")
    page.click("#resume")
    page.wait_text("80,000", ".plan .new")
    page.click("#apply")
    page.wait("document.querySelector('.status.good')")
    assert service.limit(key)["definition"]["capacity"] == 80_000


def check_a_reset_shows_what_it_ends(page: Page, service: Service) -> None:
    sign_in(page, service, link(BUCKET))
    page.click("#reset")
    page.wait_text("64", ".plan")
    page.click("#apply")
    page.wait("!document.querySelector('#change').open")
    page.wait_text("Reset api:search:bucket.", "#news")
    assert service.limit(BUCKET)["usage"]["reserved"] == 0


def check_a_reader_changes_nothing(page: Page, service: Service) -> None:
    sign_in(page, service, link(BUCKET), service.reader)
    before = service.limit(BUCKET)
    page.click("#pause")
    page.click("#apply")
    page.wait_text("lacks the scope admin", "#change .failure")
    assert service.limit(BUCKET)["version"] == before["version"]
    page.press("Escape")
    page.run("location.hash = '#/service'")
    page.wait_text("the token lacks the scope metrics")


def check_large_numbers_stay_exact(page: Page, service: Service) -> None:
    sign_in(page, service, link("largest"))
    page.click("#edit")
    assert page.run("document.querySelector('#field-capacity').value") == str(LARGEST)
    page.fill("#field-description", "as large as can be")
    page.press("Enter")
    page.click("#apply")
    page.wait("!document.querySelector('#change').open")
    changed = service.limit("largest")["definition"]
    assert (changed["capacity"], changed["description"]) == (LARGEST, "as large as can be"), changed


def check_text_is_never_markup(page: Page, service: Service) -> None:
    sign_in(page, service, link("hostile"))
    page.wait_text(HOSTILE, ".fields")
    page.click("#edit")
    page.wait(f"document.querySelector('#field-description').value === {json.dumps(HOSTILE)}")
    page.press("Escape")
    page.go(f"{service.url}/ui/{link(HOSTILE)}")
    page.wait(f"document.querySelector('h1').textContent === {json.dumps(HOSTILE)}")
    page.wait(
        "document.querySelector('#trouble').checkVisibility() || document.body.innerText.includes('no such limit')"
    )
    assert page.run("window.hacked === undefined && !document.querySelector('main img, main b')")


def check_the_keyboard_does_all(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait(row(SLOTS))
    page.run("document.activeElement.blur()")
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    tab_to(page, f"document.activeElement.textContent === {json.dumps(BUCKET)}")
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is visible"
    page.press("Enter")
    page.wait("document.activeElement.tagName === 'H1' && !document.querySelector('#edit')?.hidden")
    tab_to(page, "document.activeElement.id === 'edit'")
    page.press("Enter")
    page.wait("document.activeElement.id === 'field-capacity'")
    for _ in range(12):
        page.press("Tab")
        # Behind the last element the focus is on the browser itself, which the page sees as its body.
        inside = page.run(
            "document.activeElement === document.body || document.activeElement.closest('#change') !== null"
        )
        assert inside, "the focus stays in the dialog"
    page.fill("#field-capacity", "250")
    page.press("Enter")
    page.wait("document.activeElement.id === 'apply'")
    page.press("Enter")
    page.wait("!document.querySelector('#change').open && document.activeElement.id === 'edit'")
    assert service.limit(BUCKET)["definition"]["capacity"] == 250
    tab_to(page, "document.activeElement.textContent === 'Service'", SHIFT)
    page.press("Enter")
    page.wait_text("The definitions are read, and the ledger answers.")


def tab_to(page: Page, script: str, modifiers: int = 0) -> None:
    for _ in range(60):
        if page.run(script):
            return
        page.press("Tab", modifiers)
    raise AssertionError(f"the keyboard does not reach: {script}")


# The least contrast of the texts of a page to what is behind them, as WCAG computes it.
LEAST_CONTRAST = """(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const color = parse(getComputedStyle(e).backgroundColor);
    return color[3] === 0 ? behind(e.parentElement) : color;
  };
  const contrast = (e) => {
    const [a, b] = [parse(getComputedStyle(e).color), behind(e)].map(light).sort((a, b) => a - b);
    return (b + 0.05) / (a + 0.05);
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const isRead = (e) => hasText(e) && e.checkVisibility() && !e.closest('svg, :disabled');
  const texts = [...document.querySelectorAll('body *')].filter(isRead);
  const found = texts.map((e) => [contrast(e), e.className || e.tagName, e.textContent.slice(0, 40)]);
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""


def check_dark_and_light_can_be_read(page: Page, service: Service) -> None:
    sign_in(page, service)
    for scheme, is_dark in [("light", False), ("dark", True)]:
        page.prefer(scheme)
        background = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(background) < 80) == is_dark, f"{scheme}: {background}"
        for path in ["#/", link(SLOTS), link(TEMPLATE), "#/service"]:
            page.run(f"location.hash = {json.dumps(path)}")
            page.wait("document.querySelector('main :is(th, dt)')")
            least = page.run(LEAST_CONTRAST)
            assert least[0] >= 4.5, f"{scheme} {path}: {least}"


def check_everything_has_a_name(page: Page, service: Service) -> None:
    sign_in(page, service)
    for path, then in [
        ("#/", None),
        (link(SLOTS), "#edit"),
        (link(TEMPLATE), None),
        ("#/service", None),
        ("#/", "#token"),
    ]:
        page.run(f"location.hash = {json.dumps(path)}")
        page.wait("document.querySelector('main :is(th, dt)')")
        if then:
            page.click(then)
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        roles = {
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "dialog",
            "table",
            "image",
            "region",
            "navigation",
        }
        for node in nodes:
            if not node.get("ignored") and node.get("role", {}).get("value") in roles:
                assert node.get("name", {}).get("value"), f"{path}: {node['role']['value']} without a name"
        headings = page.run("document.querySelectorAll('h1').length")
        assert headings == 1, f"{path}: {headings} headings of the first level"
        bare = page.run(
            "[...document.querySelectorAll('table')].filter((table) => !table.querySelector('th[scope=col]')).length"
        )
        assert bare == 0, f"{path}: a table without headers"
        page.press("Escape")


def check_a_narrow_window_scrolls_no_page_sideways(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.resize(390, 800)
    for path in ["#/", link(SLOTS), link(TEMPLATE), "#/service"]:
        page.run(f"location.hash = {json.dumps(path)}")
        page.wait("document.querySelector('main :is(th, dt)')")
        width = page.run("document.documentElement.scrollWidth")
        assert width <= 390, f"{path}: {width} px wide"


# Makes each limit of each answer have the fields of services that allot or let callers wait.
LATER_FIELDS = """
const before = window.fetch;
window.fetch = async (...request) => {
  const answer = await before(...request);
  const text = await answer.text();
  const extended = text.replaceAll(/"usage":{/g, '"usage":{"allotted":2,"waiting":41,');
  return new Response(extended, { status: answer.status });
};"""


def check_fields_of_later_services_are_shown(page: Page, service: Service) -> None:
    page.call("Page.addScriptToEvaluateOnNewDocument", source=LATER_FIELDS)
    sign_in(page, service)
    page.wait(row(SLOTS))
    heads = page.run("[...document.querySelectorAll('thead th')].map((head) => head.innerText)")
    assert heads == [
        "Limit",
        "Use",
        "Available",
        "Reserved",
        "Allotted",
        "Capacity",
        "Debt",
        "Waiting",
        "Denied",
        "Status",
    ], heads
    shown = page.run(f"[...{row(SLOTS)}.cells].map((cell) => cell.innerText.trim())")
    assert (shown[4], shown[7]) == ("2", "41"), shown
    widths = page.run(f"['used', 'held'].map((part) => {row(SLOTS)}.querySelector('.' + part).getAttribute('width'))")
    assert widths == ["80.00%", "20.00%"], widths
    page.run(f"location.hash = {json.dumps(link(SLOTS))}")
    page.wait_text("Waiting\n41", ".tiles")


def check_the_words_for_a_limit(page: Page, service: Service) -> None:
    """The pure functions of model.js and json.js, by tables."""
    page.go(f"{service.url}/ui/")
    page.wait("document.querySelector('h1')")

    def of(script: str) -> Any:
        return page.run(f"Promise.all([import('./model.js'), import('./json.js')]).then(([m, j]) => {script})")

    base = {
        "definition": {"key": "k", "kind": "rolling", "capacity": 10},
        "status": "active",
        "pending_decrease_to": 0,
        "usage": {"available": 4, "reserved": 6, "debt": 0},
    }
    for change, text in [
        ({}, "active"),
        ({"usage": {"available": 0, "reserved": 10, "debt": 0}}, "no room"),
        ({"status": "decreasing", "pending_decrease_to": 3}, "decreasing to 3"),
        ({"status": "decreasing"}, "pausing"),
        ({"definition": base["definition"] | {"capacity": 0}}, "paused"),
        ({"definition": base["definition"] | {"max_instances": 5}}, "template"),
        ({"definition": base["definition"] | {"enforce": False}}, "shadow"),
        ({"status": "moved"}, "moved"),
    ]:
        assert of(f"m.statusOf({json.dumps(base | change)}).text") == text, text
    for definition, text in [
        ({"kind": "rolling", "window_seconds": 60}, "60 s"),
        ({"kind": "rolling", "window_seconds": 90}, "90 s"),
        ({"kind": "fixed_window", "window_seconds": 86_400}, "1 d"),
        ({"kind": "fixed_window", "window_seconds": 0, "window_ms": 250}, "0.25 s"),
        ({"kind": "sliding_window", "window_seconds": 60, "auto_replenish": False}, "60 s by hand"),
        ({"kind": "concurrency", "timeout_seconds": 300}, "at most 5 min"),
        ({"kind": "token_bucket", "refill_amount": 10, "refill_interval_ms": 1_500}, "10 per 1.5 s"),
        ({"kind": "token_bucket", "refill_amount": 10, "auto_replenish": False}, "10 by hand"),
        ({"kind": "calendar", "period": "month"}, "each month"),
    ]:
        assert of(f"m.timeOf({json.dumps(definition)})") == text, text
    usd = {"unit": "USD", "unit_micros": 1}
    for definition, amount, text in [
        (usd, "12500000", "12.5 USD"),
        (usd, "1", "0.000001 USD"),
        (usd, "0", "0 USD"),
        ({"unit": "USD", "unit_micros": 10_000}, "123456789", "1,234,567.89 USD"),
        (usd, f"{LARGEST}n", "9,223,372,036,854.775807 USD"),
        ({"unit": "token"}, "1500", "1,500"),
    ]:
        assert of(f"m.shownAmount({json.dumps(definition)}, {amount})") == text, text
    large = (
        '{"a":340282366920938463463374607431768211455,"b":[9007199254740993,12],"c":"9007199254740993 \\"","d":0.25}'
    )
    assert of(f"j.stringify(j.parse({json.dumps(large)}))") == large
    for text, number in [
        ("12", "12"),
        ("1,000", "1000"),
        (" 7 ", "7"),
        (str(LARGEST), str(LARGEST)),
        ("", "null"),
        ("-1", "null"),
        ("1.5", "null"),
    ]:
        assert of(f"String(j.wholeNumber({json.dumps(text)}))") == number, text


def check_a_service_that_is_away_is_told(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait(row(SLOTS))
    service.stop()
    page.wait_text("The service does not answer. What is shown is of", "#trouble")
    assert page.run(f"{row(SLOTS)} !== undefined")
    service.start()
    page.wait("document.querySelector('#trouble').hidden")


def check_many_limits_are_searched_without_delay(page: Page, service: Service) -> None:
    sign_in(page, service)
    page.wait("document.querySelectorAll('tbody tr').length === 50")
    page.wait_text("1 to 50, and more")
    page.click(".pages button:last-child")
    page.wait_text("51 to 100, and more")
    page.click(".pages button:first-child")
    page.wait_text("1 to 50, and more")
    times = []
    for text in ["t012345", "t09999", "model:6", "t0500", "4711:mod"]:
        took = page.run(f"""new Promise((resolve) => {{
          const search = document.querySelector('#search');
          const start = performance.now();
          const links = () => [...document.querySelectorAll('tbody a')];
          const isDone = () => links().every((link) => link.textContent.includes({json.dumps(text)}));
          const look = () => isDone() ? resolve(performance.now() - start) : requestAnimationFrame(look);
          search.value = {json.dumps(text)};
          search.dispatchEvent(new Event('input'));
          look();
        }})""")
        times.append(round(took))
    print(f"  a search among {MANY:,} limits takes {times} ms, 120 ms of them for another letter")
    assert max(times) <= SEARCH_MS_MAX, times
    page.fill("#search", "no such key")
    page.wait_text('No key holds "no such key".')


def run_check(browser: Browser, check: Callable[[Page, Service], None], service: Service) -> str | None:
    """Why a check failed; None if it did not."""
    with browser.page() as page:
        try:
            check(page, service)
            violations = page.run("window.violations")
        except (AssertionError, BrowserError) as error:
            return f"{error}\n  faults: {page.faults}"
        foreign = [url for url in page.asked if not url.startswith(service.url)]
        complaints = [*violations, *page.faults, *foreign]
        return f"violations, faults and foreign requests: {complaints}" if complaints else None


def take_screenshots(browser: Browser, service: Service, folder: Path) -> None:
    """The pictures of docs/operate/ui.md."""
    with browser.page() as page:
        sign_in(page, service)
        page.resize(1180, 760)
        page.wait(row(SLOTS))
        page.screenshot(folder / "limits.png")
        page.prefer("dark")
        page.screenshot(folder / "limits-dark.png")
        page.prefer("light")
        page.run(f"location.hash = {json.dumps(link(TPM))}")
        for amount in [2_500, 1_200, 6_000, 3_400, 900, 60_000, 60_000]:
            service.reserve(TPM, amount)
            time.sleep(2)
        page.screenshot(folder / "limit.png")
        page.click("#edit")
        page.fill("#field-capacity", "45000")
        page.press("Enter")
        page.wait("document.activeElement.id === 'apply'")
        page.screenshot(folder / "plan.png")


@contextlib.contextmanager
def services(program: Path, folder: Path, many: bool) -> Iterator[tuple[Service, Service | None]]:
    """The service of most checks, and the one with MANY limits."""
    folders = [folder / "small", folder / "many"]
    for each in folders:
        each.mkdir()
    with contextlib.ExitStack() as stack:
        small = Service(program, folders[0])
        stack.callback(small.stop)
        fill(small)
        large = None
        if many:
            large = Service(program, folders[1], many_limits())
            stack.callback(large.stop)
        yield small, large


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratelimiterd", type=Path, required=True)
    parser.add_argument("--browser", required=True)
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--only", default="", help="a part of the names of the checks to run")
    arguments = parser.parse_args()
    os.environ.pop("RATELIMITERD_BIN", None)
    checks = {name: check for name, check in globals().items() if name.startswith("check_") and arguments.only in name}
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        folder = Path(text)
        (folder / "profile").mkdir()
        of_many = check_many_limits_are_searched_without_delay
        browser = Browser(arguments.browser, folder / "profile")
        try:
            with services(arguments.ratelimiterd, folder, of_many in checks.values()) as (small, large):
                if arguments.screenshots:
                    take_screenshots(browser, small, arguments.screenshots)
                    return
                for name, check in checks.items():
                    start = time.monotonic()
                    failure = run_check(browser, check, large if check is of_many else small)
                    print(f"{'FAILED' if failure else 'ok'} {name} ({time.monotonic() - start:.1f} s)", flush=True)
                    if failure:
                        failed += 1
                        print(f"  {failure}", flush=True)
        finally:
            browser.close()
    if failed:
        sys.exit(f"error: {failed} of {len(checks)} checks of the web page failed")


if __name__ == "__main__":
    main()
