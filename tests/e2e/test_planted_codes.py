"""Keys share a server's memory and nothing else: no answer has another session's code, and usage tells nobody what
another key has asked. TROUPE_PLANTED_SESSIONS=N runs more; tools/bench/planted_codes.py measures first tokens."""
import os
import sys

import harness

sys.path.insert(0, str(harness.ROOT / "tools" / "bench"))
import planted_codes  # noqa: E402  (after the path is set)

SESSIONS = int(os.environ.get("TROUPE_PLANTED_SESSIONS", "11"))


def test_sessions_of_other_keys_stay_apart(tmp_path):
    head = planted_codes.Head(tmp_path, harness.MODEL, keys=3, memory="183MiB", threads=2)
    try:
        found = planted_codes.planted(head, SESSIONS, together=4, seed=5)
        assert found["foreign"] == 0, found
        assert found["own"] > found["answers"] // 2, found  # the codes can be seen in answers
        assert found["cached_tokens"] > 0, found            # keys do find their own blocks
        # There is less room than for all blocks that were looked up and not found.
        asked = sum(head.metric(f"troupe_key_prefix_{name}_tokens_total") * sign
                    for name, sign in (("queried", 1), ("found", -1)))
        assert asked / 64 > found["blocks_max"] / 2, found
        probed = planted_codes.probe(head, 5, seed=5)
        assert probed["probe_cached_tokens"] == 0, probed
    finally:
        head.close()


def test_the_area_under_the_curve_is_that_of_all_pairs():
    assert planted_codes.auc([1, 2, 3], [4, 5]) == 1
    assert planted_codes.auc([4, 5], [1, 2, 3]) == 0
    assert planted_codes.auc([1, 1], [1]) == 0.5
    assert planted_codes.auc([1, 3], [2, 2, 4]) == 4 / 6
