"""A web server of the test's own that serves one file, with ranges."""
import http.server
import re
import threading


class FileServer(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges, and `listings`; cuts the first `cuts` answers in the middle."""
    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.ranges = content, 0, []
        self.asked, self.listings = [], {}  # (path, Authorization); path -> body
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name="model.gguf"):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802  (the base class names it)
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        listing = self.server.listings.get(self.path)
        if listing is not None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(listing)
            return
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
