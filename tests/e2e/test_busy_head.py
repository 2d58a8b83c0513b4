"""A head that is too busy to answer is waited for, as long as it accepts the connection."""
import signal
import subprocess
import threading
import time

import harness


def test_commands_wait_for_a_head_that_is_slow(place):
    head = place.start("head", "--head")
    head.signal(signal.SIGSTOP)
    try:
        outcomes = []
        commands = [threading.Thread(target=lambda: outcomes.append(
            place.troupe("status", "--cluster", head.address))) for _ in range(3)]
        for command in commands:
            command.start()
        time.sleep(8)  # longer than commands wait for a head of which they hear nothing
    finally:
        head.signal(signal.SIGCONT)
    for command in commands:
        command.join()
    assert [outcome.status for outcome in outcomes] == [0, 0, 0], [str(one) for one in outcomes]
    assert all("slow to answer" in outcome.err for outcome in outcomes), str(outcomes[0])


def test_a_head_that_is_absent_is_told_soon(place):
    outcome = place.troupe("status", "--cluster", f"127.0.0.1:{harness.free_port()}")
    assert outcome.status == 1 and outcome.seconds < 7, str(outcome)


def test_a_crowd_of_commands(place):
    """All at once: none gives up while the head works through them."""
    head = place.start("head", "--head")
    processes = [place.spawn("nodes", "--json", "--cluster", head.address, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True) for _ in range(40)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
