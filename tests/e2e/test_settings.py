"""Where the settings of `troupe start` come from, and what is said of wrong ones."""
import pytest

import harness
from test_bad_input import check

pytestmark = pytest.mark.no_model


def settings(place, *flags, env=None):
    found = place.json("start", "--print-config", *flags, env=env)["settings"]
    return {key: (entry["value"], entry["from"]) for key, entry in found.items()}


# Every setting with a value for the flag, one for the variable and one for the file, as TOML.
EACH = [
    ("listen", "127.0.0.1:7801", "127.0.0.1:7802", '"127.0.0.1:7803"'),
    ("advertise", "10.0.0.1:7801", "10.0.0.2:7802", '"10.0.0.3:7803"'),
    ("join", "trp-a@127.0.0.1:1", "trp-b@127.0.0.1:2", '"trp-c@127.0.0.1:3"'),
    ("name", "flag", "variable", '"file"'),
    ("threads", "2", "3", "4"),
    ("memory", "2GiB", "3GiB", '"4GiB"'),
    ("device", "cpu", "cpu", '"cpu"'),
    ("keep-alive", "1m", "2m", '"3m"'),
    ("log", "debug", "info", '"error"'),
]


@pytest.mark.parametrize("key, flag, variable, line", EACH)
def test_flags_before_variables_before_the_file(place, key, flag, variable, line):
    home = place.folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(f"# a comment\n{key} = {line}\n")
    name = "TROUPE_" + key.upper().replace("-", "_")
    base = ("--home", home)
    shown = {"trp-a@127.0.0.1:1": "trp-a...@127.0.0.1:1", "trp-b@127.0.0.1:2":
             "trp-b...@127.0.0.1:2", "trp-c@127.0.0.1:3": "trp-c...@127.0.0.1:3"}
    value = lambda text: shown.get(text, text)  # noqa: E731
    by_file = value(line.strip('"'))
    assert settings(place, *base)[key] == (by_file, f"{home}/config.toml:2")
    assert settings(place, *base, env={name: variable})[key] == (value(variable), name)
    assert settings(place, *base, f"--{key}", flag, env={name: variable})[key] == (
        value(flag), f"--{key}")
    # An empty variable counts as absent.
    assert settings(place, *base, env={name: ""})[key] == (by_file, f"{home}/config.toml:2")


@pytest.mark.parametrize("key", ["head", "no-work", "no-speculation", "daemon"])
def test_switches(place, key):
    file = place.folder / "settings.toml"
    file.write_text(f"{key} = true\n")
    name = "TROUPE_" + key.upper().replace("-", "_")
    assert settings(place)[key][1] == "default"
    assert settings(place, "--config", file)[key] == ("true", f"{file}:1")
    assert settings(place, env={"TROUPE_CONFIG": str(file)})[key] == ("true", f"{file}:1")
    assert settings(place, "--config", file, env={name: "no"})[key] == ("false", name)
    assert settings(place, f"--{key}", env={name: "0"})[key] == ("true", f"--{key}")


def test_home(place):
    file = place.folder / "settings.toml"
    file.write_text(f'home = "{place.folder}/there"\n')
    assert settings(place, "--config", file, env={"TROUPE_HOME": ""})["home"] == (
        f"{place.folder}/there", f"{file}:1")
    assert settings(place, "--config", file)["home"] == (place.env["TROUPE_HOME"], "TROUPE_HOME")
    own = place.folder / "client"
    own.mkdir(exist_ok=True)
    (own / "config.toml").write_text('home = "/elsewhere"\n')
    check(place.troupe("start", "--print-config"), 1, "config.toml:1", "--home")


def test_the_stronger_source_decides_between_head_and_join(place):
    file = place.folder / "settings.toml"
    file.write_text('head = true\n')
    found = settings(place, "--config", file, env={"TROUPE_JOIN": "trp-x@127.0.0.1:7"})
    assert found["head"][0] == "false" and found["join"][1] == "TROUPE_JOIN"


def test_defaults_are_shown(place):
    found = settings(place)
    assert found["listen"] == ("127.0.0.1:7700", "default")
    assert found["keep-alive"] == ("5m", "default")
    assert found["head"] == ("true", "default")
    assert "GiB" in found["memory"][0] or "MiB" in found["memory"][0]
    table = place.troupe("start", "--print-config").out
    assert table.startswith("SETTING") and "keep-alive" in table


@pytest.mark.parametrize("line, said", [
    ('colour = "red"', ["colour", '"red"', "keep-alive"]),
    ("threads = \"two\"", ["threads", '"two"', "whole number"]),
    ("threads = 0", ["threads = 0", "1 to 1024"]),
    ("threads = 1.5", ["threads", "1.5"]),
    ("threads = [1]", ["threads", "array"]),
    ("listen = 7700", ["listen = 7700", "quotes"]),
    ('listen = "here"', ["listen", "'here'"]),
    ('head = "yes"', ["head", '"yes"', "true or false"]),
    ('memory = "plenty"', ["memory", '"plenty"', "4GiB"]),
    ("memory = 0", ["memory = 0"]),
    ("memory = -5", ["memory = -5"]),
    ('keep-alive = "soon"', ["keep-alive", '"soon"', "5m"]),
    ('device = "cuda"', ["device", "cuda", "cpu"]),
    ('log = "loud"', ["log", "loud"]),
    ('name = ""', ["name", "empty"]),
    ("[start]", ["start", "a table"]),
    ('join = "nothing"', ["join", "nothing"]),
])
def test_wrong_lines_of_the_file(place, line, said):
    file = place.folder / "settings.toml"
    file.write_text("# first\n\n" + line + "\n")
    check(place.troupe("start", "--config", file, "--print-config"), 1, f"{file}:3", *said)


@pytest.mark.parametrize("content, said", [
    ("threads = ", ":1"), ("a = 1\na = 2\n", ":2"), ("\n\nwhat is this\n", ":3"),
    ("name = \"\xff\xfe\"", ""), ("x" * 2_000_000, "1048576")],
    ids=["no value", "twice", "no key", "no text", "large"])
def test_files_that_are_no_toml(place, content, said):
    file = place.folder / "settings.toml"
    file.write_bytes(content.encode("latin-1"))
    check(place.troupe("start", "--config", file, "--print-config"), 1, str(file), said)


def test_files_that_cannot_be_read(place):
    check(place.troupe("start", "--config", "/nowhere.toml"), 1, "/nowhere.toml")
    check(place.troupe("start", "--config", place.folder), 1, str(place.folder))


@pytest.mark.parametrize("name, value, said", [
    ("TROUPE_THREADS", "many", "1 to 1024"), ("TROUPE_HEAD", "perhaps", "true or false"),
    ("TROUPE_LISTEN", "there", "HOST:PORT"), ("TROUPE_MEMORY", "4 apples", "4GiB"),
    ("TROUPE_MEMORY", "nan", "4GiB"), ("TROUPE_MEMORY", "inf", "4GiB"),
    ("TROUPE_KEEP_ALIVE", "-3m", "5m"), ("TROUPE_DEVICE", "gpu", "cpu"),
    ("TROUPE_JOIN", "nobody", "TOKEN@HOST:PORT")])
def test_wrong_variables(place, name, value, said):
    outcome = place.troupe("start", "--print-config", env={name: value})
    check(outcome, 2, name, value, said)


def test_wrong_flags(place):
    check(place.troupe("start", "--device", "cuda"), 2, "--device", "cuda", "cpu")
    check(place.troupe("start", "--memory", "0"), 2, "--memory", "4GiB")
    check(place.troupe("start", "--keep-alive", "always"), 2, "--keep-alive", "forever")


def test_a_file_starts_a_daemon(place):
    port = harness.free_port()
    home = place.folder / "head"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        f'listen = "127.0.0.1:{port}"\nname = "by-file"\nthreads = 1\nmemory = "1GiB"\n')
    head = place.spawn("start", "--home", home, stdout=harness.subprocess.PIPE,
                       stderr=harness.subprocess.DEVNULL)
    assert f":{port}".encode() in head.stdout.readline()
    node = place.json("status", "--home", home)["nodes"][0]
    assert (node["name"], node["threads"], node["memory_bytes"]) == ("by-file", 1, 1 << 30)
