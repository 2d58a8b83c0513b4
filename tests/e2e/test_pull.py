"""`troupe pull` from a web server of the test's own: whole, cut and resumed, corrupted, absent."""
import hashlib
import http.server
import pathlib
import re
import threading

import pytest

import harness


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges; cuts the first `cuts` answers in the middle."""
    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.ranges = content, 0, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name="model.gguf"):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802  (the base class names it)
        if not self.path.endswith("/model.gguf"):
            self.send_error(404)
            return
        content = self.server.content
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        self.server.ranges.append(begin)
        if begin >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range",
                             f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        rest = content[begin:]
        if self.server.cuts > 0:
            self.server.cuts -= 1
            rest = rest[:len(rest) // 2]
        self.wfile.write(rest)
        self.close_connection = True

    def log_message(self, *_words):
        pass


@pytest.fixture(scope="module")
def content():
    return pathlib.Path(harness.MODEL).read_bytes()


@pytest.fixture
def server(content):
    made = Server(content)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def flags(content):
    return ("--name", "mine", "--sha256", hashlib.sha256(content).hexdigest())


def test_whole_file(place, server, flags, content):
    pulled = place.json("pull", server.url(), *flags)
    assert pulled["fetched"] and pulled["name"] == "mine" and pulled["bytes"] == len(content)
    assert pathlib.Path(pulled["path"]).read_bytes() == content
    again = place.json("pull", server.url(), *flags)
    assert not again["fetched"] and server.ranges == [0], "what is there is not fetched again"
    assert place.json("tokenize", "mine", "Hello world")["ids"] == [19556, 905]


def test_cut_and_resumed(place, server, flags, content):
    server.cuts = 1
    cut = place.troupe("pull", server.url(), *flags)
    assert cut.status == 1 and "goes on where it ended" in cut.err, str(cut)
    pulled = place.json("pull", server.url(), *flags)
    assert server.ranges == [0, len(content) // 2]
    assert pathlib.Path(pulled["path"]).read_bytes() == content


def test_wrong_bytes(place, server, flags, content):
    server.content = content[:-1] + bytes([content[-1] ^ 1])
    wrong = place.troupe("pull", server.url(), *flags)
    assert wrong.status == 1 and flags[3] in wrong.err, str(wrong)
    assert place.json("ls")["models"] == []
    # Nothing of it is kept: the right bytes come from the beginning.
    server.content = content
    place.json("pull", server.url(), *flags)
    assert server.ranges == [0, 0]


def test_absent(place, server, flags):
    absent = place.troupe("pull", server.url("nothing"), *flags)
    assert absent.status == 1 and "404" in absent.err, str(absent)
