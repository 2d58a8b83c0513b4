"""A real `troupe serve` on loopback, for the end-to-end tests."""
import http.client
import json
import os
import pathlib
import subprocess
import sys

import pytest

import harness

CLIENTS = pathlib.Path(os.environ.get("TROUPE_PYTHON_CLIENTS", harness.ROOT / "build" / "clients"))
SCRIPTS = pathlib.Path(__file__).parent / "clients"


def import_client(name):
    """A client's package from the folder of the build; skips where tools/test.sh did not put it."""
    if str(CLIENTS) not in sys.path:
        sys.path.insert(0, str(CLIENTS))
    return pytest.importorskip(name, reason=f"{name} is not in {CLIENTS}; tools/test.sh puts it there")


def run_client(package, *words, folder=CLIENTS, env=None, timeout=300, cwd=None):
    """Runs Python with the packages of a folder of the build, in a process of its own: many clients
    bring versions of what pytest uses, too. Skips where tools/test.sh did not put the package."""
    if not (folder / package).exists():
        pytest.skip(f"{package} is not in {folder}; tools/test.sh puts it there")
    return subprocess.run([sys.executable, *map(str, words)], text=True, capture_output=True,
                          timeout=timeout, check=False, cwd=cwd,
                          env={**os.environ, "PYTHONPATH": str(folder), **(env or {})})


class Server:
    """One `troupe serve`, ready when the constructor returns."""

    def __init__(self, place, *words, models=("--alias", f"smol={harness.MODEL}"), env=None, port=0):
        self.place = place
        self.log = place.folder / "serve.log"
        with open(self.log, "ab") as log:
            self.process = place.spawn("serve", *models, "--json", "--port", port, *words, env=env,
                                       stdout=subprocess.PIPE, stderr=log)
        ready = harness.has_bytes(self.process.stdout, harness.READY_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the server was not ready: {self.said()[-2000:]}"
        self.ready = json.loads(line)["ready"]
        self.url = self.ready["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def said(self):
        return self.log.read_text(errors="replace")

    def ask(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        given = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, None if body is None else json.dumps(body),
                           {**given, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, response.headers, text

    def json(self, method, path, body=None, **more):
        status, _, text = self.ask(method, path, body, **more)
        assert status == 200, text
        return json.loads(text)

    def stop(self, patience=35):
        self.process.terminate()
        return self.process.wait(patience)
