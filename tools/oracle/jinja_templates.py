"""What is rendered by jinja2 and by ours: the chat templates in jinja/, which are of the families that models come with,
rewritten around the constructs that each uses, on conversations; and single expressions and statements of the language."""
from pathlib import Path

TEMPLATES = {file.stem: file.read_bytes().decode() for file in sorted((Path(__file__).parent / "jinja").glob("*.jinja"))}

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather at a place, \"now\" & then",
     "parameters": {"type": "object", "properties": {
         "place": {"type": "string", "description": "Zürich <or> 東京"}, "days": {"type": "integer", "enum": [1, 2]},
         "units": {"type": ["string", "null"]}, "hours": {"type": "array", "items": {"type": "number"}}},
         "required": ["place"]}}},
    {"type": "function", "function": {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}, "required": []},
                                      "return": {"type": "null"}}},
]


def conversations():
    system = {"role": "system", "content": " Be brief. /no_think\n"}
    user = {"role": "user", "content": "  What is 2 + 2?\u3000\n"}
    answer = {"role": "assistant", "content": "<think>\nadd\n</think>\n\n4 {{x}} \x1f"}
    other = {"role": "user", "content": "é\u00a0{% if %} <|im_end|> 日本 🙂"}
    call = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "abcdef123", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "x": [1.5, None, True]}}}]}
    result = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"t\": 1e-05}"}
    parts = {"role": "user", "content": [{"type": "text", "text": " hi "}, {"type": "image"}]}
    return [[user], [system, user], [user, answer, other], [system, user, answer, other], [system], [user, answer],
            [user, user], [user, call, result, answer], [system, user, call, result, result, answer, other], [parts],
            [user, {"role": "assistant", "content": "a", "reasoning_content": "\nbecause\n"}], [user, system, answer]]


# Each is rendered by itself; "x" and the like are the variables below.
VARIABLES = {"n": 7, "m": -3, "f": 2.5, "z": 0.1, "t": True, "none_": None, "s": "  Hello, World  ", "u": "éß日本🙂 ǅ",
             "words": ["b", "A", "c", "a"], "nested": {"a": {"b": [1, {"c": "deep"}]}, "items": 3, "k": None}, "empty": [],
             "rows": [{"n": 2, "s": "y", "o": {"p": 1}}, {"n": 1, "s": "x"}, {"n": 2, "s": "Z"}], "q": "it's \"so\"\\\n\t\x01"}
EXPRESSIONS = [
    "n + m * 2", "n / 2", "n // 2", "m // 2", "n % 3", "m % 3", "-n ** 2", "2 ** 3 ** 2", "2 ** -1", "n - m - 1", "f * 2", "f // 1", "-f % 2", "7.0", "1e16", "1e15",
    "123456789012.5", "1e-5", "0.0001", "z + 0.2", "1_000", "+n", "-m|abs", "n ~ m ~ none_ ~ t", "'a' 'b' ~ 'c'", "'a' * 3", "2 * 'ab'", "[1] + [2, 'x']",
    "(1, 2) + (3,)", "()", "(1,)", "[n, f, t, none_, s, q]", "{'a': 1, 'b': [u]}", "q", "[q]", "s|trim", "s.strip()", "s.strip(' H')", "s.lstrip() ~ '|'", "s.rstrip('d ') ~ '|'",
    "s|upper", "s|lower", "'ǅ é'|lower", "'hello wORLD-foo (bar'|title", "'hello wORLD'|capitalize", "'hello wORLD 3x'.title()", "'ab'.upper()", "s.replace('l', 'L', 1)",
    "s|replace('l', 'L')", "s.split(',')", "s.split()", "' a  b c '.split(none, 1)", "'a,b,c'.split(',', 1)", "'a,b,c'.rsplit(',', 1)", "s.startswith('  H')", "s.endswith(('x', ' '))",
    "u|length", "u[0]", "u[-1]", "u[1:3]", "u[::-1]", "words[1:]", "words[::-1]", "words[-2:]", "words[:1]", "words[5:]", "words[::2]", "words[3:0:-2]", "words[-10:2]", "words[10]", "words[-9] is defined",
    "nested.a.b[1].c", "nested['a']['b'][0]", "nested.items is callable", "nested['items']", "nested.missing is defined", "nested.missing", "nested.k", "nested.get('zz', 'd')", "nested.get('zz')",
    "nested.keys()|list", "nested.values()|list|length", "(nested.items()|list)[0]", "'a' in nested", "'zz' not in nested", "'ell' in s", "1 in [1.0]", "none_ in [none]", "n in (1, 7)",
    "n == 7.0", "n != m", "n < 8 < 9", "n < 8 > 9", "1 < 2 == true", "not n == 7", "not n is odd", "t and 'yes' or 'no'", "none_ or 'default'", "'' or 0 or []", "n if t else m", "n if false", "(n if false) is undefined",
    "words|join('-')", "words|join", "[1, 2.0, none_]|join(',')", "rows|map(attribute='n')|list", "rows|map(attribute='o.p', default='-')|list", "words|map('upper')|join", "rows|selectattr('n', 'eq', 2)|map(attribute='s')|join",
    "rows|rejectattr('o')|list|length", "rows|selectattr('o', 'defined')|list|length", "[1, 2, 3]|select('odd')|list", "[0, 1, '']|select|list", "[1, 2]|reject('==', 1)|list", "words|sort", "words|sort(reverse=true)", "words|sort(case_sensitive=true)",
    "rows|sort(attribute='n')|map(attribute='s')|list", "words|unique|list", "['a', 'A', 'b']|unique|list", "words|first", "words|last", "empty|first is defined", "words|min", "[3, 1]|max", "words|reverse|list", "'abc'|reverse",
    "nested|tojson", "q|tojson", "u|tojson", "u|tojson(ensure_ascii=true)", "rows|tojson(indent=2)", "rows[0]|tojson(separators=(',', ':'))", "{'b': 1, 'a': none_}|tojson(sort_keys=true)", "[1e20, 0.1, 1e-7, t]|tojson", "[]|tojson(indent=2)", "{}|tojson", "{1: 2}|tojson",
    "'3.9'|int", "'x'|int(5)", "3.9|int", "' 12 '|int", "'x'|int(default=none_)", "'2.5'|float", "n|float", "n|string ~ 1", "'a\\nb\\n\\nc'|indent(2)", "'a\\nb'|indent(2, true)", "'a\\n\\nb'|indent(first=true, blank=true)", "missing|default('d')", "''|default('d', true)", "none_|default('d')", "none_|d('d', boolean=true)",
    "nested|items|list|length", "{'b': 1, 'a': 2}|dictsort", "{'b': 1, 'a': 2}|dictsort(by='value', reverse=true)", "'<&>'|e", "'<a>'|safe", "m|abs", "range(3)|list", "range(1, 10, 4)|list", "range(3, 0, -1)|list", "dict(a=1, b=n)", "namespace(a=1).a",
    "n is defined", "missing is undefined", "missing is none", "none_ is none", "s is string", "n is number", "t is number", "n is integer", "t is integer", "f is float", "t is boolean", "t is true", "n is true", "nested is mapping", "words is sequence", "s is sequence", "words is iterable",
    "n is iterable", "nested is iterable", "n is odd", "n is even", "n is divisibleby 7", "n is divisibleby(2)", "n is sameas 7", "n is eq 7", "n is in [7]", "'a' is in 'abc'", "n is not none and t", "n is ge 7", "loop is defined", "range is callable",
    "'%' ~ n", "'a\\tb\\\\c\\'d\"'", "\"\\u00e9\\x41\\q\"", "{'a': {'b': {}}}.a.b", "[[]][0]", "'a' 'b'", "(1)", "('a' ~ 'b').upper()", "('a' ~ 'b')|upper ~ 'c'", "'x' if n == 7 and not none_ else 'y'", "strftime_now('%Y')|length",
    "s.strip().split(', ')[1].lower()", "'a.b'.split('.')|last", "'abc'.find('c')", "'日本'.find('本')", "'aXbX'.count('X')", "'ab' < 'b'", "[1, 2] < [1, 3]", "n >= 7", "'12'.isdigit()", "'a\\nb\\r\\nc'.splitlines()", "'pre-x'.removeprefix('pre-')", "words|length > 3", "words|length - 1", "words|count", "nested.a['b']|length",
    "(words|join(',')).replace(',', '')", "1 if words else 2", "words == ['b', 'A', 'c', 'a']", "(1, 2) == [1, 2]", "none == none", "missing == missing2", "missing|length", "missing|list", "not missing", "missing ~ 'x'", "[missing]|length", "t + 1", "true ~ ''", "1.0 ~ ''", "100000 * 100000", "4 / 2", "7 // 2.0", "'a,b'.split(',')|map('trim')|list",
    # what is refused by both
    "missing.x", "missing + 1", "missing()", "n + 's'", "s + n", "none_ + 's'", "n < 's'", "none_.x.y", "words.nothing()", "n[0][0]", "n|length", "s|nofilter", "s is notest", "nofunction()", "1 // 0", "1 / 0", "n()", "raise_exception('no')", "words|join(1, 2, 3, 4)", "nested.a.zz.y", "n in n", "range(1000000)|list",
]
STATEMENTS = [
    "{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% for i in words %}{{ loop.cycle('odd', 'even') }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.changed(i) }},{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1, l=[]) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.x }}{{ ns.l }}",
    "{% if n %}{% set y = 1 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b) = [3, 4] %}{{ a }}{{ b }}", "{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }};{% endfor %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(a=5, c='x') }}|{{ m() }}",
    "{% macro fact(k) %}{{ 1 if k < 2 else k * fact(k - 1)|int }}{% endmacro %}{{ fact(5) }}",
    "{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ m() }}",
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}\n  b\n  {% endif %}\n  c\n\n", "a \n {%- if true -%} \n b \n {%- endif -%} \n c", "  {{ n }}  \n  {# c #}  \n  x", "{{ n -}}   \n  y", "x  {{- n }}", "{#- c -#}  x",
    "   {%+ if true %}   x{% endif %}", "{% if true +%}\nx{% endif %}", "\n\n{% if true %}\n\nx{% endif %}\n\n", "a\r\nb\rc{{ 'x' }}\r\n", "{{ '{{' }}{{ '%}' }}", "{{ {'a': {'b': 1}} }}", "{% raw -%}  {{ x }} {%- endraw %}  y", "  {% raw %}a{% endraw %}\nb",
    "{% for i in empty %}x{% else %}none{% endfor %}", "{% for k in nested %}{{ k }},{% endfor %}", "{% for c in 'é日' %}{{ c }},{% endfor %}", "{% for i in missing %}x{% endfor %}|", "{% for r in rows if r.n == 2 %}{{ loop.index }}{{ r.s }}{% endfor %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.index }}{{ a }}{{ b }} {% endfor %}{{ loop.index }}{% endfor %}", "{% filter upper|trim %} a{{ s }}{% endfilter %}", "{% set x %}a{{ n }}{% endset %}{{ x|length }}{{ x }}", "{% generation %}x{% set v = 1 %}{% endgeneration %}",
    "{% if none_ %}a{% elif n > 100 %}b{% elif t %}c{% else %}d{% endif %}", "{% set x = 'a' if t else 'b' %}{{ x }}", "{% set x = [] %}{{ x }}", "{% for i in [3, 1, 2]|sort %}{{ i }}{% endfor %}", "{{ n, m }}", "{% set p = n, m %}{{ p }}",
    # refused by both
    "{% if %}{% endif %}", "{{ }}", "{% for x %}{% endfor %}", "{% endif %}", "{% if t %}", "{{ n", "{% unknown %}", "{{ 'abc }}", "{{ n | }}", "{{ (n }}", "{{ n ] }}", "{% set x.y.z = 1 %}", "{# open", "{{ n n }}", "{{ n..x }}", "{% raw %} x", "{{ 1 + }}", "{{ [1, }}", "{{ $ }}", "{% set x.y = 1 %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "{% for a, b in [1] %}{% endfor %}", "{% break %}",
]
