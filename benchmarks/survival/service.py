"""MLflow's server on an SQLite file, to be taken away and brought back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


class TrackingServer:
    """The server of one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.database = folder, folder / "mlflow.db"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        host, _, port = self.address.removeprefix("http://").partition(":")
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--default-artifact-root", str(self.folder / "artifacts"), "--host", host, "--port", port]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--workers", "1"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Its queues of jobs are nine more processes.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def kill(self) -> None:
        """Without a word."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def environment(self) -> dict[str, str]:
        """Variables of a process that uses it."""
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.address,
            "CORPUSLINE_HOME": str(self.folder),
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "OMP_NUM_THREADS": "1",
        }
