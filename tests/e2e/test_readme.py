"""Every command of README.md does what it says: its sh blocks run as they stand.

A block that begins with ```sh is run here, in order, in a tree where build/release/troupe is the
program under test. The blocks that set the machine up are run by .ci/run instead.
"""
import os
import pathlib
import re
import signal
import subprocess

import pytest

import harness

LIMIT_SECONDS = 400
SET_UP = ("tools/quickstart.sh", "tools/test.sh")


def blocks():
    text = (harness.ROOT / "README.md").read_text()
    return [(text[:found.start()].count("\n") + 1, found[1])
            for found in re.finditer(r"^```sh\n(.*?)^```", text, re.M | re.S)]


def commands(block):
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


def is_set_up(block):
    return all(line.split("#")[0].strip().endswith(SET_UP) for line in commands(block))


@pytest.mark.no_model
def test_there_are_blocks_and_ci_runs_the_set_up():
    assert len(blocks()) >= 3
    ci = (harness.ROOT / ".ci" / "run").read_text()
    for script in SET_UP:
        assert script in ci
    for number, block in blocks():
        if any(script in block for script in SET_UP):
            assert is_set_up(block), f"line {number}: set-up in a block of its own"
    fences = re.findall(r"^```(\S*)", (harness.ROOT / "README.md").read_text(), re.M)
    assert set(fences) <= {"sh", "", "text", "cpp", "cmake"}, "only sh blocks hold commands"


def test_every_command(tmp_path):
    model = pathlib.Path(os.path.realpath(harness.MODEL))
    store = model.parent.parent
    if store.name != "store":
        pytest.skip("TROUPE_TEST_MODEL lies in no store")
    tree = tmp_path / "troupe"
    tree.mkdir()
    for entry in harness.ROOT.iterdir():
        if entry.name not in ("build", ".git"):
            (tree / entry.name).symlink_to(entry)
    (tree / "build").mkdir()
    (tree / "build" / "release").symlink_to(harness.BUILD)
    run_folder = tmp_path / "run"
    run_folder.mkdir(mode=0o700)
    (tmp_path / ".troupe").mkdir(mode=0o700)
    (tmp_path / ".troupe" / "store").symlink_to(store)
    env = {k: v for k, v in os.environ.items() if not k.startswith("TROUPE_")}
    env |= {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(run_folder), "TMPDIR": str(tmp_path)}
    # One shell for all of them, as a reader would have, in a process group of its own, so that its
    # daemons end with it.
    script = ["set -eu"]
    for number, block in blocks():
        if not is_set_up(block):
            script += [f"echo '== README.md, line {number}'", block]
    with open(tmp_path / "said", "w+b") as said:
        shell = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=tree, env=env,
                                 stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                 start_new_session=True)
        try:
            status = shell.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            status = "a timeout"
        finally:
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            shell.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    assert status == 0, f"ended with {status}: {text[-4000:]}"
