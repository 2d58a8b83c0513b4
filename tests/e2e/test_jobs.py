"""Jobs over files: answers in the order of the input, each with the text of one process; what was
acknowledged survives the head, and nothing happens twice."""
import concurrent.futures
import functools
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import harness

wait_until = functools.partial(harness.wait_until, timeout=40)

SUBMISSIONS = int(os.environ.get("TROUPE_SUBMISSIONS", "200"))
PROMPTS = ["Once upon a time", "The history of Rome begins", "A list of animals: dog, cat,",
           "Dear Sir or Madam,", "def main():", "The ship sailed to", "In the beginning",
           "My favourite colour is", "Paris is", "Water boils at", "The sun"]
DRAWN = {"temperature": 0.9, "seed": 7, "top_p": 0.95}
DRAWN_FLAGS = ("--temperature", "0.9", "--seed", "7", "--top-p", "0.95")


def write_job(folder, lines, **spec):
    """The file of a job in `folder`, with its input beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = {"kind": "generate", "model": harness.MODEL, "input": "prompts.jsonl",
           "output": "answers.jsonl", "raw": True, "max_tokens": 16, **spec}
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


def answers_of(text):
    return [json.loads(line) for line in text.splitlines()]


def jobs_of(place, address):
    return place.json("jobs", "--cluster", address)["jobs"]


def test_answers_are_those_of_one_process(three, alone, tmp_path):
    """Split over three nodes, several shards at once; in the order of the input."""
    three.run("hi", "-n", 1, "--layers", "0-9,10-19,20-29")
    lines = [{"prompt": prompt, "id": f"line {i}"} for i, prompt in enumerate(PROMPTS * 2)]
    lines[3] = {"prompt_ids": [504, 3575, 282, 4649, 314], "max_tokens": 4}
    lines[5] = {"prompt": "The ship sailed to", "seed": 99}
    job = write_job(tmp_path / "job", lines, layers="0-9,10-19,20-29", **DRAWN)
    outcome = three.place.troupe("submit", job, "--wait", "--cluster", three.head.address)
    assert outcome.status == 0, str(outcome)
    answers = answers_of((tmp_path / "job" / "answers.jsonl").read_text())
    assert [answer["index"] for answer in answers] == list(range(len(lines)))
    want = {}
    for prompt in PROMPTS:
        want[prompt] = alone.json("run", harness.MODEL, prompt, "--raw", "-n", 16, *DRAWN_FLAGS)
    for line, answer in zip(lines, answers):
        assert answer.get("id") == line.get("id")
        if "seed" in line:
            expected = alone.json("run", harness.MODEL, line["prompt"], "--raw", "-n", 16,
                                  "--temperature", "0.9", "--top-p", "0.95", "--seed", "99")
        elif "prompt" in line:
            expected = want[line["prompt"]]
        else:
            expected = alone.json("run", harness.MODEL, "--prompt-ids", "504,3575,282,4649,314",
                                  "-n", 4, *DRAWN_FLAGS)
        for field in ("text", "token_ids", "finish_reason"):
            assert answer[field] == expected[field], line
    mine = jobs_of(three.place, three.head.address)[-1]
    assert (mine["state"], mine["shards"], mine["finished"]) == ("done", 3, 3)
    said = three.place.troupe("logs", mine["id"], "-f", "--cluster", three.head.address).out
    assert "submitted: generate, 3 shards" in said and said.rstrip().endswith("done")
    assert "shard 0: 8 lines answered" in said


def test_activations_are_those_of_run(three, tmp_path):
    """Rounded hidden states, with the bits that `run --activations f16` has."""
    lines = [{"prompt": prompt} for prompt in PROMPTS[:3]]
    flags = ("--raw", "-n", 48, *DRAWN_FLAGS)
    at = ("--cluster", three.head.address)
    texts = {}
    for form in ("f16", "f32"):
        job = write_job(tmp_path / form, lines, activations=form, max_tokens=48, **DRAWN)
        done = three.place.json("wait", three.place.json("submit", job, *at)["id"], *at)
        texts[form] = [answer["token_ids"] for answer in answers_of(done["result"])]
        for line, ids in zip(lines, texts[form]):
            words = (line["prompt"], *flags, "--activations", form)
            assert three.run(*words)["token_ids"] == ids
            alone_too = three.place.json("run", harness.MODEL, *words, "--cluster", "none")
            assert alone_too["token_ids"] == ids
    assert texts["f16"] != texts["f32"], "this would show nothing"


def test_a_line_that_cannot_be_answered_is_an_error_of_its_own(three, tmp_path):
    lines = [{"prompt": "Hello"}, {"prompt_ids": [1, 99999999], "id": 7}, {"prompt": "Goodbye"}]
    job = write_job(tmp_path / "job", lines, max_tokens=3)
    made = three.place.json("submit", job, "--cluster", three.head.address)
    done = three.place.json("wait", made["id"], "--cluster", three.head.address)
    answers = answers_of(done["result"])
    assert answers[0]["text"] and answers[2]["text"]
    assert answers[1]["id"] == 7 and answers[1]["error"]["code"] == "invalid_argument"
    assert "99999999 is not in the vocabulary" in answers[1]["error"]["message"]


def test_one_id_is_one_job(three, tmp_path):
    job = write_job(tmp_path / "job", [{"prompt": "Hello"}], max_tokens=3)
    words = ("submit", job, "--id", "monday", "--cluster", three.head.address)
    assert three.place.json(*words)["id"] == "monday"
    assert three.place.json(*words)["id"] == "monday"
    assert [one["id"] for one in jobs_of(three.place, three.head.address)].count("monday") == 1
    write_job(tmp_path / "job", [{"prompt": "Hello"}], max_tokens=4)
    other = three.place.troupe(*words)
    assert other.status == 1, str(other)
    assert "the id 'monday' is that of another job" in other.err


def test_an_output_that_cannot_be_written_is_said_before_the_work(three, tmp_path):
    at = ("--cluster", three.head.address)
    before = len(jobs_of(three.place, three.head.address))
    job = write_job(tmp_path / "job", [{"prompt": "Hello"}], output="none/answers.jsonl")
    outcome = three.place.troupe("submit", job, "--wait", *at)
    assert outcome.status == 2 and "none/answers.jsonl" in outcome.err, str(outcome)
    assert len(jobs_of(three.place, three.head.address)) == before
    name = three.place.json("submit", job, *at)["id"]
    missing = three.place.troupe("wait", name, "-o", tmp_path / "none" / "answers.jsonl", *at)
    assert missing.status == 1 and f"troupe wait {name} --output" in missing.err, str(missing)
    assert len(answers_of(three.place.troupe("wait", name, *at).out)) == 1


def test_cancel(three, tmp_path):
    lines = [{"prompt": prompt} for prompt in PROMPTS * 20]
    job = write_job(tmp_path / "job", lines, max_tokens=400, temperature=1.2, seed=1)
    at = ("--cluster", three.head.address)
    name = three.place.json("submit", job, *at)["id"]
    assert three.place.json("cancel", name, *at)["cancelled"] is True
    assert three.place.json("cancel", name, *at)["cancelled"] is False
    waited = three.place.troupe("wait", name, *at)
    assert waited.status == 1 and "it is cancelled" in waited.err, str(waited)
    again = three.place.troupe("submit", job, "--id", name, *at)
    assert again.out.strip() == name and "submitted before, and is cancelled" in again.err
    # The requests of the job are gone: the next request is alone.
    deadline = time.monotonic() + 20
    while three.status()["deployments"][0]["running"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("change, lines, words", [
    ({"kind": "dance"}, None, '"kind" is "dance"'),
    ({"input": ""}, None, '"input" is "", expected a text'),
    ({"input": "nowhere.jsonl"}, None, "nowhere.jsonl"),
    ({"max_token": 3}, None, 'there is no field "max_token"'),
    ({"max_tokens": 0}, None, '"max_tokens" is 0, expected a whole number from 1'),
    ({"temperature": "hot"}, None, '"temperature" is "hot", expected a number'),
    ({"temperature": -1}, None, "temperature is -1"),
    ({"seed": -1}, None, '"seed" is -1'),
    ({"kv": "f8"}, None, '"kv" is "f8", expected "f16" or "f32"'),
    ({"activations": "f8"}, None, '"activations" is "f8", expected "f16" or "f32"'),
    ({"stop": "x"}, None, '"stop" is "x", expected a list of texts'),
    ({}, [], "it has no line with a prompt"),
    ({}, [{"prompt": "a"}, {"text": "b"}], 'line 2: there is no field "text"'),
    ({}, [{"prompt": "a", "prompt_ids": [1]}], "line 1: has several prompts"),
    ({}, [[1]], "line 1: is not a JSON object"),
])
def test_what_cannot_be_a_job_is_said(three, tmp_path, change, lines, words):
    job = write_job(tmp_path / "job", [{"prompt": "Hello"}] if lines is None else lines, **change)
    outcome = three.place.troupe("submit", job, "--cluster", three.head.address)
    assert outcome.status in (1, 2), str(outcome)
    assert words in outcome.err, str(outcome)


def test_errors_name_the_line_of_the_file(three, tmp_path):
    job = write_job(tmp_path / "job", [{"prompt": "Hello"}])
    (tmp_path / "job" / "prompts.jsonl").write_text('{"prompt": "a"}\n\n  \r\n{"prompt": "b"}\n\n{"text": "c"}\n')
    outcome = three.place.troupe("submit", job, "--cluster", three.head.address)
    assert outcome.status == 2 and 'line 6: there is no field "text"' in outcome.err, str(outcome)


@pytest.mark.no_model
def test_what_is_asked_of_no_job(place):
    head = place.start("head", "--head", "--no-work")
    for verb in ("wait", "logs", "cancel"):
        outcome = place.troupe(verb, "nobody", "--cluster", head.address)
        assert outcome.status == 1 and "there is no job 'nobody'" in outcome.err, str(outcome)
    assert "no job was submitted" in place.troupe("jobs", "--cluster", head.address).out
    bad = place.troupe("submit", place.folder / "nothing.json", "--cluster", head.address)
    assert bad.status == 1 and "nothing.json" in bad.err


# ---- the head is killed -----------------------------------------------------------------------

TINY = harness.ROOT / "tests" / "data" / "golden" / "tiny" / "llama"


def start_head(place, port=None, **more):
    return place.start("head", "--head", port=port, **more)


def journal_of(head):
    """The journal of a head that has ended."""
    return sqlite3.connect(head.home / "journal.db")


class Killer(threading.Thread):
    """Kills the head with -9 at seeded moments and starts it again, until told to stop."""

    def __init__(self, place, head, seed):
        super().__init__()
        self.place, self.head, self.kills, self.over = place, head, 0, threading.Event()
        self.rng = random.Random(seed)

    def run(self):
        while not self.over.wait(self.rng.uniform(0.05, 0.6)):
            self.head.kill()
            self.kills += 1
            time.sleep(self.rng.uniform(0, 0.3))
            self.head = start_head(self.place, self.head.port)

    def end(self):
        self.over.set()
        self.join()


@pytest.mark.no_model
def test_no_acknowledged_job_is_lost_and_none_runs_twice(place):
    """kill -9 of the head again and again, during 200 submissions."""
    head = start_head(place)
    job = write_job(place.folder / "job", [{"prompt_ids": [1, 2, 3]}, {"prompt_ids": [4, 5]}],
                    model=str(TINY), max_tokens=8, raw=False, temperature=1.0, seed=5)
    at = ("--cluster", head.address)
    expected = place.json("submit", job, "--wait", "--id", "first", *at)["bytes"]
    answers = (place.folder / "job" / "answers.jsonl").read_text()
    assert len(answers) == expected and len(answers_of(answers)) == 2
    killer = Killer(place, head, seed=1)
    asked = [0] * SUBMISSIONS

    def submit(number):
        """Until it is acknowledged, always under the same id."""
        for asked[number] in range(1, 60):
            outcome = place.troupe("submit", job, "--id", f"job-{number}", *at)
            if outcome.status == 0:
                assert outcome.out == f"job-{number}\n"
                return
            assert outcome.status == 1, str(outcome)
        raise AssertionError(str(outcome))

    killer.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(submit, range(SUBMISSIONS)))
    finally:
        killer.end()
    assert killer.kills >= 5, "the test's own fault did not happen often enough"
    for number in range(SUBMISSIONS):
        outcome = place.troupe("wait", f"job-{number}", *at)
        assert outcome.status == 0 and outcome.out == answers, str(outcome)
    listed = [one["id"] for one in jobs_of(place, head.address)]
    assert sorted(listed) == sorted(["first", *(f"job-{n}" for n in range(SUBMISSIONS))])
    killer.head.stop()
    journal = journal_of(killer.head)
    done = journal.execute("SELECT count(*) FROM lines WHERE text = 'done'").fetchone()[0]
    shards = journal.execute("SELECT count(*) FROM lines WHERE text LIKE 'shard %: %answered%'")
    assert (done, shards.fetchone()[0]) == (SUBMISSIONS + 1, SUBMISSIONS + 1)


@pytest.mark.no_model
@pytest.mark.parametrize("point, kept", [("before_commit", False), ("in_commit", False),
                                         ("after_commit", True)])
def test_commit_comes_before_acknowledgement(place, point, kept):
    """The head dies before, in or after the commit of the second submission. The submission is acknowledged in no case, and it is in the journal only if the head died after the commit."""
    head = start_head(place, env={"TROUPE_FAILPOINT": f"journal.receive.{point}:2"})
    job = write_job(place.folder / "job", [{"prompt_ids": [1, 2, 3]}], model=str(TINY),
                    max_tokens=4)
    at = ("--cluster", head.address)
    place.json("submit", job, "--wait", "--id", "first", *at)
    process = place.spawn("submit", job, "--id", "doomed", *at, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert head.process.wait(30) == -signal.SIGKILL
    time.sleep(1)  # if an acknowledgement was sent, it has arrived by now
    assert process.poll() is None, "it was acknowledged before it was committed"
    process.kill()
    assert process.communicate()[0] == b""
    journal = journal_of(head)
    found = journal.execute("SELECT count(*) FROM jobs WHERE id = 'doomed'").fetchone()[0]
    journal.close()
    assert found == (1 if kept else 0)
    again = start_head(place, head.port)
    done = place.json("submit", job, "--id", "doomed", "--wait", *at)
    assert done["state"] == "done"
    assert [one["id"] for one in jobs_of(place, again.address)] == ["first", "doomed"]


def test_a_head_finds_models_and_nodes_again(tmp_path):
    """After kill -9 the model lies on its nodes again, under a larger epoch; the job goes on."""
    cluster = harness.Cluster(tmp_path, 2)
    place = cluster.place
    try:
        lines = [{"prompt": prompt} for prompt in PROMPTS * 6]
        job = write_job(tmp_path / "job", lines, layers="0-9,10-19,20-29", max_tokens=24, **DRAWN)
        at = ("--cluster", cluster.head.address)
        name = place.json("submit", job, *at)["id"]
        wait_until("nothing is done", lambda: jobs_of(place, cluster.head.address)[0]["finished"])
        epoch = cluster.status()["deployments"][0]["epoch"]
        cluster.head.kill()
        cluster.head = start_head(place, cluster.head.port)
        assert jobs_of(place, cluster.head.address)[0]["finished"] < 9, "it was over already"
        done = place.json("wait", name, *at)
        answers = answers_of(done["result"])
        assert [answer["index"] for answer in answers] == list(range(len(lines)))
        assert len({(line["prompt"], answer["text"]) for line, answer in zip(lines, answers)}) == 11
        assert cluster.status()["deployments"][0]["epoch"] > epoch
        stages = {stage["node"]: stage["layers"]
                  for one in cluster.status()["deployments"] for stage in one["stages"]}
        # Whatever the order in which they joined again, each has the layers that lie on its disk.
        assert stages == {"head": "0-9", "node-1": "10-19", "node-2": "20-29"}
    finally:
        cluster.close()


def test_a_manifest_that_was_damaged_names_the_journal(tmp_path):
    cluster = harness.Cluster(tmp_path, 0)
    try:
        cluster.run("hi", "-n", 1)
        assert cluster.head.stop() == 0
        with journal_of(cluster.head) as journal:
            [manifest] = journal.execute("SELECT manifest FROM manifests").fetchone()
            journal.execute("UPDATE manifests SET manifest = ?", (manifest[:-1],))
        journal.close()
        outcome = cluster.place.troupe("start", "--home", cluster.head.home, "--listen",
                                       cluster.head.address, timeout=20)
        assert outcome.status == 1, str(outcome)
        assert str(cluster.head.home / "journal.db") in outcome.err and "move it away" in outcome.err
    finally:
        cluster.close()
