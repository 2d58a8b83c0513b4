"""The key by which a user's own programs speak to the head: it is found after a log-out, too."""
import os
import shutil
import signal
import threading
import time

import pytest

import harness

pytestmark = pytest.mark.no_model


def runtime_folder(place, name):
    folder = place.folder / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return {"XDG_RUNTIME_DIR": str(folder)}


def key_files(place, head):
    return [head.home / "keys" / f"{head.port}.client",
            place.folder / "run" / "troupe" / f"{head.port}.client"]


def test_the_key_lies_in_both_places(place):
    head = place.start("head", "--head", "--no-work")
    files = key_files(place, head)
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert len({file.read_text() for file in files}) == 1
    head.stop()
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize("how", ["logged out", "another session", "no variable"])
def test_a_command_finds_the_head_by_its_home(place, how):
    """What logind removes, and a command whose run-time folder is another one, or none."""
    head = place.start("head", "--head", "--no-work")
    env = runtime_folder(place, "other") if how == "another session" else {}
    if how == "logged out":
        shutil.rmtree(place.folder / "run")
    elif how == "no variable":
        env = {"XDG_RUNTIME_DIR": ""}
    status = place.troupe("status", "--home", head.home, env=env)
    assert status.status == 0, str(status)


def test_a_key_that_is_gone_is_written_again(place):
    head = place.start("head", "--head", "--no-work")
    for file in key_files(place, head):
        file.unlink()
    harness.wait_until("the key is not written again",
                       lambda: all(file.exists() for file in key_files(place, head)), 10)
    # Without the run-time folder there is nowhere to write: the head continues, and says so.
    shutil.rmtree(place.folder / "run")
    harness.wait_until("the head does not say so",
                       lambda: "programs of this user must name the home" in head.said(), 10)
    assert head.alive()
    assert place.troupe("status", "--home", head.home).status == 0
    (place.folder / "run").mkdir(mode=0o700)
    harness.wait_until("the key is not written again",
                       lambda: all(file.exists() for file in key_files(place, head)), 10)
    assert place.troupe("status", "--cluster", head.address).status == 0


def test_the_message_says_what_was_looked_for(place):
    head = place.start("head", "--head", "--no-work")
    for file in key_files(place, head):
        file.unlink()
    outcome = place.troupe("status", "--cluster", head.address, "--home", place.folder / "elsewhere",
                           env=runtime_folder(place, "other"))
    assert outcome.status == 1, str(outcome)
    for looked in (place.folder / "elsewhere" / "keys", place.folder / "other" / "troupe"):
        assert f"{looked}/{head.port}.client (No such file or directory)" in outcome.err
    assert "no head" not in outcome.err
    assert "--home DIR" in outcome.err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_client_that_starts_while_its_head_restarts(place, how):
    """It reads the key of the head that was killed, or none, since a head that ends takes its key away;
    the new head has another."""
    for _ in range(int(os.environ.get("TROUPE_FAULT_ROUNDS", "2"))):
        head = place.start("head", "--head", "--no-work")
        head.signal(how)
        head.process.wait()
        outcome = []
        client = threading.Thread(target=lambda: outcome.append(
            place.troupe("nodes", "--cluster", head.address)))
        client.start()
        time.sleep(0.3)
        again = place.start("head", "--head", "--no-work", port=head.port)
        client.join()
        assert outcome[0].status == 0, str(outcome[0])
        again.stop()
