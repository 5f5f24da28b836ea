#!/usr/bin/env python3
"""Holds `elrea render` against jinja2 in the settings of transformers, or writes the golden file of the same cases.

    python tools/oracle/jinja_compare.py --elrea PROGRAM      every case; exit status 1 on a difference
    python tools/oracle/jinja_compare.py --golden tests/golden/jinja.json

Cases: the templates of jinja_templates.py on every conversation, with and without tools and generation prompt, and its
expressions and statements. Where jinja2 refuses, so must ours.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
import jinja2.sandbox

import jinja_templates as templates

NOW_S = 1721995200  # noon of 26 July 2024, UTC


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers has it: prints its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("print_body"), [], [], body).set_lineno(line)

    def print_body(self, caller):
        return caller()


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                        extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW_S, datetime.timezone.utc).strftime(form)
    return made


def render(made, source, variables):
    """The text, or None where jinja2 refuses."""
    try:
        return made.from_string(source).render(**variables)
    except Exception:  # pylint: disable=broad-except  # whatever Python raises inside a template refuses it
        return None


def chat_cases(everything):
    for name, source in templates.TEMPLATES.items():
        for index, messages in enumerate(templates.conversations()):
            for kind in range(4):
                if not everything and kind != index % 4:
                    continue
                variables = {"messages": messages, "add_generation_prompt": kind < 2, "bos_token": "<s>", "eos_token": "</s>",
                             "tools": templates.TOOLS if kind % 2 else None}
                yield f"{name}, conversation {index}, kind {kind}", source, variables


def small_cases():
    for expression in templates.EXPRESSIONS:
        yield expression, "{{ " + expression + " }}", templates.VARIABLES
    for statement in templates.STATEMENTS:
        yield statement, statement, templates.VARIABLES


def write_golden(path, made):
    chats = [{"template": name.split(",")[0], "variables": variables, "text": render(made, source, variables)}
             for name, source, variables in chat_cases(False)]
    small = [{"source": source, "text": render(made, source, variables)} for _, source, variables in small_cases()]
    golden = {"now_s": NOW_S, "variables": templates.VARIABLES, "templates": templates.TEMPLATES, "chats": chats, "small": small}
    # One line for each case; characters outside ASCII escaped.
    path.write_text(json.dumps(golden, separators=(",", ":")).replace('},{"template', '},\n{"template').replace(
        '},{"source', '},\n{"source') + "\n")
    print(path, path.stat().st_size, "bytes,", len(chats) + len(small), "cases")


def ours(program, cases):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cases.jsonl"
        path.write_text("".join(json.dumps({"source": source, "variables": variables}) + "\n" for _, source, variables in cases))
        printed = subprocess.run([program, "render", "--input", str(path), "--now", str(NOW_S), "--json"], check=True,
                                 stdout=subprocess.PIPE, text=True, env={"TZ": "UTC"}).stdout
    return [json.loads(line) for line in printed.split("\n") if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elrea")
    parser.add_argument("--golden", type=pathlib.Path)
    args = parser.parse_args()
    made = environment()
    if args.golden:
        write_golden(args.golden, made)
        return
    cases = list(chat_cases(True)) + list(small_cases())
    got = ours(args.elrea, cases)
    if len(got) != len(cases):
        sys.exit(f"{len(cases)} cases went in, {len(got)} lines came out")
    wrong = refused = 0
    for (name, source, variables), line in zip(cases, got):
        expected = render(made, source, variables)
        refused += expected is None
        if line.get("text") != expected:
            wrong += 1
            print(f"{name!r}\n  ours      {line!r:.300}\n  reference {expected!r:.300}")
    print(f"{len(cases)} cases of {len(templates.TEMPLATES)} templates ({refused} refused by jinja2): {wrong} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
