"""For openapi_check.py: refusals with 400 of what the document allows, as no schema can say how long a text is in tokens or
multiply two fields. schemathesis takes 429 for a refusal that says nothing about the request, so that is what it is shown."""

import schemathesis

CODES = (b'"context_length_exceeded"', b'"prompt_too_short"', b'"too_many_choices"')


@schemathesis.hook
def after_call(_context, _case, response):
    if response.status_code == 400 and any(code in response.content for code in CODES):
        response.status_code = 429
