"""Chat templates of the families that models come with, rewritten around the constructs that each uses, and single
expressions and statements of the language. Every one is rendered by jinja2 and by ours."""

ALTERNATE = ("{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
             "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}")

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "smollm2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
               "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
               "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
              "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
              "{% for message in loop_messages %}" + ALTERNATE +
              "{% if loop.index0 == 0 and system_message != false %}"
              "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
              "{% else %}{% set content = message['content'] %}{% endif %}"
              "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
              "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role']"
              " + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
              "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "llama3.1": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message is taken out, so that it can be put in the right place #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Given the following functions, please respond with a JSON for a function call.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral_v1": "{{ bos_token }}{% for message in messages %}" + ALTERNATE + "{% if message['role'] == 'user' %}"
                  "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
                  "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "mistral_v3": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
""",
    "qwen2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
             "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
             "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "qwen2.5": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nReturn a json object within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system") %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "gemma1": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
              "{% for message in messages %}" + ALTERNATE + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
              "{% else %}{% set role = message['role'] %}{% endif %}"
              "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "gemma3": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
    "phi3": "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
            "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
            "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "phi4": "{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}"
            "{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}"
            "{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}"
            "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "smollm3": """{%- if enable_thinking is not defined -%}
    {%- set enable_thinking = true -%}
{%- endif -%}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}
    {%- set reasoning_mode = "/no_think" -%}
  {%- elif "/think" in system_message -%}
    {%- set reasoning_mode = "/think" -%}
  {%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{{- "## Metadata\\n\\n" -}}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today Date: " ~ today ~ "\\n" -}}
{{- "Reasoning Mode: " + reasoning_mode + "\\n\\n" -}}
{{- "## Custom Instructions\\n\\n" -}}
{%- if custom_instructions -%}
  {{- custom_instructions + "\\n\\n" -}}
{%- elif reasoning_mode == "/think" -%}
  {{- "You are a helpful AI assistant. Think first.\\n\\n" -}}
{%- else -%}
  {{- "You are a helpful AI assistant.\\n\\n" -}}
{%- endif -%}
{%- if xml_tools or python_tools or tools -%}
  {{- "### Tools\\n\\n" -}}
  {%- set ns = namespace(xml_tool_string="<tools>\\n") -%}
  {%- for tool in (tools or [])[:] -%}
    {%- set ns.xml_tool_string = ns.xml_tool_string ~ (tool | string) ~ "\\n" -%}
  {%- endfor -%}
  {{- ns.xml_tool_string + "</tools>\\n\\n" -}}
{%- endif -%}
{{- "<|im_end|>\\n" -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\\n"  + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- elif message.role == "tool" -%}
    {{ "<|im_start|>" + "user\\n"  + content + "<|im_end|>\\n" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ "<|im_start|>assistant\\n" ~ ("" if reasoning_mode == "/think" else "<think>\\n\\n</think>\\n") }}
{%- endif -%}""",
    "deepseek_v3": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
                   "{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}"
                   "{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}"
                   "{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}"
                   "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}"
                   "{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}"
                   "{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}"
                   "{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}"
                   "{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}"
                   "{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```' + '<｜tool▁call▁end｜>'}}"
                   "{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}"
                   "{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{%- set content = message['content'] %}"
                   "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
                   "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}"
                   "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}",
    "command_r": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
                 "{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}"
                 "{% set system_message = 'You are Command-R' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
                 "{% if system_message != false %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + system_message + '<|END_OF_TURN_TOKEN|>' }}{% endif %}"
                 "{% for message in loop_messages %}" + ALTERNATE + "{% set content = message['content'] %}"
                 "{% if message['role'] == 'user' %}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
                 "{% elif message['role'] == 'assistant' %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
                 "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
    "command_r_tools": """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" +  json_to_python_type(json_spec.items) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties or {"type": "string"}) + ']'}}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- macro old_tool_parser(tools) %}
{%- for tool in tools %}
    {%- if loop.index0 != 0 %}
        {{- '\\n\\n' }}
    {%- endif %}
    {{- '```python\\ndef ' + tool.function.name + '(' }}
    {%- for param_name, param_fields in tool.function.parameters.properties|items %}
        {%- if loop.index0 != 0 %}
            {{- ', '}}
        {%- endif %}
        {{- param_name + ': ' }}
        {%- if not param_name in tool.function.parameters.required %}
            {{- 'Optional[' + json_to_python_type(param_fields) + '] = None'}}
        {%- else %}
            {{- json_to_python_type(param_fields) }}
        {%- endif %}
    {%- endfor %}
    {{- ') -> List[Dict]:\\n    \"\"\"'}}
    {{- tool.function.description }}
    {{- '\\n    \"\"\"\\n    pass\\n```' }}
{%- endfor %}
{%- endmacro %}
{{- bos_token }}{{ old_tool_parser(tools=tools or []) }}
{%- for message in messages %}{{ '\\n' ~ message.role|upper ~ ': ' ~ (message.content or '')|trim }}{% endfor %}""",
    "falcon": "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}{% if message['role'] == 'system' %}{{ 'System: ' }}"
              "{% elif message['role'] == 'user' %}{{ 'User: ' }}{% elif message['role'] == 'assistant' %}{{ 'Falcon: ' }}{% endif %}"
              "{{ message['content'] | default('', true) }}{% endfor %}{% if add_generation_prompt %}{{ '\n' + 'Falcon:' }}{% endif %}",
    "vicuna": "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'].strip() + '\n\n' }}{% set messages = messages[1:] %}{% endif %}"
              "{% for message in messages %}{{ message['role'].upper() + ': ' + message['content'] | trim + (eos_token if message['role'] == 'assistant' else ' ') }}"
              "{% endfor %}{{ 'ASSISTANT:' if add_generation_prompt }}",
    "alpaca": "{{ (messages|selectattr('role', 'equalto', 'system')|list|last).content|trim if (messages|selectattr('role', 'equalto', 'system')|list) else '' }}\n\n"
              "{% for message in messages %}\n{% if message['role'] == 'user' %}\n### Instruction:\n{{ message['content']|trim -}}\n"
              "{% if not loop.last %}\n\n\n{% endif %}\n{% elif message['role'] == 'assistant' %}\n### Response:\n{{ message['content']|trim -}}\n"
              "{% if not loop.last %}\n\n\n{% endif %}\n{% endif %}\n{% endfor %}\n{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}\n### Response:\n{% endif %}",
    "olmo": "{{ eos_token }}{% for message in messages %}\n{% if message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] }}\n"
            "{% elif message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] }}\n{% elif message['role'] == 'assistant' %}\n"
            "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "granite": "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content'] %}\n    {%- set loop_messages = messages[1:] %}\n"
               "{%- else %}\n    {%- set system_message = \"Knowledge Cutoff Date: April 2024.\\nToday's Date: \" + strftime_now('%B %d, %Y') + \".\" %}\n"
               "    {%- if tools and documents %}\n        {%- set system_message = system_message + \" Both.\" %}\n    {%- elif tools %}\n"
               "        {%- set system_message = system_message + \" Tools.\" %}\n    {%- endif %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n"
               "{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}\n"
               "{%- if tools %}\n    {{- '<|start_of_role|>tools<|end_of_role|>' }}\n    {{- tools | tojson(indent=4) }}\n    {{- '<|end_of_text|>\\n' }}\n{%- endif %}\n"
               "{%- for message in loop_messages %}\n    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + (message['content'] or '') + '<|end_of_text|>\\n' }}\n"
               "    {%- if loop.last and add_generation_prompt %}\n    {{- '<|start_of_role|>assistant' }}\n            {%- if controls %}\n"
               "                {{- ' ' + controls | tojson()}}\n            {%- endif %}\n        {{- '<|end_of_role|>' }}\n    {%- endif %}\n{%- endfor %}",
    "hermes_tools": """{%- macro render_tool(tool) -%}
    {%- set f = tool.function if tool.function is defined else tool -%}
    {{- f.name ~ "(" ~ f.parameters.properties.keys()|list|join(", ") ~ ")" -}}
{%- endmacro -%}
{{- bos_token }}
{%- set system = messages|selectattr("role", "eq", "system")|map(attribute="content")|join("\\n") %}
{%- if tools %}
    {{- "<|im_start|>system\\n" ~ (system ~ "\\n" if system else "") ~ "Functions: " }}
    {%- for tool in tools -%}
        {{- render_tool(tool) ~ ("" if loop.last else "; ") }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- elif system %}
    {{- "<|im_start|>system\\n" ~ system ~ "<|im_end|>\\n" }}
{%- endif %}
{%- for message in messages|rejectattr("role", "eq", "system") %}
    {%- if message.role == "tool" %}
        {%- if loop.previtem is not defined or loop.previtem.role != "tool" %}{{ "<|im_start|>tool\\n" }}{% endif %}
        {{- "<tool_response>\\n" ~ message.content ~ "\\n</tool_response>\\n" }}
        {%- if loop.nextitem is not defined or loop.nextitem.role != "tool" %}{{ "<|im_end|>\\n" }}{% endif %}
        {%- continue %}
    {%- endif %}
    {{- "<|im_start|>" ~ message.role ~ "\\n" ~ (message.content or "") }}
    {%- for call in message.tool_calls|default([], true) %}
        {{- "\\n<tool_call>\\n" ~ {"name": call.function.name, "arguments": call.function.arguments}|tojson(sort_keys=true) ~ "\\n</tool_call>" }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\\n" }}{% endif %}
""",
    "functionary": """{%- set today = strftime_now('%Y-%m-%d') -%}
{%- for message in messages %}
{%- if message['role'] == 'user' or message['role'] == 'system' %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}
{%- elif message['role'] == 'tool' %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + 'name=' + (message['name'] or 'x') + '\n' + message['content'] + '<|eot_id|>' }}
{%- else %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'}}
    {%- if message['content'] is not none %}
        {{- '>>>all\n' + message['content'] }}
    {%- endif %}
    {%- if 'tool_calls' in message and message['tool_calls'] is not none %}
        {%- for tool_call in message['tool_calls'] %}
            {{- '>>>' + tool_call['function']['name'] + '\n' + tool_call['function']['arguments'] | string }}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n>>>' }}{% endif %}""",
    "chatglm": "[gMASK]<sop>{% if tools %}<|system|>\n# 可用工具{% for tool in tools %}{% set function = tool.function if tool.get(\"function\") else tool %}\n\n## {{ function.name }}\n\n"
               "{{ function | tojson(indent=4, ensure_ascii=False) }}\n在调用上述函数时，请使用 Json 格式表示调用的参数。{% endfor %}{% endif %}"
               "{% for msg in messages %}<|{{ msg.role }}|>\n{{ msg.content if msg.content is string else '' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "gpt_oss": """{%- macro render_type(spec, is_nullable=false, depth=0) -%}
    {%- if spec.type == 'array' -%}
        {{- (render_type(spec['items'], depth=depth + 1) if spec['items'] else 'any') + '[]' }}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string -%}
        {{- spec.type | join(' | ') }}
    {%- elif spec.enum -%}
        {{- '"' + spec.enum | join('" | "') + '"' }}
    {%- elif spec.type in ['number', 'integer'] -%}
        number
    {%- else -%}
        {{- spec.type | default('any') }}
    {%- endif -%}
    {%- if is_nullable %} | null{% endif -%}
{%- endmacro -%}
{{- "<|start|>system<|message|>You are ChatGPT.\\nCurrent date: " + strftime_now("%Y-%m-%d") + "\\n\\n" }}
{%- for tool in tools or [] %}
    {%- set tool = tool.function %}
    {{- "// " + tool.description + "\\ntype " + tool.name + " = (_: {\\n" }}
    {%- for name, spec in tool.parameters.properties.items() %}
        {{- name ~ ("" if name in (tool.parameters.required or []) else "?") ~ ": " }}
        {{- render_type(spec, is_nullable=spec.nullable) ~ ("," if not loop.last) ~ "\\n" }}
    {%- endfor %}
    {{- "}) => any;\\n" }}
{%- endfor %}
{{- "<|end|>" }}
{%- set last = namespace(name=none) %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {%- set last.name = message.tool_calls[0].function.name %}
        {{- "<|start|>assistant to=functions." ~ last.name ~ "<|channel|>commentary json<|message|>" ~ message.tool_calls[0].function.arguments|tojson ~ "<|call|>" }}
    {%- elif message.role == 'tool' %}
        {%- if last.name is none %}{{ raise_exception("Message has tool role, but there was no previous assistant message with a tool call!") }}{% endif %}
        {{- "<|start|>functions." ~ last.name ~ " to=assistant<|channel|>commentary<|message|>" ~ message.content|tojson ~ "<|end|>" }}
    {%- else %}
        {{- "<|start|>" ~ message.role ~ "<|message|>" ~ message.content ~ "<|end|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|start|>assistant" }}{% endif %}
""",
    "raw_and_filters": """{% raw %}{{ not a tag }} {% nor this %}{% endraw %}
{% filter upper %}a{{ messages|length }}b{% endfilter %}
{% set block %}  {{ messages[0].role }}  {% endset %}[{{ block|trim }}]
{% set shouted | upper | trim %} {{ messages[0].role }} {% endset %}[{{ shouted }}]
{#- a comment -#}
   {%+ if true %}kept{% endif +%}
{% for key, value in {"b": 1, "a": 2}|dictsort %}{{ key }}={{ value }};{% else %}none{% endfor %}
{% for m in messages if m.role == "nobody" %}x{% else %}nobody{% endfor %}
""",
}

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
