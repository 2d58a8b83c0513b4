"""A program in a pseudo-terminal, as a person has it."""
import os
import pty
import re
import select
import signal
import time

import harness


class Terminal:
    """One `troupe` whose stdin, stdout and stderr are a terminal."""

    def __init__(self, place, *words):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ.clear()
            os.environ.update(place.env)
            os.execv(harness.TROUPE, [harness.TROUPE, *words])
        self.pid, self.text = pid, ""

    def read_until(self, pattern, seconds=60):
        """What came until `pattern`; it is then consumed."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text, re.S)):
            assert time.monotonic() < deadline, f"{pattern!r} did not come: {self.text[-2000:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    part = os.read(self.fd, 4096)
                except OSError:
                    part = b""
                assert part, f"it ended before {pattern!r}: {self.text[-2000:]!r}"
                self.text += part.decode(errors="replace")
        got, self.text = self.text[:found.end()], self.text[found.end():]
        return got

    def write(self, text):
        os.write(self.fd, text.encode())

    def end(self, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("the chat did not end")
