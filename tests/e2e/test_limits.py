"""Too few threads, too little address space, too few descriptors: the answer or an error in words, soon."""
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

import pytest

import harness

WORDS = ("run", harness.MODEL, "Hi", "--raw", "-n", 2, "--cluster", "none")
NOBODY = 65534
MIB = 1 << 20


@pytest.fixture(scope="module")
def answer(alone):
    """What is written where nothing is short."""
    outcome = alone.troupe(*WORDS)
    assert outcome.status == 0, str(outcome)
    return outcome.out


def check(outcome, answer):
    """The whole answer, or a last sentence that says what is short; no hang, no end by a signal."""
    assert outcome.seconds < 10, str(outcome)
    for word in ("terminate called", "broken invariant"):
        assert word not in outcome.err, str(outcome)
    if outcome.status == 0:
        assert outcome.out == answer, str(outcome)
        return
    assert outcome.status == 1 and outcome.out == "", str(outcome)
    assert re.search(r"^troupe: .*(ulimit -[uvn]|MiB are missing).*\n\Z", outcome.err, re.M), str(outcome)


@pytest.mark.parametrize("mib", [100, 200, 300, 400, 500, 650, 800, 1000, 2000])
def test_little_address_space(alone, answer, mib):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (mib * MIB, mib * MIB))

    outcome = alone.troupe(*WORDS, preexec_fn=limit)
    check(outcome, answer)
    # Between these, the number of CPUs decides: each thread has a stack.
    if mib < 500 or mib >= 2000:
        assert outcome.status == (0 if mib >= 2000 else 1), str(outcome)


@pytest.fixture
def nobodys():
    """A folder of a user who has no other process, with the program and a model: root has no limit of threads."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-nobody-"))
    for file, name in ((harness.TROUPE, "troupe"), (harness.MODEL, "model.gguf")):
        shutil.copy(file, folder / name)
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="runs the program as another user")
@pytest.mark.parametrize("most", [1, 3, 6, 10, 14, 20, 60])
def test_few_threads(nobodys, answer, most):
    def become_nobody():
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    words = [nobodys / "troupe", "run", nobodys / "model.gguf", *WORDS[2:]]
    env = {"HOME": str(nobodys), "TROUPE_HOME": str(nobodys / "home"), "PATH": os.environ["PATH"]}
    began = time.monotonic()
    done = subprocess.run([str(word) for word in words], env=env, cwd=nobodys, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=30, check=False, preexec_fn=become_nobody)
    outcome = harness.Outcome(words, done, time.monotonic() - began)
    check(outcome, answer)
    assert outcome.status == (0 if most >= 60 else 1), str(outcome)


@pytest.mark.parametrize("most", [12, 24, 40])
def test_few_descriptors(alone, answer, most):
    outcome = alone.troupe(*WORDS, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
    check(outcome, answer)
    assert outcome.status == 1 and "ulimit -n" in outcome.err, str(outcome)
