"""The head is killed in the middle of answers: they go on with the same text when it is back,
by themselves or by their ids, and no token comes twice."""
import contextlib
import re
import sqlite3
import time

import pytest

import harness
from streams import SPECS, Expected, Stream

TOKENS = 200


@pytest.fixture(scope="module")
def expected(alone):
    return Expected(alone)


@pytest.fixture
def cluster(tmp_path):
    made = harness.Cluster(tmp_path, 1)
    made.run("hi", "-n", 1)
    time.sleep(0.5)
    yield made
    made.close()


def begin(cluster, specs):
    streams = [Stream(cluster.place, spec, TOKENS, ("--cluster", cluster.head.address))
               for spec in specs]
    deadline = time.monotonic() + 60
    while any(len(stream.text) < 30 for stream in streams):
        assert time.monotonic() < deadline and all(
            stream.process.poll() is None for stream in streams)
        time.sleep(0.005)
    return streams


def test_answers_go_on_by_themselves(cluster, expected):
    streams = begin(cluster, SPECS[1:4])
    cluster.head.kill()
    before = [len(stream.text) for stream in streams]
    cluster.head = cluster.place.start("head", "--head", port=cluster.head.port)
    for stream in streams:
        assert stream.end().status == 0, stream.err
        assert expected.differing_bytes(stream.spec, TOKENS, stream.text) == 0, stream.text
    assert any(count < len(stream.text) for count, stream in zip(before, streams))


def test_an_answer_is_resumed_by_its_id(cluster, expected):
    """Nobody starts the head again in time: the answer ends with its id, and from another command
    comes the rest."""
    stream = begin(cluster, SPECS[1:2])[0]
    cluster.head.kill()
    assert stream.end(60).status == 1
    found = re.search(r"troupe run --resume (\w+) --from (\d+)", stream.err)
    assert found, stream.err
    cluster.head = cluster.place.start("head", "--head", port=cluster.head.port)
    at = ("--cluster", cluster.head.address)
    rest = cluster.place.troupe("run", "--resume", found[1], "--from", found[2], *at)
    assert rest.status == 0, str(rest)
    first = stream.text.removesuffix(b"\n")
    assert expected.differing_bytes(stream.spec, TOKENS, first + rest.out.encode()) == 0
    # The answer is complete now, and nobody keeps it.
    time.sleep(0.5)  # the ends of streams go into the journal five times a second
    gone = cluster.place.troupe("run", "--resume", found[1], *at)
    assert gone.status == 1 and "no open answer with the id" in gone.err, str(gone)


def test_a_whole_answer_by_its_id(cluster, expected):
    stream = begin(cluster, SPECS[3:4])[0]
    cluster.head.kill()
    stream.end(60)
    name = re.search(r"--resume (\w+)", stream.err)[1]
    cluster.head = cluster.place.start("head", "--head", port=cluster.head.port)
    whole = cluster.place.json("run", "--resume", name, "--cluster", cluster.head.address)
    want = expected.answer(stream.spec, TOKENS)
    assert whole["text"] == want["text"] and whole["token_ids"] == want["token_ids"]


def test_an_answer_of_another_arithmetic_version_ends_in_words(cluster, expected):
    """As if the head had been replaced by a release whose bits differ: what is known of the answer
    is told, and nothing is computed that may belong to another text."""
    stream = begin(cluster, SPECS[1:2])[0]
    time.sleep(0.8)  # tokens go into the journal twice a second
    assert stream.process.poll() is None
    cluster.head.kill()
    stream.end(60)
    name = re.search(r"--resume (\w+)", stream.err)[1]
    with contextlib.closing(sqlite3.connect(cluster.head.home / "journal.db")) as journal:
        journal.execute("UPDATE streams SET arithmetic = arithmetic + 1")
        journal.commit()
    cluster.head = cluster.place.start("head", "--head", port=cluster.head.port)
    at = ("--cluster", cluster.head.address)
    for _ in range(2):  # asking again gets the same: no other version takes it over
        ended = cluster.place.troupe("run", "--resume", name, *at)
        assert ended.status == 1, str(ended)
        assert "begun by arithmetic version" in ended.err
        assert "ask again for a whole answer" in ended.err
        so_far = ended.out.removesuffix("\n")
        assert len(so_far) >= 10
        whole = expected.answer(stream.spec, TOKENS)
        assert whole["text"].startswith(so_far) and so_far != whole["text"]
    # Only the rest is shown, not what was sent already.
    tail = cluster.place.troupe("run", "--resume", name, "--from", 5, *at)
    assert so_far.endswith(tail.out.removesuffix("\n")) and len(tail.out) < len(so_far)


def test_what_cannot_be_resumed_is_said(cluster):
    at = ("--cluster", cluster.head.address)
    gone = cluster.place.troupe("run", "--resume", "nobody", *at)
    assert gone.status == 1 and "no open answer with the id 'nobody'" in gone.err
    both = cluster.place.troupe("run", harness.MODEL, "--resume", "nobody", *at)
    assert both.status == 2 and "give no MODEL" in both.err
    neither = cluster.place.troupe("run", *at)
    assert neither.status == 2 and "MODEL is missing" in neither.err
