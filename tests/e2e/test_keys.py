"""`troupe key`: tokens made, listed, used up and revoked; a node put out for good."""
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

import harness
from streams import SPECS, Expected, Stream
from test_bad_input import check


def keys(place, head):
    return place.json("key", "ls", "--cluster", head.address)


def states(place, head):
    return {name: node["state"] for name, node in place.nodes(head).items()}


def join_fails(place, name, join, *words):
    outcome = place.troupe("start", "--home", place.folder / name, "--name", name, "--listen",
                           f"127.0.0.1:{harness.free_port()}", *(("--join", join) if join else ()),
                           timeout=20)
    check(outcome, 1, *words)


@pytest.mark.no_model
def test_a_token_for_one_node(place):
    head = place.start("head", "--head")
    made = place.troupe("key", "new", "--cluster", head.address)
    assert made.status == 0, str(made)
    join = made.out.strip()
    assert re.fullmatch(rf"trp-\w+@{head.address}", join)
    assert "once, for 1d" in made.err
    place.start("a", "--join", join)
    join_fails(place, "b", join, "used up", "troupe key new")
    [token] = [t for t in keys(place, head)["tokens"] if not t["join"]]
    assert token["uses_left"] == 0 and token["role"] == "node"
    [member] = [m for m in keys(place, head)["members"] if m["name"] == "a"]
    assert member["role"] == "node" and member["token"] == token["id"]
    # A node that joined with that token comes back without using it again, with its home alone.
    assert states(place, head)["a"] == "ready"


def elsewhere(place, name="elsewhere"):
    """Another machine's environment: no run-time folder in common, and an identity of its own."""
    runtime = place.folder / f"{name}-run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {"XDG_RUNTIME_DIR": str(runtime), "TROUPE_HOME": str(place.folder / name)}


@pytest.mark.no_model
def test_a_token_for_clients(place):
    head = place.start("head", "--head")
    made = place.json("key", "new", "--role", "client", "--uses", 9, "--expires", "1h",
                      "--cluster", head.address)
    assert made["role"] == "user" and made["uses"] == 9
    assert abs(made["expires_unix_s"] - time.time() - 3600) < 60
    stranger = elsewhere(place)
    assert place.troupe("nodes", "--cluster", made["token"], env=stranger).status == 0
    # A user may neither manage keys nor stop the cluster.
    for words in (("key", "ls"), ("key", "new"), ("key", "revoke", "head"), ("unload", "x")):
        check(place.troupe(*words, "--cluster", made["token"], env=stranger), 1, "'user' may not")
    check(place.troupe("stop", "--all", "--cluster", made["token"], env=stranger), 1,
          "'user' may not")
    assert head.alive()
    check(place.troupe("nodes", "--cluster", head.join, env=elsewhere(place, "other")), 1,
          "for the role node")
    join_fails(place, "node", made["token"], "cannot enrol a node")


@pytest.mark.no_model
def test_a_client_is_enrolled_once(place):
    head = place.start("head", "--head")
    at = ("--cluster", head.address)
    token = place.json("key", "new", "--role", "user", *at)["token"]
    me, other = elsewhere(place, "me"), elsewhere(place, "other")
    for _ in range(3):
        assert place.troupe("nodes", "--cluster", token, env=me).status == 0
    check(place.troupe("nodes", "--cluster", token, env=other), 1, "used up", "troupe key new")
    # The client's identity lasts, even after the token has left the list and the head was restarted.
    assert (place.folder / "me" / "keys" / "client.key").stat().st_mode & 0o777 == 0o600
    head.stop()
    head = place.start("head", "--head", port=head.port)
    assert place.troupe("nodes", "--cluster", token, env=me).status == 0
    [member] = [m for m in keys(place, head)["members"] if m["role"] == "user"]
    assert place.troupe("key", "revoke", member["id"], *at).status == 0
    check(place.troupe("nodes", "--cluster", token, env=me), 1, "revoked")


@pytest.mark.no_model
def test_an_expired_token(place):
    head = place.start("head", "--head")
    join = place.troupe("key", "new", "--expires", "1s", "--cluster", head.address).out.strip()
    time.sleep(2.1)
    join_fails(place, "late", join, "expired", "troupe key new")
    [token] = [t for t in keys(place, head)["tokens"] if not t["join"]]
    assert not token["usable"]
    assert "expired" in place.troupe("key", "ls", "--cluster", head.address).out


@pytest.mark.no_model
def test_the_list_holds_no_secret(place):
    head = place.start("head", "--head")
    made = place.json("key", "new", "--uses", 3, "--expires", "forever", "--cluster", head.address)
    place.start("a", "--join", head.join)
    listed = place.troupe("key", "ls", "--cluster", head.address)
    assert listed.status == 0 and made["id"] in listed.out
    secrets = [made["token"].partition("@")[0][4:], head.join.partition("@")[0][4:]]
    for text in (listed.out, json.dumps(keys(place, head)), head.said()):
        for secret in secrets:
            assert secret not in text and secret[60:90] not in text
    assert re.search(r"\bnever\b", listed.out)
    roles = {m["name"]: m["role"] for m in keys(place, head)["members"] if m["role"] in ("head", "node")}
    assert roles == {"head": "head", "a": "node"}


@pytest.mark.no_model
@pytest.mark.parametrize("how", ["file", "variable", "stdin", "flag"])
def test_a_token_need_not_be_in_the_command_line(place, how):
    head = place.start("head", "--head")
    secret = head.join.partition("@")[0]
    file = place.folder / "join"
    file.write_text(f"\ntroupe start --join {head.join}\n")  # as the head prints it
    words = {"file": ("--join-file", file), "variable": (), "stdin": ("--join", "-"), "flag": ("--join", head.join)}
    env = {"TROUPE_JOIN_FILE": str(file)} if how == "variable" else {}
    node = place.spawn("start", "--json", "--home", place.folder / "a", "--name", "a", "--threads", 1, *words[how],
                       env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    node.stdin.write(file.read_bytes().lstrip())
    node.stdin.close()
    assert json.loads(node.stdout.readline())["ready"]["role"] == "node"
    arguments = pathlib.Path(f"/proc/{node.pid}/cmdline").read_bytes().decode()
    assert secret not in arguments, arguments
    node.terminate()
    said = node.stderr.read().decode()
    assert ("every user of this machine could read the token" in said) == (how == "flag"), said
    # A node that has joined needs neither its token nor the file again.
    file.unlink()
    if how in ("file", "variable"):
        node.wait(10)
        place.start("a", *words[how], env=env)
        assert states(place, head)["a"] == "ready"


@pytest.mark.no_model
def test_files_without_a_token(place):
    file = place.folder / "join"
    file.write_text("hello\n")
    check(place.troupe("start", "--join-file", file), 1, "holds no TOKEN@HOST:PORT")
    check(place.troupe("start", "--join-file", place.folder / "absent"), 1, "absent")
    check(place.troupe("start", "--join-file", file, "--join", "x@y:1"), 2, "give only one of them")
    check(place.troupe("start", "--join", "-", input=""), 1, "stdin holds no TOKEN@HOST:PORT")


@pytest.mark.no_model
def test_revoking_a_token(place):
    head = place.start("head", "--head")
    made = place.json("key", "new", "--uses", 5, "--cluster", head.address)
    place.start("a", "--join", made["token"])
    gone = place.troupe("key", "revoke", made["id"], "--cluster", head.address)
    assert gone.status == 0 and "enrols nobody" in gone.out
    join_fails(place, "b", made["token"], "token")
    assert states(place, head)["a"] == "ready", "who came by it stays"
    check(place.troupe("key", "revoke", made["id"], "--cluster", head.address), 1, made["id"])
    check(place.troupe("key", "revoke", "nobody", "--cluster", head.address), 1, "nobody")
    check(place.troupe("key", "revoke", "", "--cluster", head.address), 2, "no token, node or client is named")


@pytest.mark.no_model
def test_a_revoked_node_is_out_for_good(place):
    head = place.start("head", "--head")
    a = place.start("a", "--join", head.join)
    place.start("b", "--join", head.join)
    said = place.troupe("key", "revoke", "a", "--cluster", head.address)
    assert said.status == 0 and "node a is no longer a member" in said.out
    token = re.search(r"troupe key revoke (\w{8})", said.out)[1]
    assert a.process.wait(5) == 1, "the daemon ends and says why"
    assert "removed from the cluster" in a.said()
    assert states(place, head) == {"head": "ready", "a": "left", "b": "ready"}
    # The node cannot come back: neither with its home, nor with the token, nor after the head's restart.
    join_fails(place, "a", "", "removed from the cluster")
    join_fails(place, "a", head.join, "revoked")
    before = head.join
    head.stop()
    head = place.start("head", "--head", port=head.port)
    assert head.join != before, "each start prints a token of its own"
    join_fails(place, "a", head.join, "revoked")
    assert [m["state"] for m in keys(place, head)["members"] if m["name"] == "a"] == ["revoked"]
    assert place.troupe("key", "revoke", token, "--cluster", head.address).status == 0
    join_fails(place, "c", before, "token")


@pytest.mark.no_model
def test_a_revoked_node_that_says_on_is_not_heard(place):
    """Frozen while it is revoked, it wakes up with its connections open and goes on talking."""
    head = place.start("head", "--head")
    node = place.start("a", "--join", head.join)
    node.signal(signal.SIGSTOP)
    assert place.troupe("key", "revoke", "a", "--cluster", head.address).status == 0
    time.sleep(1)
    before = place.json("status", "--cluster", head.address)["counters"]["rejected_revoked"]
    node.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while node.alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status = place.json("status", "--cluster", head.address)
    # What it still sent (a heartbeat, its goodbye) was dropped, and nobody believes that it is alive.
    assert status["counters"]["rejected_revoked"] >= before
    assert [n["state"] for n in status["nodes"] if n["name"] == "a"] == ["left"]


def test_layers_of_a_revoked_node_are_placed_anew(place):
    head = place.start("head", "--head", "--no-work")
    place.start("a", "--join", head.join)
    place.start("b", "--join", head.join)
    words = ("run", harness.MODEL, "The capital of France is", "--raw", "-n", 6, "--cluster",
             head.address)
    first = place.json(*words)
    assert sorted(stage["name"] for stage in first["nodes"]) == ["a", "b"]
    assert place.troupe("key", "revoke", "b", "--cluster", head.address).status == 0
    again = place.json(*words)
    assert [stage["name"] for stage in again["nodes"]] == ["a"]
    assert again["token_ids"] == first["token_ids"]


def test_an_answer_goes_on_when_a_node_is_revoked(place, alone):
    head = place.start("head", "--head")
    place.start("a", "--join", head.join)
    place.start("b", "--join", head.join)
    flags = ("--layers", "0-9,10-19,20-29", "--cluster", head.address)
    stream = Stream(place, SPECS[1], 150, flags)
    deadline = time.monotonic() + 30
    while len(stream.text) < 60:
        assert time.monotonic() < deadline, stream.text
        time.sleep(0.01)
    assert place.troupe("key", "revoke", "b", "--cluster", head.address).status == 0
    assert stream.process.poll() is None, "the answer had ended before"
    assert stream.end().status == 0, stream.err
    assert Expected(alone).differing_bytes(SPECS[1], 150, stream.text) == 0, stream.text
    status = place.json("status", "--cluster", head.address)
    assert status["counters"]["replacements"] == 1 and status["counters"]["quarantined"] == 0
    [deployment] = status["deployments"]
    assert {stage["node"] for stage in deployment["stages"]} == {"head", "a"}


@pytest.mark.no_model
@pytest.mark.parametrize("words, said", [
    (["new", "--uses", "0"], "--uses"), (["new", "--expires", "0"], "--expires"),
    (["new", "--expires", "soon"], "--expires"), (["new", "--role", "king"], "--role"),
    (["revoke"], "KEY"), ([], "key"), (["frobnicate"], "key")])
def test_wrong_words(place, words, said):
    outcome = place.troupe("key", *words)
    assert outcome.status == 2 and said in outcome.err, str(outcome)


@pytest.mark.no_model
def test_without_a_cluster(place):
    check(place.troupe("key", "ls"), 1, "troupe start")


@pytest.mark.no_model
def test_newcomers_wait_for_approval(place):
    head = place.start("head", "--head", "--approve")
    at = ("--cluster", head.address)
    join_fails(place, "a", head.join, "troupe key approve")
    [waiting] = [m for m in keys(place, head)["members"] if m["state"] == "waits for approval"]
    assert waiting["name"] == "a" and waiting["role"] == "node"
    join_fails(place, "a", head.join, waiting["id"])
    check(place.troupe("key", "approve", "b", *at), 1, "no newcomer 'b' waits")
    said = place.troupe("key", "approve", "a", *at)
    assert said.status == 0 and "is let in when it comes again" in said.out, str(said)
    place.start("a", "--join", head.join)
    assert states(place, head)["a"] == "ready"
    assert not [m for m in keys(place, head)["members"] if "approv" in m["state"]]
    check(place.troupe("start", "--join", head.join, "--approve"), 2, "--approve is for a head")
    audit = (head.home / "audit.log").read_text()
    assert '"what":"approved"' in audit and audit.count('"what":"refused"') == 2
