"""A model that fits several times: more of it where there is enough to do, and the same tokens."""
import concurrent.futures

import pytest

import harness
from test_failure import wait_until
from test_same_tokens import SEEDED

LAYERS = "0-29"


def prompts(count):
    return [f"{100 + i},{200 + 3 * i},{300 + 7 * i}" for i in range(count)]


@pytest.fixture
def cluster(tmp_path):
    made = harness.Cluster(tmp_path, 2)
    yield made
    made.close()


def ask(cluster, ids, tokens=48):
    return cluster.place.json("run", harness.MODEL, "--prompt-ids", ids, "-n", tokens, *SEEDED, "--layers",
                              LAYERS, "--cluster", cluster.head.address)


def deployments(cluster):
    return cluster.status()["deployments"]


def ask_all(cluster, count):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda ids: ask(cluster, ids), prompts(count)))


def test_a_busy_model_gets_replicas(cluster, alone):
    """As many as fit beside each other; answers do not depend on which was asked."""
    expected = [alone.json("run", harness.MODEL, "--prompt-ids", ids, "-n", 48, *SEEDED)["token_ids"]
                for ids in prompts(6)]
    ask(cluster, prompts(1)[0])
    ask_all(cluster, 2)
    assert len(deployments(cluster)) == 1, "two streams are no reason"

    def all_three():
        got = ask_all(cluster, 6)
        assert [answer["token_ids"] for answer in got] == expected
        return len(deployments(cluster)) == 3

    wait_until("not replicated", all_three, timeout=60)
    wait_until("not loaded",
               lambda: all(d["state"] == "ready" for d in deployments(cluster)), timeout=30)
    got = ask_all(cluster, 6)
    assert [answer["token_ids"] for answer in got] == expected
    assert {answer["nodes"][0]["name"] for answer in got} == {"head", "node-1", "node-2"}
    assert [d["replica"] for d in deployments(cluster)] == [False, True, True]
    names = cluster.place.troupe("ps", "--cluster", cluster.head.address).out
    assert names.count(" (replica)  ready") == 2 and names.count("  ready") == 3, names
    stages = [stage for d in deployments(cluster) for stage in d["stages"]]
    assert len({stage["node"] for stage in stages}) == 3
    # All replicas are unloaded together.
    cluster.place.json("unload", harness.MODEL, "--cluster", cluster.head.address)
    assert deployments(cluster) == []


def test_a_replica_that_dies(cluster, alone):
    """Its answers go on elsewhere, without a token lost, repeated or different."""
    expected = [alone.json("run", harness.MODEL, "--prompt-ids", ids, "-n", 300, *SEEDED)["token_ids"]
                for ids in prompts(6)]
    ask(cluster, prompts(1)[0])
    wait_until("not replicated",
               lambda: ask_all(cluster, 6) and len(deployments(cluster)) == 3, timeout=60)
    wait_until("not loaded",
               lambda: all(d["state"] == "ready" for d in deployments(cluster)), timeout=30)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, cluster, ids, 300) for ids in prompts(6)]

        def tokens_there():
            return [d["tokens"] for d in deployments(cluster)
                    if d["stages"][0]["node"] == "node-1" and d["running"] > 0]

        wait_until("node-1 answers nobody", tokens_there)
        seen = tokens_there()[0]
        wait_until("no tokens from node-1", lambda: tokens_there() and tokens_there()[0] > seen)
        cluster.nodes[0].kill()
        assert [answer.result()["token_ids"] for answer in answers] == expected
    assert cluster.status()["counters"]["replays"] > 0
    # Beside another replica, the replica only finished the answers that it had begun.
    wait_until("still beside another", lambda: len(deployments(cluster)) == 2)
    assert len({stage["node"] for d in deployments(cluster) for stage in d["stages"]}) == 2


def test_a_plan_of_replicas(cluster):
    """The plan says where replicas would lie, and only when streams gain: the nodes share this
    machine's cores while they are measured, so either may come of it."""
    plan = cluster.place.json("plan", harness.MODEL, "--layers", LAYERS, "--cluster",
                              cluster.head.address)
    assert all([s["layers"] for s in replica] == [LAYERS] for replica in plan["replicas"])
    one, all_of_them = plan["prediction"]["streams_tok_s"], plan["with_replicas"]
    if plan["replicas"]:
        assert all_of_them["streams_tok_s"] >= 1.1 * one
    else:
        assert all_of_them is None


def test_a_split_of_two_on_four_nodes(tmp_path):
    """Replicas are split as was asked."""
    cluster = harness.Cluster(tmp_path, 3)
    try:
        words = ("run", harness.MODEL, "--prompt-ids", "5,6,7", "-n", 64, "--layers", "0-14,15-29",
                 "--cluster", cluster.head.address)
        cluster.place.json(*words)

        def two():
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                list(pool.map(lambda _: cluster.place.json(*words), range(5)))
            return len(deployments(cluster)) == 2

        wait_until("not replicated", two, timeout=60)
        stages = [stage for d in deployments(cluster) for stage in d["stages"]]
        assert sorted(stage["layers"] for stage in stages) == ["0-14", "0-14", "15-29", "15-29"]
        assert len({stage["node"] for stage in stages}) == 4
    finally:
        cluster.close()
