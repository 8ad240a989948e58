"""Take the pictures in docs/images of Dagster's and MLflow's pages, after `make demo`, with headless Chromium.

    python docs/take_screenshots.py [--chromium PATH] [--driver PATH]

Both servers are started on free ports of this machine and stopped at the end.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from assets.language_model.tracking import open_experiment, open_tracking, tracking_uri

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1600, 1000
START_SECONDS = 120


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


def take(page: Chrome, url: str, name: str, *, seconds: float = 8.0, script: str | None = None) -> None:
    """Open a page, give it time to draw, and keep its picture."""
    page.get(url)
    time.sleep(seconds)
    if script:
        page.execute_script(script)
        time.sleep(2)
    page.save_screenshot(str(IMAGES / f"{name}.png"))
    print(IMAGES / f"{name}.png")


def dagster_pages(page: Chrome) -> None:
    """The asset graph, an asset with its plots, the run."""
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "dagster_webserver", "-m", "pipelines.definitions", "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    with server(command, f"{root}/server_info"):
        take(page, f"{root}/asset-groups", "dagster-graph", seconds=15)
        take(page, f"{root}/assets/language_model", "dagster-language-model")
        take(page, f"{root}/assets/clean_text", "dagster-clean-text")
        take(page, f"{root}/runs", "dagster-runs")
        run = newest_run()
        if run:
            take(page, f"{root}/runs/{run}", "dagster-run")


def newest_run() -> str | None:
    """Id of the newest run of the main job in this folder's Dagster instance."""
    config = os.environ.get("DAGSTER_HOME") or str(Path.cwd())
    with dg.DagsterInstance.from_config(config) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="raw_to_model"), limit=1)
        return runs[0].run_id if runs else None


def mlflow_pages(page: Chrome) -> None:
    """The training run with its curves, and the registered model."""
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    client = open_tracking()
    experiment = open_experiment(client, "corpusline")
    (run,) = client.search_runs([experiment], max_results=1, order_by=["attributes.start_time DESC"])
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri(), "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with server(command, f"{root}/health"):
        take(page, f"{root}/#/experiments/{experiment}/runs/{run.info.run_id}", "mlflow-run", seconds=12)
        take(
            page,
            f"{root}/#/experiments/{experiment}/runs/{run.info.run_id}/model-metrics",
            "mlflow-metrics",
            seconds=12,
        )
        take(page, f"{root}/#/models/corpusline", "mlflow-model")


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
