"""Programs that people put in front of an OpenAI-compatible server, unmodified, in processes of
their own (tests/e2e/clients)."""
import json
import math

import pytest

import harness
import http_server
from tiny_folder import CHAT, Folder

RIVERS = [{"role": "system", "content": "You are brief."},
          {"role": "user", "content": "Name three rivers."}]
LM_EVAL = harness.ROOT / "build" / "lm-eval"
LITELLM = harness.ROOT / "build" / "litellm"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = harness.Place(tmp_path_factory.mktemp("clients"))
    place.env["TROUPE_CLUSTER"] = "none"
    yield http_server.Server(place)
    place.close()


def chat(server, messages, **more):
    return server.json("POST", "/v1/chat/completions",
                       {"model": "smol", "messages": messages, "max_tokens": 16, "temperature": 0, **more})


def text(server, messages, **more):
    return chat(server, messages, **more)["choices"][0]["message"]["content"]


def completion(server):
    return server.json("POST", "/v1/completions", {"model": "smol", "prompt": "The river",
                                                   "max_tokens": 6, "temperature": 0})["choices"][0]["text"]


def output_of(ran):
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def user(words):
    return [{"role": "user", "content": words}]


def test_langchain(server):
    got = output_of(http_server.run_client(
        "langchain_openai", http_server.SCRIPTS / "langchain_client.py", server.url,
        env={"LANGSMITH_TRACING": "false"}))
    expected = chat(server, RIVERS)
    usage = [expected["usage"]["prompt_tokens"], expected["usage"]["completion_tokens"]]
    assert got["whole"] == got["streamed"] == expected["choices"][0]["message"]["content"]
    assert got["usage"] == got["streamed_usage"] == usage
    assert got["batch"] == [text(server, user(f"Say {word}.")) for word in ("one", "two")]
    scored = chat(server, RIVERS, logprobs=True, top_logprobs=2)
    assert got["scored"] == scored["choices"][0]["logprobs"]["content"]
    kind = [{"role": "system", "content": "You are kind."}, *user("Who are you?")]
    assert got["chain"] == [text(server, kind, temperature=1, seed=5, max_tokens=8)] * 2
    assert got["completion"] == completion(server)
    assert got["errors"] == ["NotFoundError", "BadRequestError"]


def test_litellm(server):
    got = output_of(http_server.run_client(
        "litellm", http_server.SCRIPTS / "litellm_client.py", server.url, folder=LITELLM,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"}))
    expected = chat(server, RIVERS)
    usage = [expected["usage"]["prompt_tokens"], expected["usage"]["completion_tokens"]]
    assert got["whole"] == got["streamed"] == expected["choices"][0]["message"]["content"]
    assert got["usage"] == got["streamed_usage"] == usage
    assert got["choices"] == [got["whole"]] * 2
    assert got["scored"] == len(chat(server, RIVERS, logprobs=True)["choices"][0]["logprobs"]["content"])
    assert got["completion"] == completion(server)
    assert got["errors"] == ["NotFoundError", "BadRequestError", "ContextWindowExceededError"]


QUESTIONS = [("a b c d e f", [" g", " h", " zebra"], 0), ("Roses are", [" red", " four"], 0),
             ("2 + 2 =", [" 4", " 5", " fish"], 0)]
TASK = """task: troupe_questions
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.mark.no_model
def test_lm_eval(place, tmp_path):
    """The sums that lm-eval makes of the server's numbers are those of the continuation's tokens."""
    place.env["TROUPE_CLUSTER"] = "none"
    folder = Folder(tmp_path / "tiny", {"chat_template": CHAT, "eos_token": "</s>", "bos_token": "<s>",
                                        "tokenizer_class": "PreTrainedTokenizerFast"}, context=512)
    server = http_server.Server(place, models=("--alias", f"tiny={folder.path}"))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps({"question": question, "choices": choices, "answer": answer}) + "\n"
                            for question, choices, answer in QUESTIONS))
    (tasks / "questions.yaml").write_text(TASK.format(data=data))
    ran = http_server.run_client(
        "lm_eval", "-m", "lm_eval", "run", "--model", "local-completions", "--model_args",
        f"model=tiny,base_url={server.url}/v1/completions,tokenizer_backend=huggingface,"
        f"tokenizer={folder.path},num_concurrent=2,max_retries=1,max_length=512",
        "--tasks", "troupe_questions", "--include_path", tasks, "--output_path", tmp_path / "out",
        "--log_samples", "--batch_size", 2, folder=LM_EVAL,
        env={"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
             "HOME": str(tmp_path)})
    assert ran.returncode == 0, ran.stderr[-4000:]
    [samples] = (tmp_path / "out").rglob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(lines) == len(QUESTIONS)
    for line, (question, choices, _) in zip(sorted(lines, key=lambda line: line["doc_id"]), QUESTIONS):
        for [[total, greedy]], choice in zip(line["resps"], choices):
            lists = server.json("POST", "/v1/completions", {
                "model": "tiny", "prompt": question + choice, "max_tokens": 0, "echo": True,
                "logprobs": 1})["choices"][0]["logprobs"]
            own = [i for i, offset in enumerate(lists["text_offset"]) if offset >= len(question)]
            numbers = [lists["token_logprobs"][i] for i in own]
            assert math.isclose(float(total), sum(numbers), rel_tol=1e-12)
            best = [max(lists["top_logprobs"][i].values()) for i in own]
            assert str(greedy) == str(numbers == best)
    assert server.stop() == 0
