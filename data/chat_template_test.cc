// Rendering against jinja2, detection, token boundaries and refusals.
#include "data/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

// A small tokenizer with this model template and the control tokens of all families.
std::unique_ptr<Tokenizer> WithTemplate(const std::string& source) {
  SortedJson root = TinyTokenizerJson("smollm");
  int64_t next = 0;
  for (const SortedJson& token : root["added_tokens"]) next = std::max(next, token["id"].get<int64_t>() + 1);
  for (const char* content : {"<bos>", "<eos>", "<end_of_turn>", "<start_of_turn>", "<|eot_id|>",
                              "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"}) {
    root["added_tokens"].push_back(
        {{"id", next++}, {"content", content}, {"special", true}, {"normalized", false}});
  }
  const TempDir folder;
  WriteFileAtomically(folder / "tokenizer.json", root.dump());
  const SortedJson config = {{"bos_token", "<bos>"}, {"eos_token", "<eos>"}, {"add_bos_token", true}};
  WriteFileAtomically(folder / "tokenizer_config.json", config.dump());
  if (!source.empty()) WriteFileAtomically(folder / "chat_template.jinja", source);
  return Tokenizer::Load(folder.path());
}

std::vector<ChatMessage> MessagesOf(const SortedJson& list) {
  std::vector<ChatMessage> messages;
  for (const SortedJson& message : list) messages.push_back({message["role"], message["content"]});
  return messages;
}

void ExpectInvalid(const std::function<void()>& action, const std::string& named) {
  try {
    action();
    ADD_FAILURE() << "accepted; it should name " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput) << error.what();
    EXPECT_NE(error.message().find(named), std::string::npos) << error.what();
  }
}

TEST(ChatTemplate, DetectsAndRendersAsJinjaDoes) {
  size_t rendered = 0;
  for (const SortedJson& golden : ReadSortedJsonFile(GoldenPath("tokenizer_chat.json"))) {
    SCOPED_TRACE(golden["name"]);
    const auto tokenizer = WithTemplate(golden["source"]);
    const ChatTemplate chat = ChatTemplate::For(*tokenizer, "auto");
    EXPECT_EQ(chat.name(), golden["name"].get<std::string>());
    for (const SortedJson& conversation : golden["conversations"]) {
      const auto messages = MessagesOf(conversation["messages"]);
      if (conversation["prompt"].is_null()) {
        EXPECT_THROW(chat.RenderPrompt(messages), Error) << conversation["messages"];
      } else {
        EXPECT_EQ(chat.RenderPrompt(messages), conversation["prompt"].get<std::string>());
        ++rendered;
      }
    }
  }
  EXPECT_GT(rendered, 50u);
}

TEST(ChatTemplate, PromptHasBosOnceAndAnswersEndTheTurn) {
  const auto tokenizer = WithTemplate("");
  const std::vector<ChatMessage> messages = {{"user", "hi"}};
  for (const std::string& name : ChatTemplate::Names()) {
    if (name == "jinja") continue;  // the model has none
    const ChatTemplate chat = ChatTemplate::For(*tokenizer, name);
    const auto prompt = chat.EncodePrompt(messages);
    EXPECT_EQ(std::count(prompt.begin(), prompt.end(), *tokenizer->bos()), 1) << name;
    EXPECT_EQ(prompt.front(), *tokenizer->bos()) << name;
    const auto answer = chat.EncodeResponse("the <|im_end|> <eos> end");
    EXPECT_EQ(answer.back(), chat.stop_tokens().front()) << name;
    for (const int32_t stop : chat.stop_tokens()) {  // the one at the end, and none in the text
      EXPECT_EQ(std::count(answer.begin(), answer.end(), stop), stop == answer.back() ? 1 : 0) << name;
    }
    EXPECT_EQ(tokenizer->Decode(answer, true), "the <|im_end|> <eos> end") << name;
    EXPECT_EQ(std::count(chat.stop_tokens().begin(), chat.stop_tokens().end(), *tokenizer->eos()), 1) << name;
  }
}

TEST(ChatTemplate, PromptsOfAUserBeginWithTheBeginning) {
  const auto tokenizer = WithTemplate("");
  for (const std::string& name : ChatTemplate::Names()) {
    if (name == "jinja") continue;  // the model has none
    const ChatTemplate chat = ChatTemplate::For(*tokenizer, name);
    const std::vector<int32_t> beginning = chat.Beginning();
    for (const char* text : {"hi", "17 apples", "Name", "<|im_end|>"}) {
      const auto prompt = chat.EncodePrompt({{"user", text}});
      EXPECT_TRUE(prompt.size() > beginning.size() && std::equal(beginning.begin(), beginning.end(), prompt.begin())) << name << text;
    }
    if (name == "smollm2") {  // its system prompt
      const auto decoded = tokenizer->Decode(beginning, /*skip_special=*/false);
      EXPECT_NE(decoded.find("helpful AI assistant"), std::string::npos) << decoded;
    }
  }
  const auto refusing = WithTemplate("{{ raise_exception('no') }}");
  EXPECT_TRUE(ChatTemplate::For(*refusing, "jinja").Beginning().empty());
}

TEST(ChatTemplate, PlainIsTextNewlineAnswerEos) {
  const auto tokenizer = WithTemplate("");
  const ChatTemplate chat = ChatTemplate::For(*tokenizer, "auto");
  EXPECT_EQ(chat.name(), "plain");
  EXPECT_EQ(chat.RenderPrompt({{"system", "Be brief."}, {"user", "2 + 2?"}}), "Be brief.\n2 + 2?\n");
  EXPECT_EQ(chat.EncodeResponse("4").back(), *tokenizer->eos());
}

TEST(ChatTemplate, TemplatesThatCannotBeReadSayWhereAndHowToChoose) {
  for (const char* source :
       {"a\n{% include 'x' %}", "<|im_start|>\n{{ messages | }}", "{% for m in messages %}"}) {
    const auto tokenizer = WithTemplate(source);
    ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "auto"); }, "--set data.chat_template=NAME");
    ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "auto"); }, "chatml, smollm2");
    ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "jinja"); }, "chat template, line ");
    EXPECT_EQ(ChatTemplate::For(*tokenizer, "chatml").name(), "chatml");
  }
  const auto tokenizer = WithTemplate("");
  ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "chatlm"); }, "did you mean \"chatml\"?");
  ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "jinja"); }, "no chat template of its own");
}

// Strings of a family in the source are not enough: the prompts must be the family's.
TEST(ChatTemplate, OtherTemplatesAreRenderedAsTheyAre) {
  const std::string loop =
      "{% for m in messages %}<|im_start|>{{ m.role }}{{ '\n' ~ m.content }}<|im_end|>{{ '\n' }}{% endfor %}";
  const std::string end = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  EXPECT_EQ(ChatTemplate::For(*WithTemplate(loop + end), "auto").name(), "chatml");
  const std::string thinking =
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}";
  const auto tokenizer = WithTemplate(loop + thinking);
  const ChatTemplate chat = ChatTemplate::For(*tokenizer, "auto");
  EXPECT_EQ(chat.name(), "jinja");
  EXPECT_EQ(chat.RenderPrompt({{"user", " hi "}}),
            "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n<think>\n");
  EXPECT_EQ(chat.stop_tokens(),
            (std::vector<int32_t>{*tokenizer->FindToken("<|im_end|>"), *tokenizer->eos()}));
  EXPECT_EQ(tokenizer->Decode(chat.EncodeResponse(" 4 "), false), " 4 <|im_end|>");
  EXPECT_NE(chat.fingerprint(), ChatTemplate::For(*WithTemplate(loop), "jinja").fingerprint());
  ExpectInvalid([&] { chat.RenderPrompt({}); }, "no messages");
}

// What stands before an answer belongs to what is learnt; a template that strips answers gets them stripped.
TEST(ChatTemplate, AnswersTakeTheFormOfTheModelsTemplate) {
  const auto tokenizer = WithTemplate(
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %}"
      "{{ ' ' + m.content|trim + eos_token }}{% endif %}{% endfor %}");
  const ChatTemplate chat = ChatTemplate::For(*tokenizer, "auto");
  EXPECT_EQ(chat.name(), "jinja");
  EXPECT_EQ(tokenizer->Decode(chat.EncodeResponse(" 4 "), false), " 4<eos>");
  EXPECT_EQ(chat.stop_tokens(), std::vector<int32_t>{*tokenizer->eos()});
  const auto prompt = chat.EncodePrompt({{"user", "hi"}});
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), *tokenizer->bos()), 1);
  const auto refusing =
      WithTemplate("{{ raise_exception('No such thing') if messages|length > 1 else messages[0].content }}");
  const ChatTemplate strict = ChatTemplate::For(*refusing, "auto");
  EXPECT_EQ(strict.stop_tokens().front(), *refusing->eos());
  ExpectInvalid([&] { strict.RenderPrompt({{"user", "a"}, {"assistant", "b"}}); }, "No such thing");
}

TEST(ChatTemplate, MissingTurnTokensAreNamed) {
  const auto tokenizer = LoadJsonTokenizer(TinyTokenizerJson("smollm"));  // no EOS, no Gemma tokens
  ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "gemma"); }, "<end_of_turn>");
  ExpectInvalid([&] { ChatTemplate::For(*tokenizer, "plain"); }, "EOS");
}

TEST(ChatTemplate, ImpossibleConversationsAreRefused) {
  const auto tokenizer = WithTemplate("");
  for (const std::string& name : ChatTemplate::Names()) {
    if (name == "jinja") continue;  // the model has none
    const ChatTemplate chat = ChatTemplate::For(*tokenizer, name);
    ExpectInvalid([&] { chat.RenderPrompt({}); }, "no messages");
    ExpectInvalid([&] { chat.RenderPrompt({{"tool", "x"}}); }, "\"tool\"");
  }
  const ChatTemplate gemma = ChatTemplate::For(*tokenizer, "gemma");
  ExpectInvalid([&] { gemma.RenderPrompt({{"user", "a"}, {"user", "b"}}); }, "message 2");
  const ChatTemplate mistral = ChatTemplate::For(*tokenizer, "mistral");
  ExpectInvalid([&] { mistral.RenderPrompt({{"system", "a"}, {"user", "b"}}); }, "no system text");
}

TEST(ChatTemplate, InvalidUtf8IsRepaired) {
  const auto tokenizer = WithTemplate("");
  for (const std::string& name : ChatTemplate::Names()) {
    if (name == "jinja") continue;  // the model has none
    const ChatTemplate chat = ChatTemplate::For(*tokenizer, name);
    EXPECT_NE(chat.RenderPrompt({{"user", "\xE2\x28\x80"}}).find("\uFFFD(\uFFFD"), std::string::npos) << name;
    EXPECT_NO_THROW(chat.EncodeResponse("\xF0\x9F"));
  }
}

}  // namespace
}  // namespace elrea
