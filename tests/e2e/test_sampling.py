"""Every option of sampling through the command: what it does to an answer, on one process and on
three nodes. Frequencies against probabilities are in tests/model/sampling/sampler_test.cpp."""
import math

import pytest

import harness

PROMPT = ("--raw", "The capital of France is")
DRAWN = ("--temperature", "1.0", "--seed", "5", "-n", "24")


@pytest.fixture(scope="module")
def answer(alone):
    """Token ids of one process, each set of options run once."""
    made = {}

    def ids(*flags):
        if flags not in made:
            made[flags] = alone.json("run", harness.MODEL, *PROMPT, *flags)["token_ids"]
        return made[flags]

    return ids


EVERY = [("--top-k", "5"), ("--top-p", "0.7"), ("--min-p", "0.15"), ("--typical", "0.5"),
         ("--repeat-penalty", "1.5"), ("--presence-penalty", "1.5"), ("--frequency-penalty", "1.5"),
         ("--logit-bias", "7042=-20", "--logit-bias", "260=3")]


@pytest.mark.parametrize("flags", EVERY, ids=lambda flags: flags[0])
def test_each_option_changes_the_draw_and_repeats(alone, answer, three, flags):
    drawn = answer(*DRAWN, *flags)
    assert drawn != answer(*DRAWN)
    assert alone.json("run", harness.MODEL, *PROMPT, *DRAWN, *flags, "-t", 1)["token_ids"] == drawn
    assert three.run(*PROMPT, *DRAWN, *flags, "--layers", "0-9,10-19,20-29")["token_ids"] == drawn


@pytest.mark.parametrize("flags", [
    (*DRAWN, "--top-k", "1"), (*DRAWN, "--top-p", "1e-6"), (*DRAWN, "--min-p", "1"),
    ("--temperature", "1e-4", "-n", "24")], ids=lambda flags: flags[-2])
def test_the_narrowest_cut_is_greedy(answer, flags):
    assert answer(*flags) == answer("-n", "24")


def test_a_bias_bans_and_forces(answer):
    greedy = answer("-n", "8")
    banned = answer("-n", "8", "--logit-bias", f"{greedy[0]}=-1000")
    assert greedy[0] not in banned
    assert answer("-n", "3", "--logit-bias", "504=1000") == [504] * 3
    # A second bias of a token is added to the first.
    assert answer("-n", "8", "--logit-bias", "504=1000", "--logit-bias", "504=-1000") == greedy


def test_a_penalty_keeps_tokens_from_coming_again(answer):
    """Presence counts the answer alone; repetition counts the prompt, too."""
    prompt = {504, 3575, 282, 4649, 314}
    ids = answer("-n", "24", "--presence-penalty", "1000")
    assert len(set(ids)) == len(ids) and prompt & set(ids)
    ids = answer("-n", "24", "--repeat-penalty", "100")
    assert len(set(ids)) == len(ids) and not prompt & set(ids)


def test_stop_strings_end_before_themselves(alone, golden):
    text = golden("smollm2_logits.json")["generations"][0]["greedy_text"]
    at = text.index("answer")
    got = alone.json("run", harness.MODEL, *PROMPT, "--stop", "nothing of this", "--stop", "answer")
    assert got["text"] == text[:at] and got["finish_reason"] == "stop"
    shown = alone.troupe("run", harness.MODEL, *PROMPT, "--stop", "answer")
    assert shown.out == text[:at] + "\n"


def test_logprobs_are_the_recorded_ones(alone, golden):
    """Quantized activations and f16 keys move them: by up to 0.32 in the recorded trial."""
    for generation in golden("smollm2_logits.json")["generations"][:3]:
        got = alone.json("run", harness.MODEL, *harness.ids_flag(generation["prompt_ids"]), "-n",
                         "2", "--logprobs", "20")
        recorded = dict(map(tuple, generation["first_position_top20_logprobs"]))
        assert len(got["logprobs"]) == len(got["token_ids"])
        first = got["logprobs"][0]
        assert first["id"] == got["token_ids"][0] == first["top"][0]["id"]
        assert first["logprob"] == first["top"][0]["logprob"]
        values = [one["logprob"] for one in first["top"]]
        assert values == sorted(values, reverse=True) and len(values) == 20
        assert sum(map(math.exp, values)) <= 1.0001
        for one in first["top"][:10]:
            assert abs(one["logprob"] - recorded[one["id"]]) < 0.4, (one, recorded)


def test_logprobs_are_the_models_own(alone):
    """Of its own distribution, whatever temperature and penalties make of it; on stderr too."""
    plain = alone.json("run", harness.MODEL, *PROMPT, "-n", "1", "--logprobs", "3")
    drawn = alone.json("run", harness.MODEL, *PROMPT, "-n", "1", "--logprobs", "3",
                       "--temperature", "3", "--seed", "1", "--repeat-penalty", "2")
    assert drawn["logprobs"][0]["top"] == plain["logprobs"][0]["top"]
    said = alone.troupe("run", harness.MODEL, *PROMPT, "-n", "1", "--logprobs", "2")
    top = plain["logprobs"][0]["top"]
    one = f"{top[0]['id']} {top[0]['logprob']:.3f}"
    assert f"troupe: {one} of {one}, {top[1]['id']} {top[1]['logprob']:.3f}\n" in said.err
    assert said.out == plain["text"] + "\n"


@pytest.mark.parametrize("flags, words", [
    (("--top-p", "0"), "top_p is 0"), (("--min-p", "1.5"), "min_p is 1.5"),
    (("--typical", "0"), "typical is 0"), (("--repeat-penalty", "0"), "repeat_penalty is 0"),
    (("--presence-penalty", "nan"), "presence_penalty is"),
    (("--frequency-penalty", "inf"), "frequency_penalty is"),
    (("--temperature", "-1"), "temperature is -1"), (("--logprobs", "21"), "--logprobs"),
    (("--top-k", "-1"), "--top-k"), (("--seed", "-1"), "not a whole number"),
    (("--logit-bias", "504"), "expected ID=VALUE"), (("--logit-bias", "49152=1"), "49152"),
    (("--stop", ""), "--stop is empty")], ids=lambda value: value[0] if isinstance(
        value, tuple) else None)
def test_what_no_sampler_can_do_is_refused(alone, flags, words):
    outcome = alone.troupe("run", harness.MODEL, *PROMPT, *flags)
    assert outcome.status == 2, str(outcome)
    assert words in outcome.err, str(outcome)


def test_logprobs_of_a_chat_are_refused(alone):
    outcome = alone.troupe("run", harness.MODEL, "--logprobs", "2")
    assert outcome.status == 2 and "give the prompt" in outcome.err, str(outcome)
