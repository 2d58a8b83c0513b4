"""A prompt that is far too long: refused in words of the user's world, and nobody waits for it."""
import harness
from streams import SPECS, Stream

# A prompt of 12 MB is read to its end in more than seven seconds.
GAP_SECONDS = 4


def test_a_prompt_far_too_long_holds_up_no_other_answer(tmp_path):
    cluster = harness.Cluster(tmp_path, 1)
    try:
        at = ("--cluster", cluster.head.address)
        cluster.run("hi", "-n", 1)
        stream = Stream(cluster.place, SPECS[1], 6000, at)
        harness.wait_until("the stream does not begin", lambda: len(stream.text) > 30)
        for megabytes, words in ((12, "the context only"), (20, "a request may have")):
            prompt = "a" * (megabytes * 1_000_000)
            outcome = cluster.place.troupe("run", harness.MODEL, "--raw", "-", *at, input=prompt)
            assert outcome.status != 0, str(outcome)[:2000]
            assert f"the prompt has {len(prompt)} bytes" in outcome.err, outcome.err[:2000]
            assert words in outcome.err, outcome.err[:2000]
            assert "frame" not in outcome.err
        assert stream.process.poll() is None, "the stream was too short to show anything"
        stream.process.terminate()  # long enough for any machine, and not waited for
        stream.end()
        assert stream.longest_gap() < GAP_SECONDS
    finally:
        cluster.close()
