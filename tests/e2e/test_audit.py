"""HOME/audit.log: who came in, was refused and put out, and who changed the cluster; no secrets."""
import json
import pathlib

import pytest

import harness
from test_keys import elsewhere

SECRET = "The password of the vault is swordfish"


def entries(head):
    return [json.loads(line) for line in (head.home / "audit.log").read_text().splitlines()]


def of(head, what):
    return [entry for entry in entries(head) if entry["what"] == what]


def secrets_of(place, *tokens):
    """Texts that must be nowhere: tokens, their seeds, and the secret halves of keys."""
    texts = [text for token in tokens for text in (token.partition("@")[0], token.partition("@")[0][70:100])]
    for file in place.folder.rglob("*.key"):
        texts.append(file.read_text().split()[2])
    return texts


@pytest.mark.no_model
def test_who_came_and_who_changed_what(place):
    head = place.start("head", "--head", "--no-work")
    at = ("--cluster", head.address)
    node = place.start("a", "--join", head.join)
    user = place.json("key", "new", "--role", "user", *at)
    env = elsewhere(place)
    for _ in range(3):
        assert place.troupe("nodes", "--cluster", user["token"], env=env).status == 0
    assert place.troupe("stop", "--all", "--cluster", user["token"], env=env).status == 1
    other = elsewhere(place, "other")
    assert place.troupe("nodes", "--cluster", user["token"], env=other).status == 1
    assert place.troupe("drain", "a", *at).status == 0
    assert place.troupe("key", "revoke", "a", *at).status == 0
    assert node.process.wait(10) == 1
    assert (head.home / "audit.log").stat().st_mode & 0o777 == 0o600
    [joined] = of(head, "joined")[1:]  # the head's own node came first
    assert joined["subject"] == "a" and joined["address"] == node.address
    came = {entry["role"]: entry for entry in of(head, "enrolled")}
    assert came["node"]["token"] == joined["token"] and came["node"]["key"] == joined["key"]
    assert came["user"]["token"] == user["id"] and came["user"]["address"] == "127.0.0.1"
    # A client that comes again and again is one entry.
    assert len([entry for entry in entries(head) if entry["key"] == came["user"]["key"]
                and entry["what"] in ("enrolled", "came")]) == 1
    refused = of(head, "refused")
    assert [entry["role"] for entry in refused] == ["user", "user"]
    assert "'user' may not" in refused[0]["text"] and "used up" in refused[1]["text"]
    [made] = of(head, "token_made")
    assert made["subject"] == user["id"] and made["role"] == "admin"
    [drained], [revoked] = of(head, "drained"), of(head, "revoked")
    assert drained["subject"] == "a" and revoked["subject"] == joined["key"]
    assert place.troupe("stop", "--home", head.home).status == 0
    text = (head.home / "audit.log").read_text()
    for secret in secrets_of(place, head.join, user["token"]):
        assert secret not in text


def readable_by_others(folder):
    """The files below a folder that other users may read, wherever the folders on the way let them."""
    for file in pathlib.Path(folder).rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_mode & 0o044:
            yield file


def test_secrets_are_nowhere(place):
    """Tokens, keys and prompts: not in a command line that is printed or runs, a log, the audit log,
    or a file that others may read."""
    head = place.start("head", "--head", env={"TROUPE_LOG": "debug"})
    at = ("--cluster", head.address)
    made = place.json("key", "new", "--uses", 3, *at)
    file = place.folder / "join"
    file.write_text(made["token"])
    file.chmod(0o600)
    node = place.start("a", "--join-file", file, env={"TROUPE_LOG": "debug"})
    ran = place.json("run", harness.MODEL, SECRET, "--raw", "-n", 8, *at)
    assert place.troupe("key", "ls", *at).status == 0
    secrets = [*secrets_of(place, head.join, made["token"]), SECRET, ran["text"].strip()]
    texts = {"argv": b"".join(pathlib.Path(f"/proc/{one.pid}/cmdline").read_bytes()
                              for one in (head, node)).decode(),
             "logs": head.said() + node.said(), "audit": (head.home / "audit.log").read_text()}
    [deployed] = of(head, "deployed")
    assert deployed["text"].startswith("model:") and deployed["role"] == "admin"
    for open_file in readable_by_others(place.folder):
        if open_file.stat().st_size < 1 << 20 and "store" not in open_file.parts:
            texts[str(open_file)] = open_file.read_bytes().decode(errors="replace")
    for where, text in texts.items():
        for secret in secrets:
            assert secret not in text, where
