"""What langchain-openai gets from the server at the address in the first argument, as JSON."""
import json
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI

SERVER = {"model": "smol", "base_url": sys.argv[1] + "/v1", "api_key": "any", "max_retries": 0}
MESSAGES = [("system", "You are brief."), ("human", "Name three rivers.")]

chat = ChatOpenAI(**SERVER, temperature=0, max_tokens=16, stream_usage=True)
whole = chat.invoke(MESSAGES)
pieces = list(chat.stream(MESSAGES))
joined = pieces[0]
for piece in pieces[1:]:
    joined += piece
scored = chat.bind(logprobs=True, top_logprobs=2).invoke(MESSAGES)
chain = ChatPromptTemplate.from_messages([("system", "You are {how}."), ("human", "{question}")]) | \
    ChatOpenAI(**SERVER, temperature=1, seed=5, max_tokens=8) | StrOutputParser()
asked = {"how": "kind", "question": "Who are you?"}
errors = []
for kind, values in ((ChatOpenAI, {"model": "none"}), (ChatOpenAI, {"temperature": 1.9, "top_p": 7})):
    try:
        kind(**{**SERVER, **values}).invoke("Hello")
    except Exception as error:  # what the openai package calls it, from which the client derives
        errors += [one.__name__ for one in type(error).__mro__ if one.__module__ == "openai"][:1]

print(json.dumps({
    "whole": whole.content,
    "usage": [whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]],
    "streamed": joined.content,
    "streamed_usage": [joined.usage_metadata["input_tokens"], joined.usage_metadata["output_tokens"]],
    "batch": [answer.content for answer in chat.batch(["Say one.", "Say two."])],
    "scored": scored.response_metadata["logprobs"]["content"],
    "chain": [chain.invoke(asked), chain.invoke(asked)],
    "completion": OpenAI(**SERVER, temperature=0, max_tokens=6).invoke("The river"),
    "errors": errors,
}))
