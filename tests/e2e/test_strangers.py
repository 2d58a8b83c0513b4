"""Strangers at every port while a legitimate node joins: nothing accepted, nobody harmed."""
import hashlib
import os
import random
import socket
import struct
import threading
import time

import pytest
import zmq
from zmq.utils import z85

import harness

pytestmark = pytest.mark.no_model

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def token_bytes(token):
    bits = "".join(f"{DIGITS.index(digit):05b}" for digit in token.removeprefix("trp-"))
    return bytes(int(bits[i:i + 8], 2) for i in range(0, 480, 8))


def token_text(data):
    """A token with a right checksum over whatever `data` (56 bytes) says."""
    data += hashlib.blake2b(b"troupe-token-1" + data, digest_size=32).digest()[:4]
    bits = "".join(f"{byte:08b}" for byte in data)
    return "trp-" + "".join(DIGITS[int(bits[i:i + 5], 2)] for i in range(0, 480, 5))


def frame_header(frame_type):
    """A header as runtime/wire/frame.h draws it, with a checksum that is not right."""
    return struct.pack("<4sHHQQQQIIQIIQQ", b"TRP1", 2, frame_type, 1, 2, 3, 4, 0, 0, 1, 0, 0, 0, 99)


class Stranger:
    """A ZeroMQ peer that tries one way in and counts what it gets."""

    def __init__(self, context, port, server_key=None, own=None, plain_user=False):
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.monitor = self.socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL |
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        if server_key is not None:
            public, secret = own or zmq.curve_keypair()
            self.socket.curve_serverkey = server_key
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        if plain_user:
            self.socket.plain_username, self.socket.plain_password = b"root", b"root"
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        try:
            for frame_type in range(0, 40):
                self.socket.send_multipart([frame_header(frame_type), b"body"], zmq.DONTWAIT)
        except zmq.Again:
            pass  # the stranger was refused before it had said everything

    def was_let_in(self):
        """True when a handshake succeeded or anything came back."""
        let_in = self.socket.poll(0) != 0
        while self.monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self.monitor)
            let_in = let_in or event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return let_in

    def close(self):
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


def throw_garbage(port, seed):
    """Raw bytes of several kinds at one TCP port."""
    draw = random.Random(seed)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
    kinds = [draw.randbytes(10_000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", greeting,
             greeting + b"\x02" + b"\xff" * 8, greeting + b"\x04\xc8\x05HELLO" + bytes(194),
             b"\xff" * 64, b""]
    for kind in kinds:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
                peer.sendall(kind)
                peer.settimeout(0.2)
                try:
                    peer.recv(4096)
                except OSError:
                    pass
        except OSError:
            pass  # the connection was refused or reset, as it should be


def ports_of(daemon):
    return [daemon.port + i for i in range(3)]


def test_strangers_while_a_node_joins(place):
    import zmq.utils.monitor  # noqa: F401  (used by Stranger)
    head = place.start("head", "--head")
    first = place.start("first", "--join", head.join)
    token, _, _ = head.join.partition("@")
    head_key = z85.encode(token_bytes(token)[8:40])
    before = {daemon.name: daemon.memory_bytes() for daemon in (head, first)}
    context = zmq.Context()
    strangers = []
    for port in ports_of(head) + ports_of(first):
        strangers += [Stranger(context, port),                              # no key
                      Stranger(context, port, plain_user=True),             # another mechanism
                      Stranger(context, port, zmq.curve_keypair()[0]),      # not the server's key
                      Stranger(context, port, head_key)]                    # not a known client
    garbage = [threading.Thread(target=throw_garbage, args=(port, port))
               for port in ports_of(head) + ports_of(first)]
    for thread in garbage:
        thread.start()
    # A legitimate node joins while the garbage arrives.
    began = time.monotonic()
    second = place.start("second", "--join", head.join)
    assert time.monotonic() - began < 20
    for thread in garbage:
        thread.join()
    time.sleep(1)
    let_in = [i for i, stranger in enumerate(strangers) if stranger.was_let_in()]
    for stranger in strangers:
        stranger.close()
    context.term()
    assert not let_in, f"strangers {let_in} were let in"
    for daemon in (head, first, second):
        assert daemon.alive(), daemon.said()[-3000:]
    status = place.json("status", "--cluster", head.address)
    assert sorted(node["name"] for node in status["nodes"]) == ["first", "head", "second"]
    assert len({node["state"] for node in status["nodes"]}) == 1, "all are as the head is"
    assert status["counters"]["refused_keys"] > 0, "the head counted whom it refused"
    for daemon in (head, first):
        grown = daemon.memory_bytes() - before[daemon.name]
        assert grown < 64 << 20, f"{daemon.name} grew by {grown} bytes"


def test_forged_tokens(place):
    head = place.start("head", "--head")
    token, _, address = head.join.partition("@")
    genuine = token_bytes(token)
    assert token_text(genuine[:56]) == token, "the test knows the token's layout"
    forged = {
        "another secret": genuine[:40] + os.urandom(16),
        "another cluster": os.urandom(8) + genuine[8:56],
        "another head": genuine[:8] + os.urandom(32) + genuine[40:56],
    }
    for what, data in forged.items():
        outcome = place.troupe("start", "--home", place.folder / "forger", "--listen",
                               f"127.0.0.1:{harness.free_port()}", "--join",
                               f"{token_text(data)}@{address}", timeout=40)
        assert outcome.status == 1, f"{what}: {outcome}"
        assert outcome.seconds < 20, f"{what}: {outcome}"
        client = place.troupe("status", "--cluster", f"{token_text(data)}@{address}", timeout=40)
        assert client.status == 1, f"{what}: {client}"
    assert head.alive()
    nodes = place.json("status", "--cluster", head.address)["nodes"]
    assert [node["name"] for node in nodes] == ["head"]
    place.start("node", "--join", head.join)


def test_another_users_folder(place):
    """A client that cannot read the head's client key, and has no token, is told so."""
    head = place.start("head", "--head")
    empty = place.folder / "empty"
    empty.mkdir(mode=0o700)
    outcome = place.troupe("status", "--cluster", head.address, "--home", place.folder / "other",
                           env={"XDG_RUNTIME_DIR": str(empty)}, timeout=20)
    assert outcome.status == 1, str(outcome)
    assert "TOKEN@" in outcome.err, str(outcome)
    keys = list((place.folder / "run").rglob("*"))
    files = [path for path in keys if path.is_file()]
    assert files and all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert any(str(head.port) in path.name for path in files)
