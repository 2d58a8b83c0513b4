"""`troupe run --trace`: where the time of one request went; and its id in every daemon's log."""
import json
import re
import signal
import subprocess
import time

import pytest

import harness
from test_bad_input import check

WORDS = ("run", harness.MODEL, "The capital of France is Paris. " * 40, "--raw",
         "--no-speculation", "-n", 24)


def events_of(path):
    """(group, row, name, begin, end) of every event; events of a row nest or lie apart."""
    trace = json.loads(path.read_text())["traceEvents"]
    names = {}
    for event in trace:
        if event["ph"] == "M" and event["name"] in ("process_name", "thread_name"):
            names[event["name"], event["pid"], event["tid"]] = event["args"]["name"]
    events = [(names["process_name", e["pid"], 0], names["thread_name", e["pid"], e["tid"]],
               e["name"], e["ts"], e["ts"] + e["dur"]) for e in trace if e["ph"] == "X"]
    rows = {}
    for group, row, name, begin, end in events:
        rows.setdefault((group, row), []).append((begin, -end, name))
    for key, spans in rows.items():
        open_ends = []
        for begin, minus_end, name in sorted(spans):
            while open_ends and open_ends[-1] <= begin + 1:
                open_ends.pop()
            assert not open_ends or -minus_end <= open_ends[-1] + 1, (key, name)
            open_ends.append(-minus_end)
    return events


def covered(spans):
    """Microseconds in at least one of the spans."""
    total, until = 0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total


def check_trace(path, stages):
    events = events_of(path)
    groups = {group for group, *_ in events}
    assert {g for g in groups if g.startswith("stage ")} == {f"stage {s}" for s in stages}
    for stage in stages:
        rows = {row.split()[0] for group, row, *_ in events if group == f"stage {stage}"}
        assert rows == {"wire", "queue", "compute"}
    whole = [e for e in events if e[1] == "answer" and e[2].startswith("troupe run")]
    assert len(whole) == 1
    _, _, _, begin, end = whole[0]
    assert all(begin - 1 <= e[3] and e[4] <= end + 1 for e in events)
    # Opening the model, the way to the engine, and the work of the stages and the wire add up to the whole
    # time, except for the engine's own time between an answer and the next step.
    parts = [(e[3], e[4]) for e in events if e[2] not in (whole[0][2], "steps")]
    assert covered(parts) > 0.8 * (end - begin)
    computed = [(e[3], e[4]) for e in events if e[1].startswith("compute")]
    assert computed and covered(computed) > 0
    return events


def test_a_trace_in_one_process(place, tmp_path):
    path = tmp_path / "out.json"
    plain = place.json(*WORDS)
    outcome = place.troupe(*WORDS, "--json", "--trace", path)
    assert outcome.status == 0, str(outcome)
    assert json.loads(outcome.out)["token_ids"] == plain["token_ids"]
    assert str(path) in outcome.err
    events = check_trace(path, ["local 0-29"])
    steps = {e[2] for e in events if e[0] == "stage local 0-29"}
    assert len(steps) >= 24, "a step each token"


def test_a_trace_of_three_daemons(tmp_path):
    debug = {"TROUPE_LOG": "debug"}
    cluster = harness.Cluster(tmp_path, 2, envs=[debug] * 3)
    try:
        path = tmp_path / "out.json"
        cluster.run(*WORDS[2:], "--layers", "0-9,10-19,20-29")  # loads
        cluster.run(*WORDS[2:], "--layers", "0-9,10-19,20-29", "--trace", path)
        check_trace(path, ["head 0-9", "node-1 10-19", "node-2 20-29"])
        request = json.loads(path.read_text())["otherData"]["request"]
        for daemon in cluster.daemons():
            assert re.search(rf"\brequest={request} computed at step=\d+ epoch=\d+ layers=",
                             daemon.said()), daemon.name
        said = cluster.head.said()
        assert re.search(rf"\brequest={request} is request \d+ of client \w{{8}}", said)
        assert re.search(rf"\brequest={request} accepted: deployment=\d+", said)
        assert re.search(rf"\brequest={request} ended: (stop|length); tokens=24", said)
        # An error names the request as the logs do.
        failed = cluster.place.troupe("run", harness.MODEL, "--prompt-ids", "1", "-n", 4,
                                      "--context", 99999, "--cluster", cluster.head.address)
        assert failed.status != 0
        number = re.search(r"\(request (\d+)\)", failed.err)
        assert number, str(failed)
        assert re.search(rf"\brequest={number[1]} refused: ", cluster.head.said())
        # Which frames and bytes went where, and the credits of the path.
        status = cluster.status()
        channels = status["counters"]["channels"]
        assert set(channels) == {"control", "activations", "bulk"}
        for way in ("in", "out"):
            for unit in ("frames", "bytes"):
                parts = [channel[f"{unit}_{way}"] for channel in channels.values()]
                assert 0 < sum(parts) <= status["counters"][f"{unit}_{way}"]
        assert channels["activations"]["frames_out"] >= 24
        [deployment] = status["deployments"]
        assert deployment["credits"] == 4 and deployment["credits_in_use"] == 0
        for node in status["nodes"]:
            assert node["frames_in"] > 0 and node["bytes_out"] > 0
            assert node["damaged_frames"] == 0 and node["refused_peers"] == 0
    finally:
        cluster.close()


@pytest.mark.no_model
def test_a_trace_that_cannot_be(place, tmp_path):
    check(place.troupe("run", "none", "--trace", tmp_path / "t.json"), 2, "--trace", "chat")
    check(place.troupe("run", "--resume", "ab", "--trace", tmp_path / "t.json"), 2, "--trace")


@pytest.mark.no_model
def test_a_trace_that_cannot_be_written(place, tmp_path):
    """Said before anything is asked: the model is not even looked for."""
    for path, why in ((tmp_path / "absent" / "t.json", "No such file"), (tmp_path, "folder"),
                      ("/proc/t.json", "/proc/t.json")):
        outcome = place.troupe("run", "none-such", "Hi", "--trace", path)
        check(outcome, 2, "--trace", str(path), why)
        assert "none-such" not in outcome.err and outcome.out == ""


def test_a_trace_of_what_failed(place, tmp_path):
    """What failed before its first token has none, and that is said; what was cut off has one."""
    path = tmp_path / "t.json"
    refused = place.troupe("run", harness.MODEL, "--prompt-ids", "99999999", "--trace", path)
    assert refused.status == 2 and f"nothing was written to {path}" in refused.err, str(refused)
    assert not path.exists()
    process = place.spawn(*WORDS[:-1], 8000, "-vv", "--trace", path, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE)
    assert any(b"accepted: " in line for line in process.stderr)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and str(path).encode() in err, err
    assert len(events_of(path)) > 8
