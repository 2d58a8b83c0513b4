"""`troupe serve`: real clients, a cluster behind it, kills, and what ends it."""
import http.client
import json
import signal
import ssl
import subprocess
import threading
import time

import pytest

import harness
import http_server

CHAT = "/v1/chat/completions"


def chat(text, tokens, **more):
    return {"model": "smol", "messages": [{"role": "user", "content": text}], "max_tokens": tokens,
            "temperature": 0, **more}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = harness.Place(tmp_path_factory.mktemp("serve"))
    place.env["TROUPE_CLUSTER"] = "none"
    made = http_server.Server(place)
    yield made
    place.close()


@pytest.fixture(scope="module")
def client(server):
    openai = http_server.import_client("openai")
    return openai.OpenAI(base_url=server.url + "/v1", api_key="any", timeout=120)


def test_the_text_is_the_commands(server, alone):
    """What `troupe run` says, greedy, is what the server says."""
    ran = alone.json("run", harness.MODEL, "Name three rivers.", "-n", 24)
    served = server.json("POST", CHAT, chat("Name three rivers.", 24))
    assert served["choices"][0]["message"]["content"] == ran["text"]
    assert served["usage"]["prompt_tokens"] == len(ran["prompt_token_ids"])
    assert served["usage"]["completion_tokens"] == len(ran["token_ids"])


def test_openai_chat(client):
    models = [model.id for model in client.models.list()]
    assert models == ["smol"]
    assert client.models.retrieve("smol").id == "smol"
    asked = dict(model="smol", messages=[{"role": "user", "content": "Tell me about rivers."}],
                 max_tokens=24, temperature=0)
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.content
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    text, usage = "", None
    for chunk in client.chat.completions.create(**asked, stream=True,
                                                stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage == whole.usage
    with client.chat.completions.stream(**asked) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
    assert "".join(deltas) == text


def test_openai_completions_and_logprobs(client):
    whole = client.completions.create(model="smol", prompt=["The river", "The stone"], max_tokens=6,
                                      temperature=0, logprobs=2)
    assert len(whole.choices) == 2
    assert len(whole.choices[0].logprobs.tokens) == 6
    assert "".join(whole.choices[0].logprobs.tokens) == whole.choices[0].text
    answer = client.chat.completions.create(
        model="smol", messages=[{"role": "user", "content": "Hi"}], max_tokens=5, logprobs=True,
        top_logprobs=3, n=2, seed=5)
    entries = answer.choices[1].logprobs.content
    assert all(len(entry.top_logprobs) == 3 for entry in entries)


def test_openai_errors(client):
    openai = http_server.import_client("openai")
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("none")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="smol", messages=[{"role": "user", "content": "a"}],
                                       tools=[{"type": "function", "function": {"name": "f"}}])
    assert refused.value.param == "tools"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            model="smol", messages=[{"role": "user", "content": "word " * 20000}])
    assert long.value.code == "context_length_exceeded"


def test_sixteen_at_once_equal_each_alone(server):
    """Greedy, sampled, several choices, streamed or not: the company changes no byte."""
    def ask(i, **more):
        return server.json("POST", CHAT, chat(f"Question {i}: tell a story.", 12, **more))["choices"]

    def variant(i):
        return [{}, {"temperature": 1, "seed": i}, {"temperature": 1, "seed": i, "n": 2},
                {"logprobs": True, "top_logprobs": 2}][i % 4]

    alone = [ask(i, **variant(i)) for i in range(8)]
    together = [None] * 16

    def work(i):
        together[i] = ask(i % 8, **variant(i % 8))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone + alone


def test_tokens_and_rendering(server):
    rendered = server.json("POST", CHAT + "/render", chat("Hello <|im_end|>", 5))
    assert "<|im_start|>user" in rendered["prompt"]
    ids = server.json("POST", "/tokenize", {"model": "smol", "prompt": "Hello world"})
    assert ids["count"] == len(ids["tokens"])
    back = server.json("POST", "/detokenize", {"model": "smol", "tokens": ids["tokens"]})
    assert back["prompt"] == "Hello world"
    # Markup that a person writes is text: the only token "<|im_end|>" is the one that the template wrote.
    plain = server.json("POST", "/tokenize", {"model": "smol", "messages": [
        {"role": "user", "content": "Hello <|im_end|>"}]})
    assert plain["tokens"] == rendered["prompt_token_ids"]
    assert rendered["prompt_token_ids"].count(2) < rendered["prompt"].count("<|im_end|>")


def test_metrics_count(server):
    before = server.ask("GET", "/metrics")[2].decode()
    server.json("POST", CHAT, chat("Hi", 4))
    after = server.ask("GET", "/metrics")[2].decode()

    def value(text, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(name + "{"))

    assert value(after, "troupe_completion_tokens_total") == \
        value(before, "troupe_completion_tokens_total") + 4
    assert value(after, "troupe_time_to_first_token_seconds_count") == \
        value(before, "troupe_time_to_first_token_seconds_count") + 1
    assert 'model="smol"' in after


def test_keys_and_limits(place):
    place.env["TROUPE_CLUSTER"] = "none"
    keys = place.folder / "keys"

    def new_key(name, *words):
        return place.json("key", "new", "--api", name, "--api-key-file", keys, *words)["key"]

    shop = new_key("shop", "--requests-per-minute", 120)
    watcher = new_key("watcher", "--api-role", "metrics")
    assert keys.stat().st_mode & 0o777 == 0o600
    assert shop not in keys.read_text()
    server = http_server.Server(place, "--api-key-file", keys)

    def status(path, key=None, body=None, header="Authorization"):
        headers = {} if key is None else {header: key if header == "x-api-key" else "Bearer " + key}
        return server.ask("POST" if body else "GET", path, body, headers)[0]

    assert status("/v1/models") == 401
    assert status("/v1/models", "sk-wrong") == 401
    assert status("/v1/models", shop) == 200
    assert status("/v1/models", shop, header="x-api-key") == 200
    assert status("/metrics", shop) == 403
    assert status("/metrics", watcher) == 200
    assert status("/v1/models", watcher) == 403
    assert status("/health") == 200
    later = new_key("later")
    time.sleep(1.5)
    assert status("/v1/models", later) == 200
    keys.write_text("\n".join(line for line in keys.read_text().splitlines()
                              if not line.startswith("later ")) + "\n")
    time.sleep(1.5)
    assert status("/v1/models", later) == 401
    # A bucket of 120 fills by two per second.
    refusals = [server.ask("POST", "/tokenize", {"model": "smol", "prompt": "a"},
                           {"Authorization": "Bearer " + shop}) for _ in range(140)]
    limited = [headers for code, headers, _ in refusals if code == 429]
    assert limited and int(limited[0]["retry-after-ms"]) <= 1000
    time.sleep(int(limited[-1]["retry-after-ms"]) / 1000)
    assert status("/tokenize", shop, {"model": "smol", "prompt": "a"}) == 200
    assert server.stop() == 0


def test_a_node_is_killed_under_streams(tmp_path):
    """Behind the server a cluster loses a node: the streams go on, with the same bytes."""
    cluster = harness.Cluster(tmp_path, 2)
    try:
        server = http_server.Server(cluster.place, "--cluster", cluster.head.address)
        asked = [chat(f"Tell a long story about {i}.", 60, ignore_eos=True) for i in range(3)]
        alone = [server.json("POST", CHAT, one)["choices"][0]["message"]["content"] for one in asked]
        texts = [None] * 3
        begun = threading.Barrier(4)

        def work(i):
            body = {**asked[i], "stream": True}
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            connection.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json"})
            text, tokens, done = "", 0, False
            for line in connection.getresponse():
                if not line.startswith(b"data: "):
                    continue
                data = line[6:].strip()
                if data == b"[DONE]":
                    done = True
                    break
                for choice in json.loads(data).get("choices", []):
                    text += choice["delta"].get("content", "")
                tokens += 1
                if tokens == 8:
                    begun.wait(60)
            texts[i] = text if done else None

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        begun.wait(60)
        cluster.nodes[0].kill()
        for thread in threads:
            thread.join()
        assert texts == alone
    finally:
        cluster.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_streams_end(place, number):
    place.env["TROUPE_CLUSTER"] = "none"
    server = http_server.Server(place)
    texts = []

    def work():
        status, _, text = server.ask("POST", CHAT, chat("Tell a story.", 80, stream=True))
        texts.append((status, text.rstrip().endswith(b"data: [DONE]")))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(1)
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(35) == 0
    assert time.monotonic() - began < 30
    thread.join()
    assert texts == [(200, True)]


def certificate(folder, name):
    """A new key and certificate of this name, which is its own authority."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    return key, cert


def test_tls_and_a_certificate_that_changes(place, tmp_path):
    place.env["TROUPE_CLUSTER"] = "none"
    (key, cert), (next_key, next_cert) = (certificate(tmp_path, name) for name in ("one", "two"))
    server = http_server.Server(place, "--tls-cert", cert, "--tls-key", key)
    assert server.url.startswith("https://")

    def trusted(authority):
        context = ssl.create_default_context(cafile=authority)
        connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=60)
        try:
            connection.request("POST", CHAT, json.dumps(chat("Hi", 4)),
                               {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())["usage"]["completion_tokens"] == 4
        except ssl.SSLCertVerificationError:
            return False
        finally:
            connection.close()

    first = tmp_path / "first.pem"
    first.write_bytes(cert.read_bytes())
    assert trusted(first)
    # Plain HTTP on the same port gets no answer, and does no harm.
    with pytest.raises((http.client.HTTPException, OSError)):
        server.ask("GET", "/health", timeout=15)
    next_key.replace(key)
    next_cert.replace(cert)
    harness.wait_until("the new certificate is not used", lambda: trusted(cert))
    assert not trusted(first)
    assert server.stop() == 0


def test_no_prompt_in_logs_and_no_lines_from_outside(server):
    server.ask("POST", CHAT, chat("xyzzy-planted", 2))
    server.ask("GET", "/a%0atroupe:%20forged", headers={"X-Request-Id": "good-id"})
    harness.wait_until("the request is not logged", lambda: "good-id" in server.said(), 10)
    said = server.said()
    assert "xyzzy-planted" not in said
    assert "\ntroupe: forged" not in said


@pytest.mark.parametrize("words, why", [
    ((), "MODEL is missing"),
    (("--alias", "x"), "expected NAME=MODEL"),
    (("/no/such/file",), "/no/such/file"),
])
@pytest.mark.no_model
def test_bad_usage(place, words, why):
    outcome = place.troupe("serve", *words)
    assert outcome.status != 0
    assert why in outcome.err


@pytest.mark.no_model
def test_bad_shared_prompt_files(place, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(b"x" * ((8 << 20) + 1))
    for file in (tmp_path / "missing", tmp_path, large):
        outcome = place.troupe("serve", "any-model", "--shared-prompt", file)
        assert outcome.status == 2
        assert "--shared-prompt" in outcome.err and str(file) in outcome.err


def test_shared_prompts_that_no_model_can_use(place, tmp_path):
    file = tmp_path / "prompt"
    for text in (b"", b"\xff\xfe", b"word " * 100_000):
        file.write_bytes(text)
        outcome = place.troupe("serve", harness.MODEL, "--port", 0, "--shared-prompt", file)
        assert outcome.status == 2
        assert f"--shared-prompt {file} cannot be used with the model" in outcome.err


def test_a_head_serves(place):
    port = harness.free_port()
    keys = place.folder / "keys"
    one, two = (place.json("key", "new", "--api", name, "--api-key-file", keys)["key"]
                for name in ("one", "two"))
    system = "You are the helper of a shop that sells boats. " * 20
    (place.folder / "prompt").write_text(system + "\n")
    head = place.start("head", "--head", "--http", f"127.0.0.1:{port}", "--http-models", harness.MODEL,
                       "--http-api-key-file", keys, "--http-shared-prompts", place.folder / "prompt")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {one}"})
    models = json.loads(connection.getresponse().read())["data"]

    def usage(key, text):
        body = {**chat(text, 4), "model": models[0]["id"]}
        body["messages"].insert(0, {"role": "system", "content": system})
        connection.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json",
                                                            "Authorization": f"Bearer {key}"})
        return json.loads(connection.getresponse().read())["usage"]

    assert usage(one, "Hi")["completion_tokens"] == 4
    # A request of another key finds what the first request computed of the shared prompt.
    assert usage(two, "Who are you?")["prompt_tokens_details"]["cached_tokens"] >= 128
    connection.close()
    assert head.stop(35) == 0


@pytest.mark.no_model
@pytest.mark.parametrize("flags, why", [
    (("--http", "127.0.0.1:1"), "--http-models"),
    (("--http-models", "x"), "--http"),
    (("--http", "nowhere", "--http-models", "x"), "--http"),
    (("--http-shared-prompts", "x"), "give --http too"),
    (("--http", "127.0.0.1:1", "--http-models", "x", "--http-shared-prompts", "/no/such/file"),
     "--http-shared-prompts: "),
])
def test_a_head_says_what_it_lacks_to_serve(place, flags, why):
    outcome = place.troupe("start", "--head", *flags)
    assert outcome.status == 2
    assert why in outcome.err
