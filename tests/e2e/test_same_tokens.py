"""The same token ids from one process and from 1, 2, 3 and 5 nodes, whatever the split, the threads
and the instruction set; greedy and seeded."""
import concurrent.futures
import time

import pytest

import harness

PROMPTS = 20
SHORT, LONG = 64, 700
TOKENS = 8
SEEDED = ("--temperature", "0.9", "--top-p", "0.95", "--seed", "7")


def prompt(gpl_ids, index):
    """The index-th piece of 64 tokens; index 20 is one of 700."""
    if index == PROMPTS:
        return gpl_ids[2000:2000 + LONG]
    return gpl_ids[index * SHORT:(index + 1) * SHORT]


def cases(indices=range(PROMPTS + 1)):
    return [(index, sampling) for index in indices for sampling in ((), SEEDED)]


FEW = (0, 7, PROMPTS)


@pytest.fixture(scope="module")
def expected(alone, gpl_ids):
    """Answers of one process with one thread, each made once."""
    made = {}

    def answer(index, sampling):
        if (index, sampling) not in made:
            made[index, sampling] = alone.json(
                "run", harness.MODEL, *harness.ids_flag(prompt(gpl_ids, index)), "-n", TOKENS,
                "-t", 1, "--no-speculation", *sampling)["token_ids"]
        return made[index, sampling]

    return answer


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A head that works and four nodes."""
    made = harness.Cluster(tmp_path_factory.mktemp("five"), 4)
    yield made
    made.close()


def compare(expected, gpl_ids, run, indices=range(PROMPTS + 1)):
    for index, sampling in cases(indices):
        got = run(*harness.ids_flag(prompt(gpl_ids, index)), "-n", TOKENS, *sampling)
        assert got["prompt_token_ids"] == prompt(gpl_ids, index)
        assert got["token_ids"] == expected(index, sampling), (index, sampling, got["nodes"])


def test_the_prompts_differ_and_sampling_matters(expected):
    greedy = [expected(index, ()) for index, sampling in cases() if not sampling]
    seeded = [expected(index, SEEDED) for index, sampling in cases() if sampling]
    assert len({tuple(ids) for ids in greedy}) > PROMPTS // 2
    assert sum(a != b for a, b in zip(greedy, seeded)) > PROMPTS // 2


@pytest.mark.parametrize("layers", ["0-29", "0-14,15-29", "0-9,10-19,20-29"])
def test_nodes(three, expected, gpl_ids, layers):
    def run(*words):
        got = three.run(*words, "--layers", layers)
        assert [stage["layers"] for stage in got["nodes"]] == layers.split(",")
        return got

    compare(expected, gpl_ids, run)


@pytest.mark.parametrize("layers", ["0-0,1-29", "0-27,28-28,29-29", "0-3,4-6,7-29"])
def test_odd_splits(three, expected, gpl_ids, layers):
    compare(expected, gpl_ids, lambda *words: three.run(*words, "--layers", layers), FEW)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads(alone, expected, gpl_ids, threads):
    compare(expected, gpl_ids, lambda *words: alone.json("run", harness.MODEL, *words, "-t",
                                                         threads), FEW)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_vector_instructions(alone, expected, gpl_ids, isa):
    if isa not in alone.json("doctor")["isa"]["supported"]:
        pytest.skip(f"this CPU or build has no {isa}")
    compare(expected, gpl_ids, lambda *words: alone.json("run", harness.MODEL, *words,
                                                         env={"TROUPE_ISA": isa}), FEW)


def test_scalar(alone, expected, gpl_ids):
    """Plain C++ is slow: the long prompt once, three short ones both ways."""
    def run(*words):
        return alone.json("run", harness.MODEL, *words, env={"TROUPE_ISA": "scalar"})

    compare(expected, gpl_ids, run, (0, 7, 13))
    got = run(*harness.ids_flag(prompt(gpl_ids, PROMPTS)), "-n", TOKENS, *SEEDED)
    assert got["token_ids"] == expected(PROMPTS, SEEDED)


def test_a_cluster_of_unlike_nodes(tmp_path, expected, gpl_ids):
    """Scalar beside the widest, one thread beside three."""
    cluster = harness.Cluster(tmp_path, 2, envs=[None, {"TROUPE_ISA": "scalar"}, None],
                              threads=[3, 1, 2])
    try:
        compare(expected, gpl_ids,
                lambda *words: cluster.run(*words, "--layers", "0-13,14-18,19-29"), (0, 7))
    finally:
        cluster.close()


def together(cluster, expected, gpl_ids, layers, at_once):
    """Sends greedy and seeded requests together, two of them long; proves that they share steps."""
    todo = cases((*range(7), PROMPTS)) if at_once > 1 else cases((0, PROMPTS))
    for case in todo:
        expected(*case)

    def answer(case):
        index, sampling = case
        return cluster.run(*harness.ids_flag(prompt(gpl_ids, index)), "-n", TOKENS, *sampling,
                           "--layers", layers)

    answer(todo[0])  # loads
    time.sleep(1)  # counters come with the heartbeats
    before = cluster.status()["nodes"][0]["steps"]
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for case, got in zip(todo, pool.map(answer, todo)):
            assert got["token_ids"] == expected(*case), (case, got["nodes"])
            names = [stage["name"] for stage in got["nodes"]]
            assert len(set(names)) == len(names) == layers.count(",") + 1
    if at_once == 16:
        time.sleep(1)
        steps = cluster.status()["nodes"][0]["steps"] - before
        assert steps < len(todo) * TOKENS, "requests do not share steps"


@pytest.mark.parametrize("layers", ["0-29", "0-9,10-19,20-29"])
@pytest.mark.parametrize("sampling", [(), SEEDED, ("--presence-penalty", "0.3")])
def test_drafts_change_no_token(three, alone, gpl_ids, layers, sampling):
    """A passage, its beginning once more: the answer quotes it, and most drafts come true."""
    words = (*harness.ids_flag(gpl_ids[:150] + gpl_ids[:100]), "-n", 40, "--logprobs", 2, *sampling)
    expected = alone.json("run", harness.MODEL, *words, "--no-speculation")
    three.run(*harness.ids_flag(gpl_ids[:8]), "-n", 1, "--layers", layers)  # loads

    def drafted():
        return sum(one["drafted"] for one in three.status()["deployments"])

    before = drafted()
    got = three.run(*words, "--layers", layers)
    assert got["token_ids"] == expected["token_ids"]
    assert got["logprobs"] == expected["logprobs"]
    assert drafted() > before
    before = drafted()
    assert three.run(*words, "--layers", layers, "--no-speculation")["logprobs"] == got["logprobs"]
    assert drafted() == before


@pytest.mark.parametrize("layers", ["0-29", "0-14,15-29", "0-3,4-6,7-29"])
@pytest.mark.parametrize("at_once", [4, 16])
def test_many_at_once(three, expected, gpl_ids, layers, at_once):
    together(three, expected, gpl_ids, layers, at_once)


@pytest.mark.parametrize("layers", ["0-5,6-11,12-17,18-23,24-29", "0-0,1-2,3-12,13-28,29-29"])
@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_five_nodes(five, expected, gpl_ids, layers, at_once):
    together(five, expected, gpl_ids, layers, at_once)


def test_a_seed_repeats_and_another_differs(alone, gpl_ids):
    words = ("run", harness.MODEL, *harness.ids_flag(prompt(gpl_ids, 3)), "-n", 24,
             "--temperature", "1.0")
    first = alone.json(*words, "--seed", 1)["token_ids"]
    assert alone.json(*words, "--seed", 1)["token_ids"] == first
    assert alone.json(*words, "--seed", 2)["token_ids"] != first
