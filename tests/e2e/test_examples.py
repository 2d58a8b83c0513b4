"""The examples build against an installed Troupe, outside of this tree, and run: against what
`cmake --install` puts in place, and against the Debian package.
"""
import array
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import harness


def run(*words, env=None):
    done = subprocess.run([str(word) for word in words], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
                          check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run("cpack", "--config", harness.BUILD / "CPackConfig.cmake", "-B", folder)
    return next(folder.glob("*.deb"))


@pytest.fixture(scope="module", params=["installed", "deb"])
def installed(request, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    if request.param == "deb":
        run("dpkg", "-x", request.getfixturevalue("package"), prefix)
        return prefix / "usr"
    run("cmake", "--install", harness.BUILD, "--prefix", prefix)
    return prefix


def test_package(package, tmp_path):
    """What the package holds, and that it asks for the libraries that the program links to."""
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", package).splitlines()
                  if ": " in line)
    assert fields["Package"] == "troupe" and package.name.startswith("troupe_")
    depends = fields["Depends"]
    for library in ("libzmq5", "libsodium23", "libssl3", "libcaf-core", "libsqlite3-0", "libc6"):
        assert library in depends, depends
    listed = run("dpkg-deb", "-c", package)
    for path in ("usr/bin/troupe", "usr/lib/systemd/system/troupe.service",
                 "usr/include/troupe/actors/troupe.h", "usr/lib/libtroupe_actors.a",
                 "usr/lib/cmake/troupe/troupeConfig.cmake", "usr/lib/pkgconfig/troupe.pc"):
        assert f"./{path}\n" in listed, path
    run("dpkg-deb", "-e", package, tmp_path)
    assert (tmp_path / "postinst").stat().st_mode & 0o111


@pytest.fixture(scope="module")
def examples(installed, tmp_path_factory):
    """examples/ copied away from the tree and built."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(harness.ROOT / "examples", folder / "examples")
    run("cmake", "-S", folder / "examples", "-B", folder / "build", "-G", "Ninja",
        "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", folder / "build")
    return folder / "build"


@pytest.mark.parametrize("name", ["generate", "custom_actor"])
def test_example(examples, alone, name):
    text = run(examples / f"example_{name}", harness.MODEL, "Name three colours.", env=alone.env)
    expected = alone.json("run", harness.MODEL, "Name three colours.", "-n", 8)["text"]
    assert expected.strip()[:12] in text, text


def test_word_count(examples, alone, tmp_path):
    """Its own job kind, in one process; tests/e2e/test_own_kinds.py has three nodes."""
    (tmp_path / "one").write_text("Troupe a a b\n")
    (tmp_path / "two").write_text("b, b; TROUPE a-b")
    text = run(examples / "example_word_count", tmp_path / "one", tmp_path / "two", env=alone.env)
    assert text.splitlines() == ["       4 b", "       3 a", "       2 troupe"]


def test_parallel_loss(examples, alone):
    """Four actors and one have the same bits, and the loss that was recorded with PyTorch."""
    folder = alone.json("pull", "all-minilm-l6-v2", env={"TROUPE_HOME": str(home_of_model())})["path"]
    rows = harness.ROOT / "tests" / "data" / "debian_sections" / "train.jsonl"
    lines = run(examples / "example_parallel_loss", folder, rows).splitlines()
    assert lines[2] == "equal"
    losses = [float(line.split()[-1]) for line in lines[:2]]
    assert losses[0] == losses[1]
    recorded = json.loads((harness.ROOT / "tests/data/golden/minilm_finetune.json").read_text())
    # The recorded run summed in f32.
    assert abs(losses[0] - recorded["loss"][0]) < 1e-4 and abs(losses[0] - 2.09086) < 1e-4


def home_of_model():
    """The home in whose store the test's model lies, which has the encoder, too."""
    return pathlib.Path(harness.MODEL).resolve().parents[2]


def check_likeliest(lines, alone):
    """The five lines against `troupe logits`, which another way leads to."""
    text = "The capital of France is"
    ids = alone.json("tokenize", harness.MODEL, text)["ids"]
    out = alone.folder / "last.safetensors"
    shape = alone.json("logits", harness.MODEL, "--ids", ",".join(map(str, ids)), "-o",
                       out)["shape"]
    content = out.read_bytes()
    row = array.array("f", content[len(content) - 4 * shape[1]:])
    best = sorted(range(shape[1]), key=lambda i: (-row[i], i))[:5]
    found = [line.split(None, 2) for line in lines.splitlines()]
    assert [int(line[0]) for line in found] == best
    assert [line[1] for line in found] == [f"{row[i]:.4f}" for i in best]
    assert '" Paris"' in lines


def libraries_of(program):
    return run("ldd", program)


def test_a_model_without_actors(examples, alone):
    """No CAF and no ZeroMQ, neither asked for by the linker nor found in the program."""
    program = examples / "example_local_logits"
    check_likeliest(run(program, harness.MODEL, "The capital of France is", env=alone.env), alone)
    needed = libraries_of(program)
    assert "zmq" not in needed and "caf" not in needed, needed
    assert "zmq" in libraries_of(examples / "example_generate"), "the test sees what is needed"
    commands = run("ninja", "-C", examples, "-t", "commands", "example_local_logits")
    link = commands.splitlines()[-1]
    assert "libtroupe_model" in link, link
    assert not [word for word in link.split() if "zmq" in word or "caf" in word], link


def test_pkg_config_of_the_model_alone(installed, alone, tmp_path):
    folder = next(installed.rglob("troupe-model.pc")).parent
    env = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = run("pkg-config", "--cflags", "--libs", "troupe-model", env=env).split()
    assert not [flag for flag in flags if "zmq" in flag or "caf" in flag], flags
    run("c++", harness.ROOT / "examples" / "local_logits.cpp", "-o", tmp_path / "logits", *flags)
    check_likeliest(run(tmp_path / "logits", harness.MODEL, "The capital of France is",
                        env=alone.env), alone)
    missing = subprocess.run([tmp_path / "logits", "/nowhere", "x"], check=False,
                             stderr=subprocess.PIPE, text=True)
    assert missing.returncode == 1 and "/nowhere" in missing.stderr


def test_generate_is_short_and_uses_the_facade_alone():
    text = (harness.ROOT / "examples" / "generate.cpp").read_text()
    assert text.count("\n") < 40
    assert [line for line in text.splitlines() if "#include <troupe/" in line] == [
        "#include <troupe/actors/troupe.h>"]


def test_installed_program(installed, alone):
    assert run(installed / "bin" / "troupe", "--version").startswith("troupe ")
    assert (installed / "include" / "troupe" / "actors" / "troupe.h").exists()


USER = """
#include <cstdio>
#include <troupe/actors/troupe.h>
#include <troupe/model/tokenizer/tokenizer.h>
int main() {
  auto cluster = troupe::Cluster::local({"%s"});
  std::printf("%%s\\n", cluster ? cluster->description().c_str() : cluster.message().c_str());
  return cluster ? 0 : 1;
}
"""
LISTS = """
cmake_minimum_required(VERSION 3.25)
project(user CXX)
find_package(troupe 0.1 REQUIRED)
add_executable(user user.cpp)
target_link_libraries(user PRIVATE troupe::troupe)
get_target_property(libraries troupe::troupe INTERFACE_LINK_LIBRARIES)
add_library(model_only OBJECT user_model.cpp)
target_link_libraries(model_only PRIVATE troupe::model)
"""


def test_facade_target(installed, tmp_path):
    """troupe::troupe is enough for the facade, troupe::model for the rooms below the actors."""
    (tmp_path / "user.cpp").write_text(USER % tmp_path)
    (tmp_path / "user_model.cpp").write_text("#include <troupe/model/transformer/stage.h>\n")
    (tmp_path / "CMakeLists.txt").write_text(LISTS)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    assert run(tmp_path / "build" / "user").strip() == "this process"


def test_pkg_config(installed, tmp_path):
    (tmp_path / "user.cpp").write_text(USER % tmp_path)
    folder = next(installed.rglob("troupe.pc")).parent
    env = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = run("pkg-config", "--cflags", "--libs", "troupe", env=env).split()
    run("c++", tmp_path / "user.cpp", "-o", tmp_path / "user", *flags)
    assert run(tmp_path / "user").strip() == "this process"
