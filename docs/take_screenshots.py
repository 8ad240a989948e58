"""Take the pictures in docs/images of Dagster's and MLflow's pages, after `make demo`, with headless Chromium.

    python docs/take_screenshots.py [--chromium PATH] [--driver PATH]

Both servers are started on free ports of this machine and stopped at the end.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By

from assets.language_model.tracking import open_tracking, tracking_uri
from pipelines.instance_home import newest_version

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1600, 1000
START_SECONDS = 120
PAGE_SECONDS = 90
GROUPS = ["raw_text", "clean_text", "vocabulary", "token_shards", "language_model"]
EXPAND_ALL_GROUPS = "e"
METRICS = "//input[@placeholder='Search metric charts']"
ASSISTANT = "//button[@data-component-id='mlflow.assistant.chat_panel.close']"


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], url: str) -> Iterator[None]:
    """Run a web server until the context is left; entered when it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"{command[0]} did not answer on {url}") from None
                time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def browser(chromium: str, driver: str) -> Iterator[Chrome]:
    """Headless Chromium with an empty profile that talks to nobody but the pages it is shown."""
    options = ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory() as profile:
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        page = Chrome(options=options, service=ChromeService(executable_path=driver))
        try:
            yield page
        finally:
            page.quit()


def take(
    page: Chrome,
    url: str,
    name: str,
    *,
    expected: Sequence[str],
    keys: str = "",
    clicked: str | None = None,
    typed: tuple[str, str] | None = None,
) -> None:
    """Open a page, wait until it shows what it should, and keep its picture.

    Args:
        page: The browser.
        url: Of the page.
        name: Of the picture.
        expected: What it should show.
        keys: Pressed then, with Alt.
        clicked: XPath of what is clicked on then, where it is there.
        typed: XPath of a field, and what is written into it.

    Raises:
        SystemExit: If it does not within a minute and a half; the picture taken then shows what is there instead.
    """
    page.get(url)
    deadline = time.monotonic() + PAGE_SECONDS
    missing = list(expected)
    while missing and time.monotonic() < deadline:
        time.sleep(1)
        shown = page.execute_script("return document.body.innerText")
        missing = [text for text in expected if text not in shown]
    if keys:
        ActionChains(page).key_down(Keys.ALT).send_keys(keys).key_up(Keys.ALT).perform()
    if clicked:
        for element in page.find_elements(By.XPATH, clicked):
            page.execute_script("arguments[0].click()", element)
    if typed:
        page.find_element(By.XPATH, typed[0]).send_keys(typed[1])
    # What is drawn on a canvas comes after the text.
    time.sleep(5)
    page.save_screenshot(str(IMAGES / f"{name}.png"))
    if missing:
        raise SystemExit(f"{url} does not show {missing}; see {IMAGES / name}.png")
    print(IMAGES / f"{name}.png", flush=True)


def dagster_pages(page: Chrome) -> None:
    """The asset graph, an asset with its plots, the run."""
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    version = newest_version()
    command = [
        sys.executable, "-m", "dagster_webserver", "-m", "pipelines.definitions", "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    with server(command, f"{root}/server_info"):
        take(page, f"{root}/asset-groups", "dagster-graph", expected=GROUPS, keys=EXPAND_ALL_GROUPS)
        take(
            page,
            f"{root}/assets/language_model",
            "dagster-language-model",
            expected=["tokens_per_second"],
            clicked="//a[text()='[Show Markdown]']",  # the only one is the loss
        )
        take(page, f"{root}/assets/clean_text", "dagster-clean-text", expected=["Latest check results", "kept"])
        take(page, f"{root}/runs/{version.run_id}", "dagster-run", expected=["raw_to_model", "Success"])


def mlflow_pages(page: Chrome) -> None:
    """The training run with its curves."""
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    version = newest_version()
    client = open_tracking()
    registered = client.get_model_version(version.name, version.version)
    run = client.get_run(registered.run_id)
    address = f"{root}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics"
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri(), "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with server(command, f"{root}/health"):
        take(
            page,
            address,
            "mlflow-run",
            expected=["Add chart"],
            clicked=ASSISTANT,
            typed=(METRICS, "^(loss|gradient_norm|learning_rate|validation.*bits)"),
        )


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with browser(arguments.chromium, arguments.driver) as page:
        dagster_pages(page)
        mlflow_pages(page)


if __name__ == "__main__":
    main()
