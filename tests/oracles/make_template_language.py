"""Records what Jinja2, set up as transformers sets it up, makes of the constructs of its language.

Each line of LANGUAGE is a template of its own. The answer is its text, or that it fails. Run it
where jinja2 is installed:
    python3 tests/oracles/make_template_language.py > tests/data/templates/language.json
"""
import json

from test_templates import LONG, SYSTEM, request, theirs

LANGUAGE = r"""
{{ "%s is %d" % ("a", 3) }}{{ "{}-{:>4}".format("x", 7) }}{{ "%s/%s"|format(1, 2) }}{{ "%05.1f" % 3.14159 }}
{{ "%-6s|%6s|%+d|% d|%x|%X|%o|%c|%%|%r" % ("ab", "cd", 3, 4, 255, 255, 8, "z", "q") }}
{{ "%(a)s %(b)03d" % {"a": "x", "b": 7} }}{{ "%s" % [1, "a"] }}{{ "%s" % none }}{{ "%s %s" % (none, true) }}
{{ "%e %E %g %G %.3g %#x %#o" % (12345.678, 0.00012, 1e-5, 1e20, 1234.5, 255, 8) }}
{{ "%*d|%-*d|%.*f" % (5, 42, 5, 42, 2, 3.14159) }}{{ "%s"|format("x") }}{{ "%(a)s"|format(a=1) }}{{ "%5.2s|" % "abc" }}
{{ "%d" % 3.99 }}{{ "%i%u" % (1, 2) }}{{ "%a" % "é" }}{{ "%s" % ("é",) }}{{ "abc" % [] }}{{ "%d" % true }}
{{ "%s %s" % ("a",) }}
{{ "%d" % "a" }}
{{ "%s" % (1, 2) }}
{{ "%(a)s" % {"b": 1} }}
{{ "{0} {1} {0}".format("a", "b") }}{{ "{a}{b}".format(a=1, b=2) }}{{ "{} {x}".format(1, x=2) }}{{ "{{}}{}".format(1) }}
{{ "{:<5}|{:^5}|{:>5}|{:*^7}|{:05d}|{:+d}|{: d}".format("a", "b", "c", "d", 42, 7, 8) }}
{{ "{:b} {:o} {:x} {:X} {:#x} {:#b} {:,} {:_} {:_x}".format(10, 8, 255, 255, 255, 5, 1234567, 1234567, 1048576) }}
{{ "{:.2f} {:.3e} {:g} {:.1%} {:8.3f}| {:,.2f} {:G}".format(3.14159, 31415.9, 0.0001, 0.256, 2.5, 1234567.891, 1e-10) }}
{{ "{:.3} {:.10} {} {:.1} {:.2}".format(3.14159, 3.0, 1e16, 123.0, 100.0) }}{{ "{:10}|{:<10}|{:=+8}".format(3, 3, 3) }}
{{ "{!r} {!s} {!a}".format("é'", "é", "é") }}{{ "{0[a]} {0[b][1]} {1[0]}".format({"a": 1, "b": [2, 3]}, "x".split()) }}
{{ "{:{}}|{:{w}.{p}f}".format("a", 4, 3.14159, w=8, p=2) }}{{ "{:s}{:>3s}".format("a", "b") }}{{ "{:.2}".format("abcdef") }}
{{ "{:c}{:d}{}".format(65, true, true) }}{{ "{} {} {}".format(none, [1], (1,)) }}{{ "{:5}|".format(true) }}{{ "{:%}".format(1) }}
{{ "{a[x]}".format_map({"a": {"x": 5}}) }}{{ "{0.__class__}".format(1) if false else "ok" }}{{ "{:08.2f}|{:08}".format(-3.5, -42) }}
{{ "{}".format() }}
{{ "{a}".format(b=1) }}
{{ "{:d}".format("a") }}
{{ "{:x}".format(1.5) }}
{{ "{".format(1) }}
{{ "}".format(1) }}
{{ "{:,}".format("a") }}
{{ (1, 2) }}{{ (1,) }}{{ () }}{{ (1, (2, [3])) }}{{ 1, 2 }}{% set t = 1, 'b' %}{{ t }}{{ t[0] }}{{ t == (1, 'b') }}{{ t == [1, 'b'] }}
{{ {'a': 1, 'b': 2}.items()|list }}{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ {'a': 1}.values() }}{{ {'a': 1}|dictsort }}
{{ (1, 2) + (3,) }}{{ (1, 2) * 2 }}{{ (3, 1, 2)|sort }}{{ (1, 2, 3)[1:] }}{{ (1, 2)|list }}{{ 'a-b'.partition('-') }}{{ (1, 2).index(2) }}{{ (1, 1).count(1) }}
{{ (1, 2) < (1, 3) }}{{ (1, 2) in [(1, 2)] }}{{ [1, 2] in [(1, 2)] }}{{ (1, 2)|tojson }}{{ (1, 2)|string }}{{ ((1, 2), (3, 4))|map('last')|list }}{{ 'a' in ('a', 'b') }}
{{ (1, 2) + [3] }}
{{ (1, 2) < [1, 3] }}
{{ {1: 'a', 2: 'b'}[1] }}{{ {1: 'a'}.get(1) }}{{ {1: 2, 'x': 3, none: 4, true: 5, 1.5: 6} }}{{ {(1, 2): 'p'}[(1, 2)] }}{{ {(1, 2): 'q'}[1, 2] }}
{{ {1: 'a', 1.0: 'b', true: 'c'} }}{{ {0: 'z'}[false] }}{{ 1 in {1: 2} }}{{ '1' in {1: 2} }}{{ {1: 'a'}|tojson }}{{ {none: 1, true: 2, 2.5: 3}|tojson }}
{% for k, v in {0: 'x', 512: 'y'}.items() %}{{ k }}={{ v }};{% endfor %}{{ {3: 1, 1: 2}|dictsort }}{{ {3: 1, 1: 2}.keys()|list }}{{ {2: 'a'}.items()|first }}
{{ {[1]: 2} }}
{{ {(1, 2): 3}|tojson }}
{{ {1: 2}[[1]] is defined }}
{{ [1, 5, 3]|select('>', 2)|list }}{{ [1, 5, 3]|select('<=', 3)|list }}{{ [1, 5]|reject('==', 5)|list }}{{ [1, 2]|select('!=', 1)|list }}{{ [1, 5]|select('>=', 5)|list }}{{ [1, 5]|select('<', 5)|list }}
{{ [{'a': 1}, {'a': 4}]|selectattr('a', '>', 2)|list }}{{ [{'a': 1}]|rejectattr('a', 'lessthan', 2)|list }}{{ [1, 2, 3]|select('in', [1, 3])|list }}{{ [1, 2]|select('divisibleby', 2)|list }}
{{ 3 is gt 2 }}{{ 3 is ge(3) }}{{ 2 is lt(3) }}{{ 2 is le 2 }}{{ 2 is ne 3 }}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ 'nope' is test }}{{ 'x' is escaped }}{{ ('x'|safe) is escaped }}
{{ 5 is odd }}{{ 4 is even }}{{ 4.0 is even }}{{ 3.0 is odd }}{{ 9 is divisibleby(3) }}{{ 1 is integer }}{{ true is integer }}{{ 1.0 is integer }}{{ none is none }}{{ [] is sequence }}{{ {} is mapping }}{{ (1,) is sequence }}
{{ range is callable }}{{ 'x'.upper is callable }}{{ 1 is callable }}{{ [1]|map('upper') is iterable }}{{ [1]|map('upper') is sequence }}{{ range(3) is sequence }}{{ {}.items() is sequence }}{{ {}.keys() is iterable }}{{ 3 is iterable }}
{{ none|select|list }}{{ none|map('upper')|list }}{{ none|selectattr('x')|list }}{{ none|rejectattr('x')|list }}{{ none|reject('odd')|list }}{{ ''|map('upper')|list }}{{ 0|select|list }}{{ false|map('x')|list }}{{ undefinedname|map('upper')|list }}
{% set g = [1, 2, 3]|map('string') %}{% if g %}true {% endif %}{{ g|list }}{{ g|list }}{% if g %} still{% endif %}
{% set g = [1, 2, 3]|select %}{{ g|first }}{{ g|list }}{{ g|first is defined }}
{% set g = [1, 2, 3, 4]|select %}{% for x in g %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}|{{ g|list }}
{% set g = []|select %}{% if g %}true{% else %}false{% endif %}{{ g|list }}
{% set g = [1, 2, 3]|select %}{{ 2 in g }}{{ g|list }}
{% set g = [1, 2]|reverse %}{% if g %}t{% endif %}{{ g|list }}{{ g|list }}
{% set g = [1, 2, 3]|batch(2) %}{{ g|list }}{{ g|list }}{% set g = [3, 3]|unique %}{{ g|list }}{{ g|list }}{% set g = {'a': 1}|items %}{{ g|list }}{{ g|list }}
{{ [1, 2]|map('string')|length }}
{{ ([1, 2]|map('string'))[0] is defined }}
{{ [1]|map('string')|tojson }}
{{ [1]|map('string')|last }}
{{ ['a', 1]|map('nofilter') is defined }}
{{ ['a', 1]|map('nofilter')|list }}
{{ [1, 2]|select('notest')|list }}
{{ none|items is defined }}
{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 3]) }}{{ f(*(1,)) }}{{ f(**{'a': 4, 'b': 5}) }}{{ f(1, **{'b': 6}) }}{{ f(*[7], b=8) }}
{% macro f(a) %}{{ a }}:{{ varargs }}:{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{{ f(1) }}{{ f(*[1, 2], **{'y': 5}) }}
{% macro f() %}{% for x in varargs %}{{ x }};{% endfor %}{% for k, v in kwargs.items() %}{{ k }}={{ v }};{% endfor %}{% endmacro %}{{ f('a', 'b', c=1, d=2) }}
{% macro f(a, b) %}{{ a }}{{ b is defined }}{% endmacro %}{{ f(1) }}{{ f(b=1, a=2) }}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.catch_varargs }}{{ f.caller }}
{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(3) }}{{ f(3, 4) }}{% macro g(x=[]) %}{{ x }}{% endmacro %}{{ g() }}{{ g([1]) }}{{ f }}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ kwargs }}{% endmacro %}{{ f(1, a=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}
{{ "x".upper(*[]) }}{{ "a,b".split(*[","]) }}{{ dict(**{'a': 1}) }}{{ dict([('a', 1), ['b', 2]]) }}{{ dict({'a': 1}, b=2) }}{{ range(*[1, 4])|list }}
{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set _ = c.reset() %}{{ c.next() }}
{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}c{% set p = joiner('|') %}{{ p() }}{{ p() }}
{% for x in [1, 2, 3] %}{{ loop.cycle('odd', 'even') }}{{ loop.changed(x // 2) }} {% endfor %}{% for x in [1, 1, 2] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for n in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3, 'c': []}]}]}, {'v': 4, 'c': []}] recursive %}{{ loop.depth }}:{{ n.v }}({{ loop(n.c) }}){% endfor %}
{% for x in [1, 2, 3, 4] if x is even %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}{% for x in [1, 3] if x is even %}{% else %}none{% endfor %}
{% for x in [1, 2] %}{% continue %}{% else %}else{% endfor %}{% for x in [1, 2] %}{% break %}{% else %}else2{% endfor %}{% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% else %}else3{% endfor %}
{% set ns = namespace(stop=false) %}{% for x in [1, 2, 3, 4] if not ns.stop %}{{ x }}{% if x == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}
{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }};{% endfor %}{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for (k, v) in {'x': 1}.items() %}{{ k }}{{ v }}{% endfor %}
{% set (a, b) = (1, 2) %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set (a, (b, c)) = (1, (2, 3)) %}{{ a }}{{ b }}{{ c }}{% set x, y = 'pq' %}{{ x }}{{ y }}
{% for x in 'ab', 'cd' %}{{ x }};{% endfor %}{% for x in range(3) %}{{ x }}{% endfor %}{% for c in 'añb' %}{{ c }}.{% endfor %}{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}
{{ 0x1f }}{{ 0b101 }}{{ 0o17 }}{{ 1_000_000 }}{{ 1e3 }}{{ 1.5e-7 }}{{ 0xFF + 1 }}{{ 1.0 }}{{ 1e100 }}{{ 0.1 + 0.2 }}{{ 1e16 }}{{ 123456789012345678 }}
{% set größe = 3 %}{{ größe }}{% set 名前 = 'x' %}{{ 名前 }}{% set _x1 = 2 %}{{ _x1 }}
{{ 18446744073709551615 }}{{ 9223372036854775807 + 1 }}{{ 2 ** 100 }}{{ -(2 ** 64) }}{{ 2 ** 64 // 3 }}{{ 2 ** 64 % 1000 }}{{ (2 ** 70) * (2 ** 70) }}{{ 2 ** 64 - 2 ** 64 }}{{ 2 ** 64 / 2 }}
{{ 10 ** 20 == 100000000000000000000 }}{{ 10 ** 20 > 10 ** 19 }}{{ (10 ** 20)|string|length }}{{ (10 ** 20)|tojson }}{{ '99999999999999999999'|int + 1 }}{{ (2 ** 65)|float }}{{ 1e30|int }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 // -2 }}{{ 7 % -3 }}
{{ 5.5 // 2 }}{{ -5.5 // 2 }}{{ 5.5 % 2 }}{{ -5.5 % 2 }}{{ 5 / 2 }}{{ 4 / 2 }}{{ 2 ** -1 }}{{ 2.0 ** 3 }}{{ 0.1 % 0.01 }}{{ 1e15 % 7 }}{{ true + true }}{{ -true }}{{ 7.0 // 0.1 }}
{{ 1 == 1.0 }}{{ 1 == true }}{{ 1 < 1.5 }}{{ 9007199254740993 == 9007199254740992.0 }}{{ [1, 2] == [1.0, 2] }}{{ {'a': 1} == {'a': 1.0} }}{{ 'a' == 1 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ none == none }}{{ none == false }}
{{ [1, 2, 3]|slice(2)|list }}{{ [1, 2, 3, 4, 5]|slice(3, 'x')|list }}{{ range(7)|slice(3)|list }}{{ [1, 2, 3, 4]|batch(3, 0)|list }}
{{ 'abcdef'.startswith('cd', 2) }}{{ 'abcdef'.startswith('cd', 2, 3) }}{{ 'abcdef'.endswith('de', 0, 5) }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'a b c'.rsplit(none, 1) }}{{ 'a  b c '.rsplit(none, 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ' a b '.split(none, 1) }}
{{ 'a\tb'.expandtabs(4) }}|{{ 'Hello World'.istitle() }}{{ 'abc'.isascii() }}{{ 'é'.isascii() }}{{ 'a1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ 'a\n'.isprintable() }}{{ ''.isprintable() }}{{ '½'.isnumeric() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}
{{ 'a-b_c'.title() }}{{ 'hello world'.capitalize() }}{{ 'x'.join(['a', 'b']) }}{{ 'abc'.find('c') }}{{ 'abc'.index('b', 1) }}{{ 'aXbX'.replace('X', '-', 1) }}{{ 'x' if 'abc'.upper is defined }}
{% set f = 'abc'.upper %}{{ f() }}{% set g = {'a': 1}.get %}{{ g('a') }}{{ g('b', 2) }}{{ [1, 2].copy() }}{{ {'a': 1}.copy() }}{{ [3, 4].index(4, 1) }}{{ {}.fromkeys(['a', 'b'], 0) }}{{ (5).bit_length() }}{{ (2.0).is_integer() }}
{{ [].append is defined }}{{ {}.update is defined }}{{ {}.pop is defined }}{{ {'pop': 1}.pop is defined }}{{ {'pop': 1}['pop'] }}{{ {'items': 1}['items'] }}{{ 'x'.__class__ is defined }}{{ {'a': 1}['b'] is defined }}
{{ [1].append(2) }}
{{ {}.pop('a') }}
{{ 'a<b>&"\''|e }}{{ '<b>'|escape|escape }}{{ '<b>'|safe|escape }}{{ '<b>'|e|forceescape }}{{ '<'|e + '<' }}{{ '<' + ('&'|e) }}{{ ('<'|safe) + '<' }}{{ ('<'|e)|upper }}{{ ('a'|safe) * 2 + '<' }}
{{ ('<%s>'|safe) % '<' }}{{ ('<%s>'|safe)|format('&') }}{{ ('{}'|safe).format('<') }}{{ ('<'|safe)|string + '<' }}{{ [('<'|safe)] }}{{ ('a'|safe).upper() + '<' }}{{ ('<'|safe) ~ '<' }}{{ ['<', '>'|safe]|join('&') }}
{{ ('x-y'|safe).replace('-', '<') }}{{ ('<'|safe).join(['>', '&']) }}{{ ('a b'|safe).split()[0] + '<' }}{{ ('ab'|safe)[0] + '<' }}{{ ('a'|safe)|first + '<' }}{{ ('abc'|safe)|replace('b', '<') }}{{ ('ab'|safe)|reverse + '<' }}{{ '<'|e|length }}
{{ 'Hello <b>bold</b> &amp; <!-- gone --> x'|striptags }}{{ '  a   b '|striptags }}{{ '&lt;x&gt; &#65;&#x42;'|striptags }}
{{ 'hello world this is long'|truncate(11) }}{{ 'hello world this is long'|truncate(11, true) }}{{ 'hello world this'|truncate(11, false, '..', 0) }}{{ 'short'|truncate(5) }}{{ 'abcdefghij'|truncate(5, leeway=0) }}{{ 'foo bar baz qux'|truncate(9, end='') }}
{{ 'x'|center(5) }}|{{ 'ab'|center(5) }}|{{ ''|center(3) }}|{{ 'abc'|center(2) }}|{{ 1|center(4) }}|
{{ 'the quick brown fox jumps'|wordwrap(10) }}|{{ 'abcdefghijkl mn'|wordwrap(5) }}|{{ 'abcdefghijkl mn'|wordwrap(5, false) }}|{{ 'a-b-c-dd-eee ff'|wordwrap(4) }}|{{ 'one two'|wordwrap(3, wrapstring='/') }}
{{ 'well-known  co-op -- x--y end'|wordwrap(7) }}|{{ 'a\n\nb c d'|wordwrap(3) }}|{{ '  lead and trail  '|wordwrap(6) }}|{{ 'hyphen-ated'|wordwrap(6, break_on_hyphens=false) }}
{{ 'a b&c/d?é=1'|urlencode }}{{ {'a': 1, 'b c': 'x y/é'}|urlencode }}{{ [('q', 'ä'), ('r', 2)]|urlencode }}{{ 5|urlencode }}
{{ {'class': 'a b', 'id': none, 'x': undefinedname, 'y': '<"'}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}|{{ {}|xmlattr }}
{{ 1|filesizeformat }}{{ 999|filesizeformat }}{{ 1000|filesizeformat }}{{ 1500000|filesizeformat }}{{ 1024|filesizeformat(true) }}{{ 1536|filesizeformat(binary=true) }}{{ (10 ** 15)|filesizeformat }}{{ 0|filesizeformat }}{{ '2048'|filesizeformat }}
{{ {'b': 1, 'a': [1, 2, {'c': none}]}|pprint }}|{{ 'x'|pprint }}|{{ [1, 'two', (3,)]|pprint }}|{{ ('word ' * 30)|pprint }}
{{ (range(40)|list)|pprint }}|{{ {'key one': 'a' * 50, 'key two': ['b' * 30, 'c' * 30, 'd' * 30]}|pprint }}|{{ [['x' * 40, 'y' * 40], {'z': 'w' * 70}]|pprint }}
{{ [5]|random }}{{ 'a'|random }}{{ []|random is defined }}{{ [3, 1]|min }}{{ ['b', 'A']|max }}{{ [{'a': 2}, {'a': 1}]|min(attribute='a') }}
{{ [{'a': 2, 'b': 1}, {'a': 1, 'b': 2}, {'a': 1, 'b': 1}]|sort(attribute='a,b') }}{{ [{'a': 'B'}, {'a': 'a'}]|sort(attribute='a', case_sensitive=true) }}{{ [[2, 'x'], [1, 'y']]|sort(attribute=0) }}{{ [[2, 'x'], [1, 'y']]|sort(attribute='1') }}
{{ [{'g': 'a', 'v': 1}, {'v': 2}, {'g': 'A', 'v': 3}]|groupby('g', default='z') }}{% for g, items in [{'k': 1}, {'k': 2}, {'k': 1}]|groupby('k') %}{{ g }}:{{ items|length }};{% endfor %}{% for x in [{'k': 1}]|groupby('k') %}{{ x.grouper }}{{ x.list }}{% endfor %}
{{ [{'g': 'a'}, {'g': 'A'}]|groupby('g', case_sensitive=true)|map('first')|list }}{{ [{'a': {'b': 1}}]|groupby('a.b')|list }}{{ [(1, 'x'), (1, 'y')]|groupby(0) }}
{{ [1, [2]]|sum(start=[]) if false else [1, 2.5]|sum }}{{ ['a', 'b']|sum(start='') if false else 1 }}{{ [[1], [2]]|sum(start=[]) }}{{ [{'x': 1}, {'x': 2}]|sum('x') }}{{ []|sum }}{{ []|sum(start=5) }}
{{ ['a']|sum }}
{{ [{'a': 1}, {}]|map(attribute='a', default=0)|list }}{{ [{'a': {'b': 1}}, {}]|map(attribute='a.b', default='x')|list }}{{ ['a', 'b']|map('upper')|join }}{{ [1.234, 5.678]|map('round', 1)|list }}{{ [['a', 1]]|map(attribute='0')|list }}{{ ['x', 'y']|map('replace', 'x', 'z')|list }}
{{ 42.7|int }}{{ '42.7'|int }}{{ 'ff'|int(0, 16) }}{{ '0x1f'|int(0, 16) }}{{ '0b11'|int(base=0) }}{{ 'z'|int }}{{ 'z'|int(9) }}{{ ' 7 '|int }}{{ '1_0'|int }}{{ none|int(3) }}{{ [1]|int }}{{ '1e3'|int }}{{ true|int }}{{ ''|int(4) }}
{{ '1.5'|float }}{{ 'x'|float(2.5) }}{{ '1e3'|float }}{{ none|float }}{{ ' 2 '|float }}{{ 'inf'|float }}{{ 3|float }}{{ '1_0.5'|float }}{{ 'nan'|float }}{{ '-inf'|float }}
{{ 2.675|round(2) }}{{ 2.5|round }}{{ 3.5|round }}{{ 1234.5678|round(-2) }}{{ 1234|round(-2) }}{{ 42|round }}{{ 42|round(1, 'ceil') }}{{ 2.1|round(0, 'ceil') }}{{ 2.123|round(2, 'floor') }}{{ -2.5|round }}{{ 1e300|round(2) }}{{ 0.5|round }}{{ 1250|round(-2) }}
{{ -5|abs }}{{ -5.5|abs }}{{ (-(2 ** 70))|abs }}{{ true|abs }}{{ 'a b c'|wordcount }}{{ 'x'|length }}{{ {'a': 1}|length }}{{ (1, 2)|count }}{{ range(5)|length }}{{ undefinedname|length }}
{{ {'a': 1}|attr('a') is defined }}{{ 'abc'|attr('upper') is defined }}{{ ('abc'|attr('upper'))() }}{% set n = namespace(a=5) %}{{ n|attr('a') }}{{ n }}{{ n.b is defined }}
{{ range(3) }}{{ range(1, 7, 2) }}{{ range(5)[1] }}{{ range(5)[1:3] }}{{ range(5)[-1] }}{{ range(5)[::-1] }}{{ 3 in range(5) }}{{ range(3) == range(3) }}{{ range(0) }}{% if range(0) %}t{% else %}f{% endif %}{{ range(3)|list }}{{ range(3)|last }}{{ range(3).start }}{{ range(4)|sum }}
{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[5] is defined }}{{ [1, 2, 3][-2:] }}{{ 'abcdef'[::2] }}{{ 'abc'[::-1] }}{{ [1, 2][true] }}{{ 'abc'[none:2] }}{{ (1, 2, 3)[::-1] }}{{ 5[0] is defined }}{{ 'a'['upper'] is defined }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% for i in [1] %}{% set x = 3 %}{{ x }}{% endfor %}{{ x }}{% with x = 4 %}{{ x }}{% set x = 5 %}{{ x }}{% endwith %}{{ x }}
{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}{% set x = 7 %}{{ m() }}{% for i in [1, 2] %}{% set y = i %}{% endfor %}{{ y is defined }}
{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{% with a = 5 %}{% macro w() %}{{ a }}{% endmacro %}{{ w() }}{% endwith %}{% macro outer(v) %}{% macro inner() %}<{{ v }}>{% endmacro %}{{ inner() }}{% endmacro %}{{ outer(3) }}
{% for i in [1, 2] %}{% set x = (x|default(0)) + i %}{{ x }}{% endfor %}{% set a = 1 %}{% for i in [1, 2] %}{{ a }}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}
{% macro m() %}{{ caller('x', n=2) }}{% endmacro %}{% call(a, n=1) m() %}{{ a }}{{ n }}{% endcall %}{% macro twice() %}{{ caller() }}{{ caller() }}{% endmacro %}{% for i in [1, 2] %}{% call twice() %}{{ i }}{% endcall %}{% endfor %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}x{% endcall %}
{% macro m() %}no{% endmacro %}{% call m() %}x{% endcall %}
{% block a %}A{% set q = 1 %}{{ messages|length }}{% endblock %}{{ q is defined }}{% for i in [1] %}{% block b scoped %}{{ i }}{% endblock b %}{% endfor %}{% set z = 3 %}{% block c %}{{ z }}{% endblock %}
{% filter upper %}a{{ 'b' }}{% endfilter %}{% filter replace('a', 'b')|upper %}xax{% endfilter %}{% set t|trim|upper %} q {% endset %}{{ t }}{% set u %}<{{ 1 }}>{% endset %}{{ u }}{{ u is escaped }}
{{ "a" "b" 'c' }}{{ 'a\x41\u0042\101\n' }}{{ '\'' }}{{ "\"" }}{{ '\\n' }}{{ 'tab\there' }}{{ 'a' ~ 1 ~ none ~ [1] ~ true }}{{ not true }}{{ not (1 and 0) }}{{ 1 and 2 }}{{ 0 or 'x' }}{{ 1 if false }}{{ 'a' if 1 else 'b' if 0 else 'c' }}
{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 not in [2] }}{{ 'a' in 'abc' }}{{ not 'a' in 'abc' }}{{ -2 ** 2 }}{{ 2 ** 3 ** 2 }}{{ (1 if true else 2) + 1 }}{{ 2 * 3 + 4 }}{{ 10 - 2 - 3 }}{{ 'a' + 'b' * 2 }}{{ +1 }}{{ - 1 }}
{{ [1, 2, 3]|first }}{{ []|first is defined }}{{ 'abc'|last }}{{ {'a': 1, 'b': 2}|last }}{{ {'a': 1}|list }}{{ 'abc'|list }}{{ [[1, 2], [3]]|map('join', '-')|list }}{{ [3, 1, 2]|sort|reverse|list }}{{ ['b', 'a']|sort(reverse=true) }}{{ [2, 1]|join }}
{{ {'a': [1, 2, {'b': 'é'}], 'c': none}|tojson }}{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}{{ [1, {'a': 2}]|tojson(indent=2) }}{{ {'a': 1}|tojson(separators=(',', ':')) }}{{ 'é<>&\u2028'|tojson }}{{ 'é'|tojson(ensure_ascii=true) }}{{ 1.0|tojson }}{{ [1]|tojson(indent='--') }}{{ 1e400|tojson }}{{ {}|tojson(indent=1) }}
{{ messages|map(attribute='role')|unique|list }}{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list }}{{ messages|rejectattr('role', 'in', ['user', 'system'])|list|length }}{{ messages|groupby('role')|map('first')|list }}
{{ messages|tojson }}{% for m in messages recursive %}{{ m.role }}{% endfor %}{{ messages[0] }}{{ messages[-1]['role'] }}{{ (messages|last).role }}{{ messages[1:]|length }}{{ messages|map('length')|list }}
{{ raise_exception('no') }}
{% if messages|length > 100 %}{{ raise_exception('many') }}{% endif %}ok
{{ loop is defined }}{% for x in [1, 2] %}{{ loop }}{% endfor %}
{{ varargs is defined }}{{ caller is defined }}
{% raw %}{{ x }}{% endraw %}{# c #}{%- raw -%} y {%- endraw %}|{{- ' z ' -}}|{% set a = 1 -%} b
{{ undefinedname.x }}
{{ undefinedname + 1 }}
{{ undefinedname|int }}
{{ none|upper }}{{ 5|upper }}{{ [1]|string }}{{ none|string }}{{ true|lower }}{{ none|trim }}{{ 3|replace(3, 4) }}{{ 'aaa'|replace('a', 'b', 2) }}{{ '  x '|trim }}{{ 'xxaxx'|trim('x') }}{{ none|default('d') }}{{ none|default('d', true) }}{{ undefinedname|default }}|
{{ 'a\nb'|indent }}{{ 'a\n\nb'|indent(2, true) }}{{ 'a\n\nb'|indent(2, blank=true) }}{{ 'a\nb'|indent('> ') }}{{ 'a\n'|indent(2) }}|{{ ''|indent(2, true) }}|
{% for x in [1, 2, 3] %}{% if loop.index == 2 %}{% continue %}{% endif %}{% for y in [1, 2] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }}{% endfor %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% set a, b = 1 %}
{% set x.y = 1 %}
{% set n = namespace(a=1) %}{% set n.a = n.a + 1 %}{% set n.b = [n.a] %}{{ n.a }}{{ n.b }}{{ n['a'] is defined }}
{{ 'abc'|map('upper')|join('-') }}{{ {'a': 1, 'b': 2}|map('upper')|list }}{{ {'b': 1, 'a': 2}|sort }}{{ 'cab'|sort|join }}{{ {'x': 1}|join }}{{ 'abc'|unique|join }}{{ 'Aab'|unique|join }}{{ ('a', 'b')|reverse|join }}
{{ 1|divisibleby(1) if false else 'k' }}{{ 10 is divisibleby 5 }}{{ 'x' is sameas 'x' }}{{ none is sameas(none) }}{{ 1 is sameas true }}{{ [] is sameas [] }}{{ 2 is in([1, 2]) }}{{ 'a' is in 'abc' }}{{ 'ABC' is upper }}{{ 'abc' is lower }}{{ '' is lower }}
{{ {'a': 1} in [{'a': 1}] }}{{ {'a': 1} == {'a': 2} }}{{ [] == () }}{{ 'a' in {'a': 1}.keys() }}{{ ('a', 1) in {'a': 1}.items() }}{{ 1 in {'a': 1}.values() }}{{ {'a': 1}.items()|length }}{{ {'a': 1}.keys()|join }}
{{ ['x', 'y']|zip if false else 'n' }}{{ [1, 2, 3]|select('odd')|map('string')|join(',') }}{{ [0, 1, '', 'a', none]|select|list }}{{ [0, 1, '', 'a', none]|reject|list }}{{ [none, 1]|select('none')|list }}{{ ['a', 'B']|select('lower')|list }}
""".strip("\n").splitlines()


def record(source):
    answer = theirs(request(source, [SYSTEM, *LONG]))
    if "text" in answer:
        return {"source": source, "expected": answer["text"]}
    return {"source": source, "refused" if answer["refused"] else "fails": True}


if __name__ == "__main__":
    print(json.dumps({"messages": [SYSTEM, *LONG], "cases": [record(line) for line in LANGUAGE]},
                     ensure_ascii=True, indent=0))
