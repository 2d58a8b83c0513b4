"""A web server of the tests' own on loopback: one file with all that a transfer can meet, and texts.

Also a proxy that forwards plain requests and tunnels CONNECT, and says what it was asked for.
"""
import http.server
import re
import select
import socket
import threading
import time
import urllib.parse


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `content` at .../model.gguf and what `files` and `listings` hold.

    Attributes that tests set change how it answers; what it was asked for and what it sent are
    recorded.
    """
    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.modified = content, None, None
        self.files = {}        # path -> bytes, as the content is served
        self.listings = {}     # path -> body, which is sent as it is
        self.redirects = {}    # path -> address
        self.refused = {}      # path -> (status for those without a token, status for those with one)
        self.linked = None     # X-Linked-Etag of redirections
        self.ranges_on = True  # False: Range is ignored
        self.length_on = True  # False: no Content-Length
        self.length_said = None  # what all answers claim that the file has
        self.cuts = 0          # the number of answers that end in the middle
        self.cut_bytes = None  # the number of bytes after which these answers end
        self.busy = 0          # the number of answers that are 503
        self.rate = 0          # bytes per second and connection; 0: as fast as it goes
        self.silent = False    # takes requests and does not answer
        self.first_slow = 0    # how many seconds the first of several ranges waits
        self.lock = threading.Lock()
        self.asked = []        # (path, Authorization)
        self.ranges = []       # where each answer began
        self.requests = []     # headers
        self.sent_bytes = 0
        self.open, self.open_most = 0, 0  # bodies under way
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name="model.gguf", host="127.0.0.1"):
        return f"http://{host}:{self.server_address[1]}/{name}"

    def handle_error(self, request, client_address):
        pass  # clients of these tests are killed in the middle

    def take(self, counter):
        """True as often as `counter` says."""
        with self.lock:
            left = getattr(self, counter)
            if left > 0:
                setattr(self, counter, left - 1)
            return left > 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802  (the base class names it)
        server = self.server
        with server.lock:
            server.asked.append((self.path, self.headers.get("Authorization")))
            server.requests.append(dict(self.headers))
        self.close_connection = True
        refused = server.refused.get(self.path, (0, 0))[self.headers.get("Authorization") is not None]
        if server.silent:
            time.sleep(60)
        elif refused:
            self.send_error(refused)
        elif self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            if server.linked:
                self.send_header("X-Linked-Etag", f'"{server.linked}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in server.listings:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(server.listings[self.path])
        elif self.path in server.files:
            self.send_file(server.files[self.path])
        elif self.path.split("?")[0].endswith("/model.gguf"):
            self.send_file(server.content)
        else:
            self.send_error(404)

    def send_file(self, content):
        server = self.server
        if server.take("busy"):
            self.send_error(503)
            return
        said = server.length_said
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        wanted = self.headers.get("If-Range")
        if not server.ranges_on or wanted not in (None, server.etag, server.modified):
            asked = None
        begin = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1 if asked and asked[2] else len(content), len(content))
        with server.lock:
            server.ranges.append(begin)
            first = len(server.ranges) == 1
        if asked and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{said or len(content)}")
        if server.length_on:
            self.send_header("Content-Length", str(said or end - begin))
        for name, value in (("ETag", server.etag), ("Last-Modified", server.modified)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        with server.lock:
            server.open += 1
            server.open_most = max(server.open_most, server.open)
        try:
            self.send_body(content[begin:end], first)
        finally:
            with server.lock:
                server.open -= 1

    def send_body(self, body, first):
        server = self.server
        if server.take("cuts"):
            body = body[:len(body) // 2 if server.cut_bytes is None else server.cut_bytes]
        step = 64 << 10 if not server.rate else max(1, server.rate // 10)
        for at in range(0, len(body), step):
            self.wfile.write(body[at:at + step])
            with server.lock:
                server.sent_bytes += len(body[at:at + step])
            if first and server.first_slow and at > 0:
                time.sleep(server.first_slow)
                first = False
            if server.rate:
                time.sleep(0.1)

    def log_message(self, *_words):
        pass


class Proxy(http.server.ThreadingHTTPServer):
    """Forwards GET http://... and tunnels CONNECT; every host is 127.0.0.1 behind it."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.asked = []  # first lines of requests
        self.wants_password = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    def refuses(self):
        if not self.server.wants_password or "Proxy-Authorization" in self.headers:
            return False
        self.close_connection = True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_GET(self):  # noqa: N802
        if self.refuses():
            return
        self.server.asked.append(f"GET {self.path}")
        self.close_connection = True
        parts = urllib.parse.urlsplit(self.path)
        with socket.create_connection(("127.0.0.1", parts.port)) as upstream:
            lines = [f"GET {parts.path} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in self.headers.items()
                      if not name.lower().startswith("proxy-")]
            upstream.sendall(("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode())
            while part := upstream.recv(1 << 16):
                self.wfile.write(part)

    def do_CONNECT(self):  # noqa: N802
        if self.refuses():
            return
        self.server.asked.append(f"CONNECT {self.path}")
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", int(self.path.split(":")[1]))) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 30)[0]:
                    part = end.recv(1 << 16)
                    if not part:
                        return
                    ends[end].sendall(part)

    def log_message(self, *_words):
        pass
