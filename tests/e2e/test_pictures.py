"""README's terminal pictures: what docs/ holds is whole, and a recording is drawn as it was."""
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "tools" / "dev"))
from terminal_picture import Screen, picture, pieces  # noqa: E402  (after the path is set)

pytestmark = pytest.mark.no_model
SVG = "{http://www.w3.org/2000/svg}"
PICTURES = ("three-nodes", "killed-node")


def pane(*events, columns=20, rows=3):
    return {"title": "a <title>", "columns": columns, "rows": rows, "events": list(events)}


def seconds(begin, end):
    return round(begin, 2), None if end is None else round(end, 2)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_in_docs(name):
    path = harness.ROOT / "docs" / f"{name}.svg"
    assert path.stat().st_size < 200_000
    root = ElementTree.parse(path).getroot()
    assert root.tag == SVG + "svg" and int(root.get("width")) < 900
    text = "".join("".join(piece.itertext()) for piece in root.iter(SVG + "text"))
    assert "trouperunsmollm2-135m" in text and "127.0.0.1:" in text  # typed, a key at a time
    names = {piece.get("style") for piece in root.iter(SVG + "text")} - {None}
    style = root.find(SVG + "style").text
    assert len(names) > 20, "it moves"
    for one in names:
        assert f"@keyframes {one.removeprefix('animation-name:')}{{" in style
    assert f"(docs/{name}.svg)" in (harness.ROOT / "README.md").read_text()


def test_the_killed_node_is_in_its_picture():
    text = (harness.ROOT / "docs" / "killed-node.svg").read_text()
    for word in (">dead<", ">the same bytes<"):
        assert word in text


def test_what_a_screen_shows():
    screen = Screen(6, 3)
    screen.feed("one\r\ntwo\rT\x1b[K\x1b]0;title\x07\r\n\x1b[32mlonger\x1b[0m than\n")
    rows = ["".join(cell[0] if cell else " " for cell in row) for row in screen.cells]
    assert rows == ["longer", " than ", "      "]
    assert screen.cells[0][0] == ("l", "g") and screen.cells[1][1] == ("t", "")
    screen.feed("\x1b[H\x1b[2J\x1b[?25lx")
    assert screen.cells[0][:2] == [("x", ""), None] and screen.cells[1] == [None] * 6


def test_when_a_piece_is_seen():
    """Text comes, more comes behind it, and a line is written anew."""
    recorded = pane([0.0, "$ "], [1.0, "ab"], [2.0, " c  d"], [3.0, "\rxx"])
    seen = {(text, column): seconds(begin, end)
            for _, column, text, _, begin, end in pieces(recorded)}
    assert seen == {("$", 0): (0, 3), ("ab", 2): (1, None), ("c", 5): (2, None),
                    ("d", 8): (2, None), ("xx", 0): (3, None)}


def test_a_recording_as_a_picture():
    drawn = picture([pane([0.5, "a < b & c"]), pane([1.5, "\x1b[31mred"])],
                    "what it \"shows\"", pause=2.5)
    root = ElementTree.fromstring(drawn)
    found = {"".join(piece.itertext()): piece for piece in root.iter(SVG + "text")}
    assert set(found) == {"a <title>", "a < b & c", "red"}
    assert found["red"].get("class").split() == ["r", "a"]
    assert root.get("aria-label") == "what it \"shows\""
    style = root.find(SVG + "style").text
    assert "animation:4.00s step-end infinite" in style
    begins = re.findall(r"@keyframes k\d\{0%\{opacity:0\}([0-9.]+)%\{opacity:1\}\}", style)
    assert begins == ["12.50", "37.50"]
