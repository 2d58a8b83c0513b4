"""Adapts what schemathesis generates from /openapi.json to the one model that the server has."""
import schemathesis

# Tokens that a request may ask for, by the description.
TOKENS_MAX = 1 << 24
VOCABULARY = 96  # ids of characters


def is_whole(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def plain(value):
    """Texts and ids that the model's tokenizer knows; what is neither stays as it is."""
    if isinstance(value, str):
        return "".join(c if " " <= c <= "~" else "?" for c in value)[:100] or "?"
    if is_whole(value, 0, 2147483647):
        return value % VOCABULARY
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


@schemathesis.hook
def map_body(_context, body):
    """Valid requests are for the one model and ask for little; what is invalid stays as it is."""
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("model"), str):
        body["model"] = "tiny"
    for name in ("max_tokens", "max_completion_tokens"):
        if is_whole(body.get(name), 4, TOKENS_MAX):
            body[name] = 3
    if is_whole(body.get("n"), 3, 128):
        body["n"] = 2
    for name in ("prompt", "tokens"):
        if name in body:
            body[name] = plain(body[name])
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            message["content"] = plain(message["content"])
    return body
