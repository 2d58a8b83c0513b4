"""`troupe pull` from a web server of the test's own: whole, cut and resumed, corrupted, absent."""
import base64
import hashlib
import json
import os
import pathlib
import pty
import select
import subprocess
import time

import pytest

import harness
from file_server import FileServer, Proxy
from pull_server import bytes_of, content, flags, models, parts, server  # noqa: F401  (fixtures)


def test_whole_file(place, server, flags, content):
    pulled = place.json("pull", server.url(), *flags)
    assert pulled["fetched"] and pulled["name"] == "mine" and pulled["bytes"] == len(content)
    assert bytes_of(pulled) == content
    assert parts(place) == []
    asked = len(server.asked)
    again = place.json("pull", server.url(), *flags)
    assert not again["fetched"] and len(server.asked) == asked, "what is there is not fetched again"
    assert place.json("tokenize", "mine", "Hello world")["ids"] == [19556, 905]
    # Another name for a model that is there costs nothing either.
    named = place.json("pull", server.url(), "--name", "yours", *flags[2:])
    assert not named["fetched"] and named["path"] == again["path"] and len(server.asked) == asked
    listed = {entry["name"]: entry for entry in place.json("ls")["models"]}
    assert listed["mine"]["shared_with"] == ["yours"]
    assert listed["mine"]["shared_bytes"] == listed["yours"]["shared_bytes"] == len(content)


def test_ranges_come_side_by_side_and_out_of_order(place, server, flags, content):
    server.etag, server.first_slow = '"one"', 1.5
    pulled = place.json("pull", server.url(), *flags)
    assert bytes_of(pulled) == content
    assert server.open_most == 4
    assert min(server.ranges) == 0 and len(set(server.ranges)) >= 4
    # If another connection takes over a piece, only the bytes that were on their way are sent twice.
    assert server.sent_bytes < len(content) + (32 << 20)
    assert all(ask.get("If-Range") == '"one"' for ask in server.requests[1:])


def test_one_connection_when_asked(place, server, flags, content):
    assert bytes_of(place.json("pull", server.url(), *flags, "--connections", 1)) == content
    assert server.ranges == [0] and server.sent_bytes == len(content)


def test_cut_and_gone_on_in_the_same_process(place, server, flags, content):
    server.cuts = 3
    outcome = place.troupe("pull", server.url(), *flags, "--connections", 1)
    assert outcome.status == 0 and "trying again" in outcome.err, str(outcome)
    half = len(content) // 2
    assert server.ranges[:2] == [0, half] and len(server.ranges) == 4
    assert server.sent_bytes == len(content), "not a byte comes twice"


def cut_for_good(place, server, *words):
    """One answer is cut, then the server is busy until the process has given up."""
    server.cuts = 1
    process = place.spawn("pull", *words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while server.cuts > 0:
        time.sleep(0.01)
    server.busy = 1000
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1, said
    tries, server.busy = 1000 - server.busy, 0
    assert 1 <= tries <= 6, "the tries are bounded"
    return said


def test_cut_and_resumed_by_the_next_process(place, server, flags, content):
    cut_for_good(place, server, server.url(), *flags, "--connections", "1")
    assert models(place) == [] and len(parts(place)) == 1
    outcome = place.troupe("pull", server.url(), *flags, "--connections", 1)
    assert outcome.status == 0 and "going on after" in outcome.err, str(outcome)
    assert server.ranges == [0, len(content) // 2]
    assert server.sent_bytes == len(content), "not a byte comes twice"
    assert bytes_of(place.json("pull", server.url(), *flags)) == content


def test_what_was_begun_is_shown_and_removed(place, server, flags, content):
    cut_for_good(place, server, server.url(), *flags, "--connections", "1")
    listed = place.troupe("ls", "--json")
    begun = json.loads(listed.out)["unfinished"]
    assert [(one["name"], one["bytes"]) for one in begun] == [("mine", len(content))], begun
    assert 0 < begun[0]["received_bytes"] < len(content)
    assert pathlib.Path(begun[0]["path"]) == parts(place)[0]
    assert "unfinished: mine, " in listed.err and "troupe rm mine" in listed.err, str(listed)
    assert "mine" not in place.troupe("ls").out
    assert place.troupe("rm", "other").status == 1 and len(parts(place)) == 1
    removed = place.json("rm", "mine")
    assert removed["freed_bytes"] == len(content) and removed["sha256"] is None
    partial = place.folder / "client" / "store" / "partial"
    assert list(partial.iterdir()) == [] and place.json("ls")["unfinished"] == []
    # An unfinished transfer beside a model of the same name is removed with the model.
    place.json("pull", server.url(), *flags)
    (partial / "left.part").write_bytes(b"x" * 1000)
    (partial / "left.json").write_text(json.dumps(
        {"bytes": 1000, "validator": "", "missing": [[10, 1000]], "model": "mine"}))
    (partial / "nameless.part").write_bytes(b"y" * 10)
    assert place.json("rm", "mine")["freed_bytes"] == len(content) + 1000
    assert [path.name for path in partial.iterdir()] == ["nameless.part"]
    assert "what was fetched of nameless.part" in place.troupe("rm", "nameless.part").out
    assert place.troupe("rm", "mine").status == 1


def test_cut_without_a_word(place, server, flags):
    server.cuts, server.cut_bytes = 1000, 0
    cut = place.troupe("pull", server.url(), *flags)
    assert cut.status == 1 and "continues from where it ended" in cut.err, str(cut)
    assert len(server.ranges) <= 7


def test_killed_and_resumed(place, server, flags, content):
    server.etag, server.rate = '"one"', 8 << 20
    process = place.spawn("pull", server.url(), *flags, stderr=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL)
    while server.sent_bytes < len(content) * 3 // 4:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert models(place) == []
    time.sleep(0.5)  # the server notices that nobody listens
    server.rate, before = 0, server.sent_bytes
    outcome = place.troupe("pull", server.url(), *flags)
    assert outcome.status == 0 and "going on after" in outcome.err, str(outcome)
    # A second of bytes may not have been recorded: four connections of 8 MiB/s each.
    assert server.sent_bytes - before < len(content) // 4 + (44 << 20)
    assert bytes_of(place.json("pull", server.url(), *flags)) == content


@pytest.mark.parametrize("with_etag", [True, False])
def test_changed_between_two_tries(place, server, flags, content, with_etag):
    """What was begun of another content is thrown away: If-Range says so, or the hash."""
    wrong = bytes(len(content))
    server.content, server.etag = wrong, '"old"' if with_etag else None
    server.cut_bytes = 1 << 20
    cut_for_good(place, server, server.url(), *flags)
    server.content, server.etag, server.busy = content, '"new"' if with_etag else None, 0
    outcome = place.troupe("pull", server.url(), *flags)
    if with_etag:
        assert outcome.status == 0 and "begins anew" in outcome.err, str(outcome)
    else:
        assert outcome.status == 1 and flags[3] in outcome.err, str(outcome)
        assert models(place) == [] and parts(place) == []
    assert bytes_of(place.json("pull", server.url(), *flags)) == content


@pytest.mark.parametrize("length", [True, False])
def test_a_server_without_ranges(place, server, flags, content, length):
    server.ranges_on, server.length_on = False, length
    pulled = place.json("pull", server.url(), *flags)
    assert bytes_of(pulled) == content and server.open_most == 1
    assert server.sent_bytes == len(content)


def test_a_server_without_ranges_begins_anew(place, server, flags, content):
    server.ranges_on, server.cuts = False, 1
    outcome = place.troupe("pull", server.url(), *flags)
    assert outcome.status == 0 and "begins anew" in outcome.err, str(outcome)
    assert bytes_of(place.json("pull", server.url(), *flags)) == content


@pytest.mark.parametrize("etag", [None, '"one"'])
def test_a_server_without_ranges_that_always_cuts(place, server, flags, content, etag):
    """Bytes that come again are not progress: the tries are few, and nothing false is promised."""
    server.ranges_on, server.cuts, server.etag = False, 1000, etag
    cut = place.troupe("pull", server.url(), *flags)
    assert cut.status == 1 and len(server.ranges) <= 7, str(cut)
    said = cut.err.splitlines()[-1]
    assert "does not support ranges" in said and "continues from where it ended" not in said, said
    # A later process has better luck.
    server.cuts = 0
    assert bytes_of(place.json("pull", server.url(), *flags)) == content


def test_a_server_that_cuts_and_goes_on(place, server, flags, content):
    """With ranges every cut answer brings it further, however many there are."""
    server.cuts, server.cut_bytes = 12, 1 << 20
    outcome = place.troupe("pull", server.url(), *flags, "--connections", 1)
    assert outcome.status == 0 and len(server.ranges) == 13, str(outcome)
    assert server.sent_bytes == len(content)


@pytest.mark.parametrize("bytes_said", [1 << 62, (1 << 63) - 1, 1 << 64, 10**30])
def test_a_length_that_no_file_has(place, server, flags, bytes_said):
    server.length_said = bytes_said
    outcome = place.troupe("pull", server.url(), *flags)
    said = outcome.err.splitlines()[-1]
    assert outcome.status == 1 and "no file has" in said and "promised" not in said, str(outcome)
    assert len(server.ranges) == 1 and models(place) == []


def test_a_busy_server(place, server, flags, content):
    server.busy = 2
    outcome = place.troupe("pull", server.url(), *flags)
    assert outcome.status == 0 and "the server says 503; trying again" in outcome.err, str(outcome)
    server.busy = 1000
    outcome = place.troupe("pull", server.url("other/model.gguf"), "--name", "o", "--sha256", "0" * 64)
    assert outcome.status == 1 and "503" in outcome.err and "try again later" in outcome.err
    assert len(server.requests) < 20


def test_a_silent_server(place, server, flags):
    server.silent = True
    outcome = place.troupe("pull", server.url(), *flags, "--timeout", 3)
    assert outcome.status == 1 and outcome.seconds < 15, str(outcome)
    assert "no byte" in outcome.err or "silent" in outcome.err, str(outcome)


def test_a_server_that_falls_silent(place, server, flags, content):
    server.first_slow = 60
    server.ranges_on = True
    outcome = place.troupe("pull", server.url(), *flags, "--timeout", 6, "--connections", 1)
    assert outcome.status == 0 and "silent; trying again" in outcome.err, str(outcome)
    assert server.sent_bytes < len(content) + (1 << 20), "the first bytes are kept"


def test_nobody_there(place, flags):
    with FileServer(b"") as gone:
        url = gone.url()
        gone.shutdown()
    outcome = place.troupe("pull", url, *flags)
    assert outcome.status == 1 and outcome.seconds < 10, str(outcome)
    assert url in outcome.err.splitlines()[-1], str(outcome)


def test_wrong_bytes(place, server, flags, content):
    server.content = content[:-1] + bytes([content[-1] ^ 1])
    wrong = place.troupe("pull", server.url(), *flags)
    assert wrong.status == 1 and flags[3] in wrong.err, str(wrong)
    assert models(place) == [] and parts(place) == []
    # None of the wrong bytes are kept, and the right ones are fetched from the beginning.
    server.content = content
    server.sent_bytes = 0
    place.json("pull", server.url(), *flags)
    assert server.sent_bytes >= len(content)


def test_what_is_no_model(place, server):
    server.content = b"<html>not a model</html>"
    digest = hashlib.sha256(server.content).hexdigest()
    outcome = place.troupe("pull", server.url(), "--sha256", digest)
    assert outcome.status == 1 and "web page" in outcome.err, str(outcome)
    assert models(place) == [] and parts(place) == []
    server.content = b""
    outcome = place.troupe("pull", server.url(), "--sha256", hashlib.sha256(b"").hexdigest())
    assert outcome.status == 1 and models(place) == [], str(outcome)


def test_absent(place, server, flags):
    absent = place.troupe("pull", server.url("nothing"), *flags)
    assert parts(place) == []
    assert absent.status == 1 and "404" in absent.err and "spelt" in absent.err, str(absent)
    assert len(server.asked) == 1, "what is not there is not asked for again"


@pytest.mark.parametrize("digest", ["12", "x" * 64, "A" * 64])
def test_a_hash_that_is_none(place, server, digest):
    outcome = place.troupe("pull", server.url(), "--sha256", digest)
    assert outcome.status == 2 and "--sha256" in outcome.err and server.asked == [], str(outcome)


def test_a_name_that_is_taken(place, server, flags, content):
    place.json("pull", server.url(), *flags)
    outcome = place.troupe("pull", server.url("other/model.gguf"), "--name", "mine", "--sha256",
                           "0" * 64)
    assert outcome.status == 1 and "troupe rm mine" in outcome.err, str(outcome)


def test_two_at_once(place, server, flags, content):
    server.rate = 16 << 20
    both = [place.spawn("pull", server.url(), *flags, "--json", stderr=subprocess.PIPE,
                        stdout=subprocess.PIPE) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    fetched = sorted(json.loads(out)["fetched"] for out, _ in ends)
    assert fetched == [False, True], ends
    assert any(b"waiting for it" in err for _, err in ends)
    assert server.sent_bytes < 2 * len(content)
    assert bytes_of(json.loads(ends[0][0])) == content


def small_disk(place, megabytes, *words):
    """Runs a command whose home is on a disk of its own; what it printed last is the disk's files."""
    home = place.folder / "disk"
    home.mkdir()
    script = (f"mount -t tmpfs -o size={megabytes}M tmpfs {home} && "
              f'TROUPE_HOME={home} "$@"; status=$?; echo; find {home} -type f; exit $status')
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*enter, "mount", "-t", "tmpfs", "tmpfs", home], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here")
    return subprocess.run([*enter, "sh", "-c", script, "sh", harness.TROUPE, *map(str, words)],
                          env=place.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False, timeout=60)


@pytest.mark.parametrize("length", [True, False])
def test_a_full_disk(place, server, flags, length):
    """With a length it is known at once, without one in the middle."""
    server.length_on = server.ranges_on = length
    done = small_disk(place, 20, "pull", server.url(), *flags)
    assert done.returncode == 1, done
    sentence = done.stderr.splitlines()[-1]
    assert "full" in sentence and "make room" in sentence, done.stderr
    if length:
        assert server.sent_bytes < 16 << 20, "room is made before the bytes are taken"
    assert "/blobs/" not in done.stdout and "/models/" not in done.stdout, done.stdout


def test_a_bar_on_a_terminal(place, server, flags):
    server.rate = 16 << 20
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update(place.env)
        os.execv(harness.TROUPE, [harness.TROUPE, "pull", server.url(), *flags])
    said = b""
    while True:
        try:
            if select.select([terminal], [], [], 60)[0]:
                said += os.read(terminal, 4096)
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    bars = [part for part in said.decode().split("\r") if "[#" in part]
    assert len(bars) > 2, said
    assert all("%" in bar and "MB" in bar and len(bar.rstrip("\n")) < 80 for bar in bars), bars
    assert any("/s, 0:" in bar and "left" in bar for bar in bars), bars


def test_plain_lines_without_a_terminal(place, server, flags):
    server.rate = 3 << 20
    outcome = place.troupe("pull", server.url(), *flags)
    assert outcome.status == 0 and "\r" not in outcome.err, str(outcome)
    assert any("%" in line and "left" in line for line in outcome.err.splitlines()), str(outcome)


def test_a_token_does_not_follow_a_redirection(place, server, content):
    """The hub's token is the hub's: another host, or port, does not see it."""
    with FileServer(content) as other:
        digest = hashlib.sha256(content).hexdigest()
        server.linked = digest
        place.env |= {"HF_ENDPOINT": server.url("").rstrip("/"), "HF_TOKEN": "secret"}
        for name, host in (("a", "127.0.0.1"), ("b", "localhost")):
            server.redirects[f"/{name}.gguf"] = other.url(host=host)
            place.json("pull", server.url(f"{name}.gguf"), "--name", name, "--sha256", digest)
            assert server.asked[-1] == (f"/{name}.gguf", "Bearer secret")
            assert {token for _, token in other.asked} == {None}
            place.json("rm", name)
        other.shutdown()


def test_a_password_is_used_and_not_shown(place, server, flags, content):
    secret = server.url(host="someone:se-cret@127.0.0.1")
    for name in ("absent", "model.gguf"):
        outcome = place.troupe("pull", secret.replace("model.gguf", name), *flags, "--json")
        assert outcome.status == (1 if name == "absent" else 0), str(outcome)
        assert "se-cret" not in outcome.err + outcome.out, str(outcome)
        assert f"http://***@127.0.0.1:{server.server_address[1]}/{name}" in outcome.err
    basic = "Basic " + base64.b64encode(b"someone:se-cret").decode()
    assert {token for _, token in server.asked} == {basic}
    for words in (("run", "https://someone:se-cret@127.0.0.1:9/model.gguf", "hi"),
                  ("pull", "ftp://someone:se-cret@host/model.gguf"),
                  ("pull", "https://someone:se-cret/se-cret@127.0.0.1:9/model.gguf"),
                  ("pull", "https://127.0.0.1:9/model.gguf", "--sha256", "http://a:se-cret@b")):
        outcome = place.troupe(*words)
        assert outcome.status != 0 and "***@" in outcome.err, str(outcome)
        assert "se-cret" not in outcome.err, str(outcome)


def test_proxies(place, server, flags, content):
    proxy = Proxy()
    try:
        place.env |= {"http_proxy": proxy.url(), "no_proxy": ""}
        url = server.url(host="models.example")
        assert bytes_of(place.json("pull", url, *flags)) == content
        assert proxy.asked and set(proxy.asked) == {f"GET {url}"}
        # https:// goes through a tunnel; here nothing behind it speaks TLS.
        place.env["https_proxy"] = proxy.url()
        secure = url.replace("http://", "https://")
        outcome = place.troupe("pull", secure, "--name", "tls", "--timeout", 3)
        assert outcome.status == 1 and secure in outcome.err, str(outcome)
        assert f"CONNECT models.example:{server.server_address[1]}" in proxy.asked
        proxy.asked.clear()
        place.json("rm", "mine")
        place.env["no_proxy"] = "127.0.0.1"
        place.json("pull", server.url(), *flags)
        assert proxy.asked == []
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_a_proxy_that_wants_a_password(place, server, flags, content):
    proxy = Proxy()
    try:
        proxy.wants_password = True
        url = server.url(host="models.example")
        place.env |= {"http_proxy": proxy.url(), "https_proxy": proxy.url(), "no_proxy": ""}
        for address in (url, url.replace("http://", "https://")):
            outcome = place.troupe("pull", address, *flags)
            assert outcome.status == 1, str(outcome)
            assert "the proxy wants a name and a password (407)" in outcome.err, str(outcome)
        place.env["http_proxy"] = proxy.url().replace("http://", "http://me:secret@")
        assert bytes_of(place.json("pull", url, *flags)) == content
    finally:
        proxy.shutdown()
        proxy.server_close()
