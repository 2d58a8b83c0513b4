"""`troupe tokenize` against the recorded ids."""
import harness


def test_recorded_texts(alone, golden, tmp_path):
    wrong = []
    cases = golden("smollm2_tokens.json")
    assert len(cases) == 50
    for case in cases:
        file = tmp_path / "text"
        file.write_bytes(case["text"].encode())
        ids = alone.json("tokenize", harness.MODEL, "-f", file)["ids"]
        if ids != case["ids"]:
            wrong.append((case["text"], ids, case["ids"]))
    assert not wrong


def test_text_as_an_argument_and_on_stdin(alone):
    expected = [19556, 905]
    assert alone.json("tokenize", harness.MODEL, "Hello world")["ids"] == expected
    assert alone.json("tokenize", harness.MODEL, "-", input="Hello world")["ids"] == expected
    plain = alone.troupe("tokenize", harness.MODEL, "Hello world")
    assert plain.out == "19556,905\n"
