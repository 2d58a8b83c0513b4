"""Machines of a test: network namespaces on one bridge, whose cables can be pulled.

`Network(count)` makes `count` namespaces with the addresses 10.77.0.1 and on. A daemon or client runs
in one through `inside(i)`, words before its command. `pull(i)` takes the cable out, `plug(i)` puts it
back, `deaf(i, j)` lets nothing from machine i reach machine j any more, one way only; `hears(i, j)`
mends it. `move(i, address)` gives machine i another address. Needs root; `refusal()` says why it cannot
be had.
"""
import os
import re
import subprocess

FIRST = "10.77.0."


def ip(*words, check=True):
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done


def refusal():
    """None where namespaces can be made, else the reason."""
    name = f"troupe-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        try:
            ip("-n", name, "link", "add", "b0", "type", "bridge")
        finally:
            ip("netns", "del", name, check=False)
    except (RuntimeError, FileNotFoundError) as error:
        return f"no network namespaces here: {error}"
    return None


class Network:
    def __init__(self, count):
        self.prefix = f"troupe-{os.getpid()}"
        self.count = count
        self.hub = self.prefix + "-hub"
        self.names = []
        try:
            self._make(self.hub)
            ip("-n", self.hub, "link", "add", "b0", "type", "bridge")
            ip("-n", self.hub, "link", "set", "b0", "up")
            for i in range(count):
                name = f"{self.prefix}-{i}"
                self._make(name)
                ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{i}",
                   "netns", self.hub)
                ip("-n", self.hub, "link", "set", f"port{i}", "master", "b0", "up")
                ip("-n", name, "addr", "add", f"{self.host(i)}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise

    def _make(self, name):
        ip("netns", "add", name)
        self.names.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def host(self, i):
        return f"{FIRST}{i + 1}"

    def inside(self, i):
        return ("ip", "netns", "exec", f"{self.prefix}-{i}")

    def pull(self, i):
        ip("-n", self.hub, "link", "set", f"port{i}", "down")
        # Proof: the machine's own end of the cable has no carrier.
        state = ip("-n", f"{self.prefix}-{i}", "link", "show", "eth0").stdout
        assert re.search(r"NO-CARRIER|LOWERLAYERDOWN|state DOWN", state), state

    def plug(self, i):
        ip("-n", self.hub, "link", "set", f"port{i}", "up")

    def deaf(self, i, j):
        """What machine i sends to machine j is swallowed; the other way is open."""
        ip("-n", f"{self.prefix}-{i}", "neigh", "replace", self.host(j), "lladdr",
           "02:00:00:00:00:ff", "dev", "eth0", "nud", "permanent")

    def hears(self, i, j):
        ip("-n", f"{self.prefix}-{i}", "neigh", "del", self.host(j), "dev", "eth0")

    def move(self, i, address):
        for verb, host in (("del", self.host(i)), ("add", address)):
            ip("-n", f"{self.prefix}-{i}", "addr", verb, f"{host}/24", "dev", "eth0")

    def close(self):
        for name in self.names:
            ip("netns", "del", name, check=False)
        self.names = []
