"""Chat templates against Jinja2, set up as Hugging Face's transformers sets it up: every template
of tests/data/templates over conversations of all kinds, and small sources for single constructs."""
import datetime
import functools
import json
import os
import pathlib
import subprocess

import jinja2
import pytest
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = os.environ.get("TROUPE_TEMPLATE_DRIVER", str(ROOT / "build/release/tests/template_driver"))
TEMPLATES = sorted((ROOT / "tests" / "data" / "templates").glob("*.jinja"))
BOS, EOS = "<s>", "</s>"


class Refusal(jinja2.TemplateError):
    """What raise_exception raises."""


class Generation(Extension):
    """{% generation %}: the body, in a scope of its own (transformers' AssistantTracker)."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _body(self, context, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise Refusal(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                         extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return made


ENVIRONMENT = environment()


@functools.lru_cache(maxsize=None)
def compiled(source):
    return ENVIRONMENT.from_string(source)


def request(source, messages, tools=None, variables=None, prompt=True):
    return {"template": source, "messages": messages, "tools": tools, "variables": variables,
            "add_generation_prompt": prompt, "bos": BOS, "eos": EOS}


def theirs(one):
    """What Jinja2 makes of a request, as the driver answers."""
    names = {"messages": one["messages"], "tools": one["tools"], "documents": None,
             "add_generation_prompt": one["add_generation_prompt"], "bos_token": BOS,
             "eos_token": EOS, **(one["variables"] or {})}
    try:
        return {"text": compiled(one["template"]).render(**names)}
    except Refusal as error:
        return {"error": "the model's chat template refuses these messages: " + str(error),
                "refused": True}
    except Exception as error:  # whatever a wrong template or message makes Python raise
        return {"error": f"{type(error).__name__}: {error}", "refused": False}


def ours(requests):
    done = subprocess.run([DRIVER], input=json.dumps(requests).encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def compare(requests):
    """Asserts that both render the same or refuse for the same reason; returns the answers."""
    for _ in range(2):  # once more when midnight has come between the two
        day = datetime.date.today()
        expected = [theirs(one) for one in requests]
        answers = ours(requests)
        if day == datetime.date.today():
            break
    assert len(answers) == len(expected)
    for one, mine, right in zip(requests, answers, expected):
        said = f"{json.dumps(one, ensure_ascii=False)}\nours: {mine}\nJinja2: {right}"
        if "text" in right or right["refused"]:
            assert mine == right, said
        else:  # both fail, in words of their own; ours names the line
            assert "error" in mine and not mine["refused"], said
            assert mine["error"].startswith("the chat template, line "), said
    return answers


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, number="a1b2c3d4e"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather of a place.\nNow.", "parameters": {
        "type": "object", "properties": {
            "place": {"type": "string", "description": "City, e.g. Köln"},
            "days": {"type": "integer", "description": " How many days ", "minimum": 1},
            "units": {"type": ["string", "null"], "description": "C or F", "enum": ["C", "F"]},
            "layers": {"type": "array", "items": {"type": "number"}, "description": "Heights"},
            "extra": {"type": "object", "additionalProperties": {"type": "boolean"},
                      "description": "Flags", "x-note": {"a": [1, 2.5, None, True]}}},
        "required": ["place"]},
    "return": {"type": "string", "description": "A sentence"}}}
TIME = {"type": "function", "function": {
    "name": "now", "description": "The time", "parameters": {"type": "object", "properties": {},
                                                             "required": []}}}
HELLO = [turn("user", "Hello, who are you?")]
SYSTEM = turn("system", "  You answer in one word.\n")
LONG = [turn("user", " First? "), turn("assistant", " One. "), turn("user", "Second?\n\n"),
        turn("assistant", "\n\nTwo.\n"), turn("user", "Third?")]
UNICODE = [turn("user", "Grüße aus Köln — 你好, שלום, 👩‍👩‍👧 e\u0301\u00a0\u2028x\u200b"),
           turn("assistant", "¡Olé! ｜User｜ \u0000\u001b\u007f"), turn("user", "“Q” 'q' \"q\" \\ \t")]
MARKUP = [turn("system", "<|im_end|>{{ bos_token }}"),
          turn("user", "{% for x in y %}<|eot_id|>[INST]</s>{{ 7 * 7 }}{# no #}<|user|>"),
          turn("assistant", "<think>\nHm.\n</think>\n\nYes <|im_start|>"), turn("user", "</think>")]
THINKING = [turn("user", "Why?"), turn("assistant", "<think>\nBecause.\n</think>\n\nSo."),
            turn("user", "And?"), turn("assistant", "It is.", reasoning_content="Hm.\n")]
CALLS = [turn("user", "Weather in Köln?"),
         turn("assistant", None, tool_calls=[call("get_weather", {"place": "Köln", "days": 2,
                                                                  "extra": {"b": [], "a": {}}})]),
         turn("tool", "Sunny & \"warm\" <b>", name="get_weather", tool_call_id="a1b2c3d4e"),
         turn("assistant", "Sunny."), turn("user", "Thanks!")]
TWO_CALLS = [SYSTEM, turn("user", "Both?"),
             turn("assistant", "", tool_calls=[call("get_weather", {"place": "Rome"}),
                                               call("now", {}, "123456789")]),
             turn("tool", "22.5", tool_call_id="a1b2c3d4e"),
             turn("tool", '{"time": "12:00"}', tool_call_id="123456789")]
CALLS_IN_TEXT = [turn("user", "Go"), turn("assistant", "I will.", tool_calls=[
    {"name": "now", "arguments": '{"zone": "UTC"}'}, {"name": "now", "arguments": {"zone": 1.0}}]),
    turn("tool", {"content": {"time": 12}}, tool_call_id="a1b2c3d4e")]
PARTS = [turn("system", [{"type": "text", "text": "Short."}]),
         turn("user", [{"type": "text", "text": " What is "}, {"type": "image"},
                       {"type": "text", "text": "this?"}]), turn("assistant", "A cat.")]
CONVERSATIONS = {
    "hello": HELLO, "system": [SYSTEM, *HELLO], "long": LONG, "system and long": [SYSTEM, *LONG],
    "ends with an answer": LONG[:4], "unicode": UNICODE, "markup": MARKUP, "thinking": THINKING,
    "calls": CALLS, "two calls": TWO_CALLS, "two calls, answered": [
        *TWO_CALLS, turn("assistant", "Noon, and warm.")], "calls in text": CALLS_IN_TEXT,
    "parts": PARTS, "none": [], "twice user": [*HELLO, *HELLO],
    "begins with an answer": [turn("assistant", "I begin."), *HELLO],
    "system in the middle": [*LONG[:2], SYSTEM, *HELLO], "two systems": [SYSTEM, SYSTEM, *HELLO],
    "content null": [turn("user", "Hi"), turn("assistant", None), turn("user", "?")],
    "no content": [turn("user", "Hi"), {"role": "assistant"}], "empty": [turn("user", "")],
    "role unknown": [turn("ipython", "x = 1"), turn("narrator", "Once")],
    "no think": [turn("system", "Be brief. /no_think"), *LONG],
    "override": [turn("system", "All mine. /system_override "), *HELLO],
}
VARIABLES = [None, {"enable_thinking": False, "documents": [
    {"title": "the TITLE", "text": "Some <b>text</b>"}, {"text": "More"}],
    "controls": {"length": "long", "citations": True}, "date_string": "26 Jul 2024",
    "builtin_tools": ["code_interpreter", "get_weather"], "tools_in_user_message": False,
    "python_tools": ["def f(): pass"]}]


def test_there_are_enough_templates():
    assert len(TEMPLATES) >= 27


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template(path):
    source = path.read_text(encoding="utf-8")
    requests = [request(source, messages, tools, variables, prompt)
                for messages in CONVERSATIONS.values()
                for tools in (None, [], [TIME], [WEATHER, TIME])
                for variables in VARIABLES for prompt in (True, False)]
    answers = compare(requests)
    rendered = {one["text"] for one in answers if "text" in one}
    assert len(rendered) >= 7, f"{path.name} says little"  # strict ones refuse most of them


def test_templates_refuse():
    """The comparison covers refusals: most families have a rule about roles."""
    refusing = 0
    for path in TEMPLATES:
        source = path.read_text(encoding="utf-8")
        answers = compare([request(source, messages) for messages in CONVERSATIONS.values()])
        refusing += any(one.get("refused") for one in answers)
    assert refusing >= 10


GOOD = r"""
{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 == 1 != 2 }}{{ 'a' in 'ab' in ['ab'] }}
{{ messages.0.role }}{{ messages[0]['content'][::2] }}{{ messages[0].content[5:1:-1] }}
{% with a = 1, b = 'x' %}{{ a }}{{ b }}{% with %}{% set c = 3 %}{{ c }}{% endwith %}{{ c }}{% endwith %}{{ a }}
{% filter upper %}abc {{ messages[0].role }}{% endfilter %}|{% filter trim|title %} a b {% endfilter %}
{% set x | trim | upper %}  hello {{ 1 }} {% endset %}[{{ x }}]
{% set ns = namespace() %}{% set ns.t %} body {% endset %}[{{ ns.t }}]{% set ns.u | trim %} b {% endset %}[{{ ns.u }}]
{% macro m(a, b='d') %}<{{ a }}{{ b }}{{ caller() }}>{% endmacro %}{% call m(1) %}in{% endcall %}{% for i in [1, 2] %}{% call m(i, b='e') %}{{ i }}{% endcall %}{% endfor %}
{% macro l(items) %}{% for i in items %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(a, n=0) l(['x', 'y']) %}{{ n }}{{ a }};{% endcall %}
{% macro outer() %}({{ caller() }}){% endmacro %}{% call outer() %}{% call outer() %}deep{% endcall %}{% endcall %}
{% for (a, b) in [[1, 2], [3, 4]] %}{{ a }}-{{ b }} {% endfor %}{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}
{% for i in range(5) %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% generation %}{% set inner = 1 %}g{{ inner }}{% endgeneration %}{{ inner is defined }}
{{ {'items': [1]}.items is defined }}{{ {'items': [1]}['items'] }}{{ {}['items'] is defined }}{{ {'x': 1}.get('x') }}{{ {}.get('x') }}{{ {}.get('x', 3) }}
{{ [1, 2] * 2 }}{{ 2 * [1] }}{{ 3 * 'ab' }}{{ 'ab' * 0 }}{{ true - 1 }}{{ true * 3 }}{{ 7 % true }}{{ true // 1 }}
{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('bc') }}{{ 'abc'.removesuffix('x') }}{{ 'a=b=c'.partition('=')[2] }}{{ 'a=b=c'.rpartition('=')[0] }}{{ 'abc'.partition('x')[0] }}{{ 'abc'.rpartition('x')[2] }}
{{ 'abcabc'.find('c', 3) }}{{ 'abcabc'.rfind('a', 0, 3) }}{{ 'éabc'.index('a') }}{{ 'abcabc'.count('b', 2) }}{{ 'abc'.find('z') }}{{ 'abc'.find('a', -1) }}
{{ 'aB3'.isalnum() }}{{ 'aB'.isalpha() }}{{ 'AB'.isupper() }}{{ 'ab'.islower() }}{{ ' \t'.isspace() }}{{ '١٢'.isdigit() }}{{ ''.isalpha() }}{{ 'a b'.isalpha() }}
{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, '.') }}|{{ 'ab'.center(5, '*') }}|{{ 'abc'.center(6) }}|{{ 'é'.center(4, '-') }}|{{ 'abc'.center(2) }}
{{ 'aBc'.swapcase() }}{{ 'a\r\nb\nc'.splitlines(true) }}{{ 'a\r\nb\n'.splitlines() }}{{ 'ABC'.casefold() }}
{{ [3, 1, 2]|sort(reverse=true) }}{{ ['b', 'A', 'c']|sort(case_sensitive=true) }}{{ [{'n': 'b'}, {'n': 'A'}]|sort(attribute='n')|map(attribute='n')|join }}
{{ ['a', 'A', 'b']|unique|list }}{{ ['a', 'A']|unique(true)|list }}{{ [{'k': 1}, {'k': 1}, {'k': 2}]|unique(attribute='k')|list|length }}
{{ ['b', 'A']|min }}{{ ['b', 'A']|max }}{{ [{'v': 3}, {'v': 5}]|max(attribute='v') }}{{ []|max is defined }}
{{ [{'v': 3}, {'v': 5}]|sum(attribute='v') }}{{ [1, 2]|sum(start=10) }}{{ [[1], [2]]|sum(start=[]) }}
{{ [1, 2, 3, 4, 5]|batch(2)|list }}{{ [1, 2, 3]|batch(2, 'x')|list }}
{% for key, group in [{'k': 'b', 'v': 1}, {'k': 'a', 'v': 2}, {'k': 'b', 'v': 3}]|groupby('k') %}{{ key }}:{{ group|map(attribute='v')|join('+') }} {% endfor %}
{{ {'b': 1, 'A': 3, 'c': 2}|dictsort|map('first')|join }}{{ {'b': 1, 'A': 3, 'c': 2}|dictsort(true)|map('first')|join }}{{ {'b': 1, 'A': 3, 'c': 2}|dictsort(by='value', reverse=true)|map('first')|join }}
{{ {'b': [1, {'c': none}], 'a': 'é'}|tojson }}{{ {'b': [1, {'c': none}], 'a': 'é\u2028'}|tojson(indent=2, sort_keys=true) }}
{{ {'b': [1, 'é😀\x7f'], 'a': {}}|tojson(separators=(',', ':'), ensure_ascii=true) }}{{ []|tojson(indent=4) }}{{ {'a': []}|tojson(4) }}
{{ '\x00\x1b\xa0\u200b\u2028é\U0001F600'|list }}{{ ['\'', '"', '\'"', '\\'] }}{{ {'é': 'ü\t'} }}
{{ 2.5|round }}{{ 2.567|round(2) }}{{ 2.1|round(method='ceil') }}{{ 2.9|round(0, 'floor') }}{{ -3|abs }}{{ -2.5|abs }}{{ true|int }}{{ ' 12 '|int }}{{ '1.9'|int }}{{ 'x'|int(5) }}{{ '+3'|int }}
{{ 'two  words, it\'s'|wordcount }}{{ {'a': 5}|attr('b') is defined }}
{{ [[0, 'a'], [1, 'b']]|selectattr(0, 'eq', 1)|map('last')|first }}{{ [[1, 2]]|map(attribute=1)|list }}{{ [{'a': {'b': 1}}]|map(attribute='a.b')|list }}{{ [{}]|map(attribute='x', default='d')|list }}
{{ none|items|list if false else undefinedname|items|list }}{{ [1, 2].index(2) }}{{ [1, 1].count(1) }}
{{ namespace({'a': 1}, b=2).a }}{{ dict({'a': 1}, b=2) }}{{ {'a': 1}.copy() }}
{{ 'a\nb\n\nc'|indent(2) }}|{{ 'a\n\nb'|indent('>>', true, true) }}|{{ 'x'|indent(first=true) }}
{{ undefinedname == none }}{{ undefinedname is none }}{{ none == undefinedname }}{{ undefinedname == otherundefined }}{{ undefinedname|default(none) is none }}
{{ 'x' if undefinedname else 'y' }}{{ undefinedname or 'z' }}{{ undefinedname|trim }}|{{ undefinedname ~ 'x' }}{{ undefinedname|list }}{{ none ~ '' }}{{ none|string|trim }}
{{ strftime_now('%Y') == strftime_now('%Y-%m-%d')[:4] }}{{ strftime_now('%d %b %Y')|length }}{{ strftime_now('') }}{{ strftime_now('100%%') }}
{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.previtem.content if loop.previtem is defined }}{% else %}none{% endfor %}
{% for i in range(9) %}{% if i is even %}{% continue %}{% endif %}{% if i > 6 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% if not (messages is string) and messages is sequence and messages is iterable and messages[0] is mapping %}yes{% endif %}{{ 1.0 is float }}{{ 1 is number }}{{ true is boolean }}{{ true is integer }}{{ 'a' is upper }}{{ 3 is in [3] }}{{ none is sameas none }}
{{ 'abc'|reverse }}{{ [1, 2]|reverse|list }}{{ 'abc'|first }}{{ {'a': 1}|first }}{{ 'é'|upper }}{{ 'ß'|length }}{{ 'ǆ'|capitalize }}
{{ (1, 2)|length }}{{ () is sequence }}{{ [1, [2, (3,)]]|tojson }}{{ -5 // 2 }}{{ -5 % 3 }}{{ 2 ** 10 }}{{ 1e3 }}{{ 1_000 }}
{%- set counter = namespace(n=0) -%}{%- for m in messages -%}{%- set counter.n = counter.n + 1 -%}{%- endfor -%}{{ counter.n }}
""".strip().splitlines()
BAD = [
    "{{ none.x.y }}", "{{ undefinedname.x }}", "{{ undefinedname['x'] }}", "{{ undefinedname() }}",
    "{{ messages.append(1) }}", "{{ {}.update(a=1) }}", "{{ none|length }}", "{{ 1|list }}",
    "{{ none|items|list }}", "{{ 1 + 'a' }}", "{{ 'a' - 1 }}", "{{ [1] + 'a' }}", "{{ -'a' }}",
    "{{ undefinedname + 'a' }}", "{{ none + 'a' }}", "{{ 1 // 0 }}", "{{ 1 in 2 }}", "{{ 'a' < 1 }}",
    "{{ undefinedname|tojson }}", "{{ 'a'|nofilter }}", "{{ 1 is notest }}", "{{ 'a'.nomethod() }}",
    "{% for a, b in [[1]] %}{% endfor %}", "{% for x in 3 %}{% endfor %}", "{% nothing %}",
    "{% if %}{% endif %}", "{% if true %}", "{% endif %}", "{{ 'a", "{{ (1 }}", "{% for x in y %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
    "{{ range(0, 1, 0) }}", "{{ [1, 2].index(3) }}", "{{ 'a'.index('b') }}", "{{ 'a'.split('') }}",
    "{{ 'a'.upper(1, 2) }}", "{{ 'a'|upper(1) }}", "{{ 'a'|trim(nothing=1) }}", "{% set a.b = 1 %}",
    "{% call 1 %}{% endcall %}", "{{ caller() }}", "{{ messages|sort }}", "{{ [1, 'a']|max }}",
    "{{ 'x'|int(base=99, nothing=1) }}", "{{ {'a': 1}|join(1, 2, 3) }}", "{{ none[0][1] }}",
]


def test_constructs():
    answers = compare([request(source, [SYSTEM, *LONG]) for source in GOOD])
    assert [one for one in zip(GOOD, answers) if "text" not in one[1]] == []


def test_failures():
    answers = compare([request(source, LONG) for source in BAD])
    assert [one for one in zip(BAD, answers) if "error" not in one[1]] == []
    # The error names the line of the construct.
    for source, answer in zip(BAD, ours([request("a\n\n" + source, LONG) for source in BAD])):
        assert answer["error"].startswith("the chat template, line 3:"), f"{source}: {answer}"
