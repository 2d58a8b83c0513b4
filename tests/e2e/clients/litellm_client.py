"""What litellm gets from the server at the address in the first argument, as JSON."""
import json
import sys

import litellm

SERVER = {"api_base": sys.argv[1] + "/v1", "api_key": "any", "num_retries": 0}
ASKED = {**SERVER, "model": "openai/smol", "temperature": 0, "max_tokens": 16,
         "messages": [{"role": "system", "content": "You are brief."},
                      {"role": "user", "content": "Name three rivers."}]}


def usage(answer):
    return [answer.usage.prompt_tokens, answer.usage.completion_tokens]


whole = litellm.completion(**ASKED)
chunks = list(litellm.completion(**ASKED, stream=True, stream_options={"include_usage": True}))
# If no chunk without choices tells the number of tokens, litellm counts them again.
built = litellm.stream_chunk_builder(chunks, messages=ASKED["messages"])
scored = litellm.completion(**ASKED, logprobs=True, top_logprobs=2, n=2)
text = litellm.text_completion(**SERVER, model="text-completion-openai/smol", prompt="The river",
                               temperature=0, max_tokens=6)
errors = []
for wrong in ({"model": "openai/none"}, {"top_p": 7},
              {"messages": [{"role": "user", "content": "word " * 20000}]}):
    try:
        litellm.completion(**{**ASKED, **wrong})
    except Exception as error:  # the client's own classes, by their names
        errors.append(type(error).__name__)

print(json.dumps({
    "whole": whole.choices[0].message.content,
    "usage": usage(whole),
    "streamed": built.choices[0].message.content,
    "streamed_usage": usage(built),
    "choices": [choice.message.content for choice in scored.choices],
    "scored": len(scored.choices[0].logprobs.content),
    "completion": text.choices[0].text,
    "errors": errors,
}))
