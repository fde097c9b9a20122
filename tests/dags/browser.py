"""A person at Airflow's web interface, played by a real browser; every step leaves a picture."""

import os
import re
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import ViewportSize, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the page: a browser looks for its maker at every start otherwise.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = ViewportSize(width=1440, height=1000)
STEP_MS = 120_000


def browser_program():
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or pytest.fail("no browser: install Chromium (apt-get install chromium), or name one in CHROMIUM")


@contextmanager
def at_the_browser(url, pictures):
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=list(QUIET))
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(STEP_MS)
        person = Person(page, url, pictures)
        try:
            yield person
        except BaseException:
            person.picture("where-it-failed")
            raise
        finally:
            browser.close()


class Person:
    def __init__(self, page, url, pictures):
        self.page = page
        self.url = url
        self.pictures = pictures

    def picture(self, name):
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def log_in(self, password):
        self.page.goto(self.url)
        self.page.fill("input[name=username]", "admin")
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.get_by_test_id("nav-dags-link").wait_for()

    def open_dag(self, name):
        self.page.goto(f"{self.url}/dags")
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.get_by_test_id("header-card").wait_for()

    def trigger(self, *, picture, **fields):
        """Fill the form's fields, True for a switch that is to be on, and trigger; returns the id of the run."""
        self.page.get_by_test_id("trigger-dag-button").click()
        form = self.page.get_by_role("dialog")
        form.get_by_role("button", name="When something was stopped").wait_for()
        for name, value in fields.items():
            field = form.locator(f"[name=element_{name}]")
            if not field.is_visible() and value is not True:
                form.get_by_role("button", name="When something was stopped").click()
            if value is True:
                form.locator(f"label:has(input[name=element_{name}])").click()
            else:
                field.fill(value)
        self.picture(picture)
        with self.page.expect_response(
            lambda answer: answer.url.endswith("/dagRuns") and answer.request.method == "POST"
        ) as told:
            self.page.get_by_test_id("trigger-dag-submit").click()
        assert told.value.ok, told.value.text()
        return told.value.json()["dag_run_id"]

    def see_how_it_ended(self, dag, run, *, picture):
        """Look at the page of a run that is about to end; returns how it did."""
        self.page.goto(f"{self.url}/dags/{dag}/runs/{run}")
        badge = self.page.get_by_test_id("header-card").get_by_test_id("state-badge").first
        badge.filter(has_text=re.compile("success|failed", re.IGNORECASE)).wait_for()
        expand = self.page.get_by_test_id("expand-all-button")
        if expand.count() and expand.is_enabled():  # it is not where all are unfolded, which the page remembers
            expand.click()
        self.page.wait_for_timeout(2000)  # for the grid to unfold
        self.picture(picture)
        return badge.inner_text().strip().lower()

    def look_away(self):
        """Leave the page: what moves on it takes a third of a core from what is watched."""
        self.page.goto("about:blank")

    def read_log(self, dag, run, task, *, words, picture):
        """Open a task's log, find words in it, and leave the page."""
        self.page.goto(f"{self.url}/dags/{dag}/runs/{run}/tasks/{task}")
        self.page.get_by_text(words).first.wait_for()
        self.picture(picture)
        self.look_away()
