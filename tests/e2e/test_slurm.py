"""`srun troupe start --slurm`: plain processes with Slurm's variables, and a Slurm of our own."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import harness
from test_bad_input import check


def variables(number, count=3, job=41):
    return {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number), "SLURM_NTASKS": str(count),
            "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURMD_NODENAME": "machine",
            "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}


def task(place, number, token_file, port, **more):
    return place.spawn("start", "--slurm", "--token-file", token_file, "--threads", 1, "--listen",
                       f"127.0.0.1:{port}", env=variables(number, **more), stdout=subprocess.PIPE,
                       stderr=open(place.folder / f"task-{number}.log", "ab"))


def free_ports_for_tasks(count):
    """A port whose tenth neighbours, which the other tasks take, are free as well."""
    port = harness.ports.first_free((harness.free_port() for _ in range(100)), daemons=count)
    assert port is not None
    return port


@pytest.mark.no_model
def test_tasks_find_each_other(place):
    token_file = place.folder / "cluster.token"
    token_file.write_text("40.0 trp-of-another-job@127.0.0.1:1\n")
    token_file.chmod(0o600)
    port = free_ports_for_tasks(3)
    # The head comes last: the others wait for its file, not for that of another job.
    others = [task(place, number, token_file, port) for number in (1, 2)]
    time.sleep(1)
    head = task(place, 0, token_file, port)
    assert b"troupe start --join" in head.stdout.readline()
    assert token_file.stat().st_mode & 0o777 == 0o600
    job, join, cluster = token_file.read_text().split()
    assert job == "41.0" and join.endswith(f"@127.0.0.1:{port}") and cluster.endswith(f"@127.0.0.1:{port}")
    deadline = time.monotonic() + 40
    nodes = []
    while len(nodes) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        outcome = place.troupe("nodes", "--json", "--cluster", cluster)
        nodes = json.loads(outcome.out).get("nodes", [])
    assert sorted(n["name"] for n in nodes) == ["machine", "machine-2", "machine-3"]
    assert sorted(int(n["address"].rpartition(":")[2]) for n in nodes) == [port, port + 10, port + 20]
    homes = sorted(path.name for path in (place.folder / "client" / "slurm").iterdir())
    assert homes == ["41.0.0", "41.0.1", "41.0.2"]
    assert place.troupe("stop", "--all", "--cluster", cluster).status == 0
    assert [process.wait(15) for process in (head, *others)] == [0, 0, 0]
    assert not token_file.exists()


@pytest.mark.no_model
def test_wrong_ways(place):
    check(place.troupe("start", "--slurm", "--token-file", "x"), 2, "srun")
    check(place.troupe("start", "--slurm", env=variables(0)), 2, "--token-file")
    check(place.troupe("start", "--token-file", "x"), 2, "--slurm")
    check(place.troupe("start", "--slurm", "--token-file", "x", "--head", env=variables(0)), 2,
          "--head")
    others = place.folder / "open.token"
    others.write_text("41.0 trp-x@127.0.0.1:1\n")
    others.chmod(0o644)
    check(place.troupe("start", "--slurm", "--token-file", others, env=variables(1)), 1,
          str(others))


SLURM_CONF = """
ClusterName=troupe
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={slurmd_port}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES:4
"""


class Slurm:
    """munged, slurmctld and slurmd of our own, ended by their process ids."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(mode=0o700)
        host = os.uname().nodename.partition(".")[0]
        port = harness.free_port()
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(SLURM_CONF.format(folder=self.folder, host=host, port=port,
                                               slurmd_port=port + 1, cpus=os.cpu_count()))
        self.env = {**os.environ, "SLURM_CONF": str(self.conf)}
        key = self.folder / "munge" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.processes = []
        self.start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket",
                   f"--key-file={key}", f"--pid-file={self.folder}/munged.pid",
                   f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed")
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.start("slurmctld", "-D", "-f", self.conf)
        self.start("slurmd", "-D", "-f", self.conf, "-N", host)
        self.wait(lambda: "idle" in self.run("sinfo", "-h", "-o", "%t", check=False), "a node")

    def start(self, *words):
        log = open(self.folder / f"{words[0]}.out", "ab")
        self.processes.append(subprocess.Popen([str(word) for word in words], env=self.env,
                                               stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def run(self, *words, check=True, **more):
        done = subprocess.run([str(word) for word in words], env=self.env, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, **more)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}\n{self.logs()}"
        return done.stdout

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                         for path in sorted(self.folder.glob("*.log")) + sorted(
                             self.folder.glob("*.out")))

    def wait(self, done, what):
        deadline = time.monotonic() + 60
        while not done():
            lost = any(process.poll() is not None for process in self.processes)
            if lost or time.monotonic() >= deadline:
                self.close()
                pytest.fail(f"{what} did not come up\n{self.logs()}")
            time.sleep(0.2)

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture
def slurm(tmp_path_factory):
    missing = [name for name in ("munged", "slurmctld", "slurmd", "srun", "sbatch")
               if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing:
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}); tools/test.sh installs it")
    if os.getuid() != 0:
        pytest.skip("slurmd of a test of its own needs root")
    if not os.path.ismount("/sys/fs/cgroup"):
        pytest.skip("slurmd does not start without control groups (nothing is mounted on "
                    "/sys/fs/cgroup)")
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    yield made
    made.close()


def test_a_job_of_slurm(place, slurm):
    """sbatch tools/slurm.sbatch on Debian's Slurm: two daemons, one answer, nothing left behind."""
    bin_folder = place.folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "troupe").symlink_to(harness.TROUPE)
    port = free_ports_for_tasks(2)
    slurm.env = {**slurm.env, **place.env, "SLURM_CONF": str(slurm.conf),
                 "PATH": f"{bin_folder}:{os.environ['PATH']}",
                 "TROUPE_LISTEN": f"127.0.0.1:{port}", "TROUPE_THREADS": "1"}
    out = place.folder / "job.out"
    words = ("The capital of France is", "--raw", "-n", "8")
    slurm.run("sbatch", "--wait", "--nodes=1", "--ntasks=2", "--ntasks-per-node=2",
              "--oversubscribe", f"--output={out}", "--chdir", place.folder,
              harness.ROOT / "tools" / "slurm.sbatch", harness.MODEL, *words, check=False)
    said = out.read_text()
    expected = place.troupe("run", harness.MODEL, *words, "--cluster", "none").out.strip()
    assert expected in said, said + slurm.logs()
    assert "node joined" in said or said.count(" joined") == 2, said
    assert not list(place.folder.glob("*.token"))
