"""The HTTP side: this machine only, reading only, nothing from outside, and no word of the corpus ever taken for markup."""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from seedbed.corpus.browse.pages import Pages
from seedbed.errors import InputError, SeedbedError

ADDRESS = "127.0.0.1"
ASSETS = {
    "/": ("seedbed.corpus.browse", "index.html", "text/html; charset=utf-8"),
    "/style.css": ("seedbed.report", "style.css", "text/css; charset=utf-8"),
    "/browse.css": ("seedbed.corpus.browse", "browse.css", "text/css; charset=utf-8"),
    "/browse.js": ("seedbed.corpus.browse", "browse.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """A server of one run's pages on this machine's own address."""

    daemon_threads = True

    def __init__(self, run: Path, port: int) -> None:
        self.pages = Pages(run)
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}: choose another, or 0 for any that is free") from None

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self.from_here():
            self.answer_error(HTTPStatus.FORBIDDEN, "this server answers only to its own address")
        elif parts.path in ASSETS:
            package, name, kind = ASSETS[parts.path]
            data = (resources.files(package) / "assets" / name).read_bytes()
            self.answer(HTTPStatus.OK, kind, data)
        elif parts.path in self.server.pages.paths:
            self.answer_question(parts.path, parts.query)
        else:
            self.answer_error(HTTPStatus.NOT_FOUND, "no such page")

    def from_here(self) -> bool:
        """Whether the browser asked this address by name: a page elsewhere that points its own name here is refused."""
        port = self.server.server_port
        return self.headers.get("Host", "") in (f"{ADDRESS}:{port}", f"localhost:{port}")

    def answer_question(self, path: str, query: str) -> None:
        try:
            parameters = parse_qs(query, keep_blank_values=True, max_num_fields=100)
            value = self.server.pages.paths[path](parameters)
        except (InputError, ValueError) as error:
            self.answer_error(HTTPStatus.BAD_REQUEST, str(error))
        except SeedbedError as error:
            self.answer_error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            data = json.dumps(value, allow_nan=False).encode()  # ASCII: half a surrogate pair does no harm
            self.answer(HTTPStatus.OK, "application/json", data)

    def answer_error(self, status: HTTPStatus, sentence: str) -> None:
        self.answer(status, "application/json", json.dumps({"error": sentence}).encode())

    def answer(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the reader left

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what a person looks at is theirs."""
