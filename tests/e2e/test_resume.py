"""An answer that was cut off goes on after any of its tokens with the same ones: what penalties look
at is the log of prompt and answer, which a replay brings again."""
import pytest

import harness

TOKENS = 64
PENALTIES = ("--temperature", "0.8", "--top-p", "0.95", "--min-p", "0.02", "--seed", "21",
             "--repeat-penalty", "1.2", "--presence-penalty", "0.4", "--frequency-penalty", "0.3",
             "--logit-bias", "28=-3")


def with_answer(ids):
    return ("--answer-ids", ",".join(map(str, ids))) if ids else ()


@pytest.fixture(scope="module")
def whole(alone, gpl_ids):
    """The answer in one go."""
    return alone.json("run", harness.MODEL, *harness.ids_flag(gpl_ids[300:364]), "-n", TOKENS,
                      *PENALTIES)


def test_the_penalties_matter(alone, gpl_ids, whole):
    assert len(whole["token_ids"]) == TOKENS
    plain = alone.json("run", harness.MODEL, *harness.ids_flag(gpl_ids[300:364]), "-n", TOKENS,
                       *PENALTIES[:8])
    assert plain["token_ids"] != whole["token_ids"]


@pytest.mark.parametrize("accepted", [1, 7, 31, 63])
def test_one_process(alone, gpl_ids, whole, accepted):
    got = alone.json("run", harness.MODEL, *harness.ids_flag(gpl_ids[300:364]), "-n", TOKENS,
                     *PENALTIES, *with_answer(whole["token_ids"][:accepted]))
    assert got["token_ids"] == whole["token_ids"]
    assert got["text"] == whole["text"]
    assert got["prompt_token_ids"] == gpl_ids[300:364]


@pytest.mark.parametrize("accepted", [0, 1, 40, 63])
def test_three_nodes(three, gpl_ids, whole, accepted):
    got = three.run(*harness.ids_flag(gpl_ids[300:364]), "-n", TOKENS, *PENALTIES, "--layers",
                    "0-9,10-19,20-29", *with_answer(whole["token_ids"][:accepted]))
    assert got["token_ids"] == whole["token_ids"]


def test_only_what_is_new_is_shown(alone):
    """The text goes on where the first part ended, log-probabilities are of new tokens."""
    words = ("run", harness.MODEL, "--raw", "The capital of France is", "-n", "12")
    first = alone.json(*words, "--logprobs", "2")
    rest = alone.troupe(*words, *with_answer(first["token_ids"][:5]))
    assert rest.status == 0, str(rest)
    assert first["text"].endswith(rest.out.removesuffix("\n"))
    assert 0 < len(rest.out) < len(first["text"])
    again = alone.json(*words, "--logprobs", "2", *with_answer(first["token_ids"][:5]))
    assert again["logprobs"] == first["logprobs"][5:]


@pytest.mark.parametrize("flags, words", [
    (("--answer-ids", "1,x"), "--answer-ids takes token ids"),
    (("--answer-ids", "5,6", "-n", "2"), "raise max_tokens"),
    (("--answer-ids", "99999"), "not in the vocabulary"),
    (("--answer-ids", "2"), "there is nothing to go on with"),
])
def test_what_cannot_go_on_is_said(alone, flags, words):
    outcome = alone.troupe("run", harness.MODEL, "--raw", "Hello", *flags)
    assert outcome.status == 2, str(outcome)
    assert words in outcome.err


def test_a_chat_has_no_answer_yet(alone):
    outcome = alone.troupe("run", harness.MODEL, "--answer-ids", "5")
    assert outcome.status == 2, str(outcome)
    assert "give the prompt" in outcome.err
