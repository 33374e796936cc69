"""A local server of files, and everything that can go wrong with one: what a download is tested against."""

import contextlib
import http.server
import socket
import threading


class Server(http.server.ThreadingHTTPServer):
    """good, wrong: {name of a file: its bytes}."""

    daemon_threads = True

    def __init__(self, good, wrong):
        super().__init__(("127.0.0.1", 0), Handler)
        self.good, self.wrong = good, wrong
        self.requests = []
        self.closing = threading.Event()

    def url(self, fault, name=""):
        return f"http://127.0.0.1:{self.server_port}/{fault}/{name}"

    def handle_error(self, request, client_address):
        """The client hanging up is what some of the tests want."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the fault that the address names."""

    def do_GET(self):
        self.server.requests.append(self.path)
        fault, self.name = self.path.split("/")[1:]
        getattr(self, fault)()

    @property
    def file(self):
        return self.server.good[self.name]

    def log_message(self, *args):
        pass

    def answer(self, *pieces, status=200, length=None, pause=0.0, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(map(len, pieces)) if length is None else length))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
            self.server.closing.wait(pause)

    def good(self):
        self.answer(self.file)

    def slow(self):
        step = len(self.file) // 6 + 1
        self.answer(*(self.file[i : i + step] for i in range(0, len(self.file), step)), pause=0.3)

    def wrong(self):
        self.answer(self.server.wrong[self.name])

    def login_page(self):
        self.answer(b"<html>Please log in</html>", **{"Content-Type": "text/html"})

    def nothing(self):
        self.answer()

    def truncated(self):
        self.answer(self.file[:5000], length=len(self.file))

    def not_found(self):
        self.answer(b"no such file", status=404)

    def broken(self):
        self.answer(b"sorry", status=503)

    def redirect(self):
        self.answer(status=302, Location=self.server.url("good", self.name))

    def endless(self):
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 16))

    def silent(self):
        self.server.closing.wait()

    def stalled(self):
        self.answer(self.file[:5000], length=len(self.file), pause=60)

    def hung_up(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def no_http(self):
        self.wfile.write(b"\x16\x03\x01\x00 what?\r\n")


@contextlib.contextmanager
def serving(good, wrong):
    """A Server that answers within the with block."""
    with Server(good, wrong) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
