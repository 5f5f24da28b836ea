"""The official `openai` package against a running `elrea serve`: every call it makes must work unchanged.

    python tools/oracle/openai_client.py --url http://127.0.0.1:8080 [--key KEY]

Checks chat and plain completions (whole, streamed, async), models, embeddings, log-probabilities, usage, errors as the
package's own exceptions, and the `elrea` field through extra_body. Prints one line per check; exit status 1 when one fails.
"""

import argparse
import asyncio
import math
import sys
import traceback

import openai

CHECKS = []
MESSAGES = [{"role": "user", "content": "What is 17 + 25?"}]


def check(function):
    CHECKS.append(function)
    return function


@check
def models_are_listed(client, model):
    ids = [m.id for m in client.models.list()]
    assert model in ids and f"{model}/base" in ids and f"{model}/backbone" in ids, ids


@check
def a_stream_is_the_whole_answer(client, model):
    whole = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=24)
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=24, stream=True,
                                                 stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason


@check
def log_probabilities(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8, logprobs=True, top_logprobs=4)
    for token in answer.choices[0].logprobs.content:
        assert len(token.top_logprobs) == 4 and token.logprob == token.top_logprobs[0].logprob
        assert sum(math.exp(t.logprob) for t in token.top_logprobs) <= 1.0001


@check
def choices_and_seeds(client, model):
    ask = lambda: client.chat.completions.create(model=model, messages=MESSAGES, n=3, temperature=1, seed=5, max_tokens=12)
    first, second = ask(), ask()
    texts = [c.message.content for c in first.choices]
    assert texts == [c.message.content for c in second.choices] and len(texts) == 3


@check
def plain_completions(client, model):
    answer = client.completions.create(model=model, prompt=["One, two,", "Red, green,"], max_tokens=5, logprobs=2)
    assert [c.index for c in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens - len(answer.choices[1].logprobs.tokens)


@check
def stop_and_bias(client, model):
    whole = client.completions.create(model=model, prompt="Count: 1, 2, 3,", max_tokens=16).choices[0].text
    stop = whole[len(whole) // 2:][:2]
    cut = client.completions.create(model=model, prompt="Count: 1, 2, 3,", max_tokens=16, stop=[stop])
    assert cut.choices[0].text == whole[:whole.find(stop)] and cut.choices[0].finish_reason == "stop"


@check
def embeddings(client, model):
    whole = client.embeddings.create(model=model, input=["What is 3 + 4?", "What is 8 + 9?", "Sort: pear, apple"]).data
    cosine = lambda a, b: sum(x * y for x, y in zip(a.embedding, b.embedding))
    assert abs(cosine(whole[0], whole[0]) - 1) < 1e-4
    assert cosine(whole[0], whole[1]) > cosine(whole[0], whole[2])
    short = client.embeddings.create(model=model, input="What is 3 + 4?", dimensions=64, encoding_format="float").data[0]
    scale = math.sqrt(sum(x * x for x in whole[0].embedding[:64]))
    assert max(abs(a - b / scale) for a, b in zip(short.embedding, whole[0].embedding)) < 1e-4


@check
def the_elrea_field(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=6,
                                            extra_body={"elrea": {"nearest": 2, "disagreement": True}})
    info = answer.model_extra["elrea"]
    assert len(info["nearest_rows"]) == 2 and len(info["disagreement"]) == answer.usage.completion_tokens


@check
def errors_are_the_packages_own(client, model):
    expected = [(openai.NotFoundError, {"model": "nobody", "messages": MESSAGES}),
                (openai.BadRequestError, {"model": model, "messages": MESSAGES, "temperature": 99}),
                (openai.BadRequestError, {"model": model, "messages": MESSAGES, "response_format": {"type": "json_object"}})]
    for kind, arguments in expected:
        try:
            client.chat.completions.create(**arguments)
        except kind as error:
            assert error.body["message"], error
        else:
            raise AssertionError(f"no {kind.__name__}")


def ask_side_by_side(arguments, model):
    async def run():
        async with openai.AsyncOpenAI(base_url=arguments.url + "/v1", api_key=arguments.key) as client:
            questions = [f"What is {i} + {i + 3}?" for i in range(12)]
            create = lambda q: client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": q}], max_tokens=8)
            together = await asyncio.gather(*(create(q) for q in questions))
            for question, answer in zip(questions, together):
                alone = await create(question)
                assert answer.usage.prompt_tokens == alone.usage.prompt_tokens, question
    asyncio.run(run())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="none")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.url + "/v1", api_key=arguments.key, max_retries=0)
    model = client.models.list().data[0].id
    failed = 0
    for name, run in [(c.__name__, lambda c=c: c(client, model)) for c in CHECKS] + \
                     [("requests_side_by_side", lambda: ask_side_by_side(arguments, model))]:
        try:
            run()
            print("ok    ", name)
        except Exception:
            failed += 1
            print("FAILED", name)
            traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
