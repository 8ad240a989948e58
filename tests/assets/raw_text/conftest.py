"""A source made of a few bytes, read as the stage reads it; and a web server on this machine."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw_text.catalogue import Source
from assets.raw_text.fetch import locate
from assets.raw_text.reader import read_source
from assets.raw_text.source_writer import RawTextReport

Row = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What one source became."""

    report: RawTextReport
    documents: list[Row]
    files: list[Row]
    skipped: list[Row]

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.documents]

    @property
    def ids(self) -> list[str]:
        return [row["doc_id"] for row in self.documents]


@dataclass
class Web:
    """A web server: ``pages`` by path, each with a status, headers and a body; ``requests`` as they came in."""

    address: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def page(self, path: str, body: bytes, *, status: int = 200, **headers: str) -> str:
        """Serve a page (headers with '_' for '-') and return its address."""
        self.pages[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return self.address + path


def make_source(**fields: Any) -> Source:
    """A catalogue's entry, with a name and a language where they do not matter."""
    return Source.parse({"name": "dump", "language": "en", "uri": "input"} | fields, origin="test")


@pytest.fixture(scope="session")
def source() -> Callable[..., Source]:
    """Makes a catalogue's entry from its fields."""
    return make_source


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Reading]:
    """Reads a source of these files; one file is named by the uri itself, several by their folder."""

    def read_files(files: Mapping[str, bytes], **fields: Any) -> Reading:
        folder = tmp_path_factory.mktemp("source")
        for name, data in files.items():
            path = folder / "input" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        out = folder / "out"
        out.mkdir()
        uri = f"input/{next(iter(files))}" if len(files) == 1 else "input"
        entry = make_source(**({"uri": uri} | fields))
        report = read_source(entry, locate(entry, folder=folder, downloads=folder / "downloads"), out=out)
        assert {path.name.rpartition("-")[0] or path.stem for path in out.iterdir()} == {
            "documents",
            "files",
            "skipped",
        }
        documents = [row for path in sorted(out.glob("documents-*.parquet")) for row in pq.read_table(path).to_pylist()]
        files_read, skipped = (pq.read_table(out / f"{name}.parquet").to_pylist() for name in ("files", "skipped"))
        return Reading(report, documents, files_read, skipped)

    return read_files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB, where this machine lets a test mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on the loopback interface."""
    served = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            served.requests.append(f"{self.command} {self.path}")
            status, headers, body = served.pages.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body)), "Connection": "close"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
