"""Finds free ports for daemons on loopback: each takes three in a row."""
import socket

PORTS_A_DAEMON = 3


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def first_free(candidates, daemons=1, spacing=10):
    """Returns the first candidate with room for `daemons` daemons, `spacing` ports apart; None if there is none."""
    for base in candidates:
        if all(is_free(base + spacing * daemon + i)
               for daemon in range(daemons) for i in range(PORTS_A_DAEMON)):
            return base
    return None
