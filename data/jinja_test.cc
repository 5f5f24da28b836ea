// Against jinja2 (tools/oracle/jinja_compare.py): what it renders, ours renders alike; what it refuses, ours
// refuses with a place. And what no template may do to us.
#include "data/jinja.h"

#include <gtest/gtest.h>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/rng.h"
#include "core/text.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

const Json& Golden() {
  static const Json golden = ReadJsonFile(GoldenPath("jinja.json"));
  return golden;
}

JinjaContext ContextOf(const Json& variables) {
  JinjaContext context;
  for (const auto& [name, value] : variables.items()) {
    context.variables.emplace_back(name, JinjaValue::FromJson(value));
  }
  context.now_s = Golden()["now_s"].get<int64_t>();
  return context;
}

// Renders as `text` says; null: refuses with line and column.
void ExpectRendering(const std::string& source, const JinjaContext& context, const Json& text) {
  if (text.is_null()) {
    ExpectError(ErrorKind::kInvalidInput, {"chat template, line ", "column "},
                [&] { JinjaTemplate(source).Render(context); });
    return;
  }
  EXPECT_EQ(JinjaTemplate(source).Render(context), text.get<std::string>());
}

std::string Render(const std::string& source) { return JinjaTemplate(source).Render({}); }

TEST(JinjaGolden, TemplatesOfModelsRenderAsJinja2Does) {
  int rendered = 0;
  for (const Json& chat : Golden()["chats"]) {
    SCOPED_TRACE(chat["template"]);
    const auto source = Golden()["templates"][chat["template"].get<std::string>()].get<std::string>();
    ExpectRendering(source, ContextOf(chat["variables"]), chat["text"]);
    rendered += chat["text"].is_string();
  }
  EXPECT_GT(rendered, 200);
  EXPECT_GE(Golden()["templates"].size(), 25u);
}

TEST(JinjaGolden, EveryConstructRendersAsJinja2Does) {
  const JinjaContext context = ContextOf(Golden()["variables"]);
  for (const Json& small : Golden()["small"]) {
    SCOPED_TRACE(small["source"]);
    ExpectRendering(small["source"].get<std::string>(), context, small["text"]);
  }
}

TEST(Jinja, FaultsNameLineAndColumn) {
  const auto fault = [](const std::string& source, std::string_view where, std::string_view what) {
    ExpectError(ErrorKind::kInvalidInput, {where, what}, [&] { Render(source); });
  };
  fault("a\nb {% block x %}{% endblock %}", "line 2, column 6", "{% block %} is not supported");
  fault("é {{ x.y }}", "line 1, column 7", "\"x\" is undefined");
  fault("\n\n  {{ 1 | shout }}", "line 3, column 10", "filter \"shout\"");
  fault("{{ 1 is prime }}", "line 1, column 9", "test \"prime\"");
  fault("{{ 'a' + 1 }}", "line 1, column 8", "str and int");
  fault("{% if true %}\n", "line 1, column 14", "ends too early");
  fault("{% for x in y recursive %}{% endfor %}", "column 15", "recursive");
  fault("{% include 'x' %}", "column 4", "include");
  fault("{% macro m() %}{{ caller() }}{% endmacro %}", "column 19", "caller");
  fault("{{ raise_exception('No system!') }}", "column 19", "No system!");
  fault("{{ {}.update({}) }}", "column 6", "update");
  fault("{{ ''.__class__ }}", "column 6", "__class__");
  fault("{{ f(*a) }}", "column 6", "unpacking");
}

TEST(Jinja, WorkAndDepthAreBounded) {
  const auto fault = [](const std::string& source, std::string_view what) {
    ExpectError(ErrorKind::kInvalidInput, {what}, [&] { Render(source); });
  };
  const auto repeat = [](const std::string& text, int count) {
    std::string repeated;
    for (int i = 0; i < count; ++i) repeated += text;
    return repeated;
  };
  const std::string loop = "{% for a in range(99999) %}";
  fault(loop + loop + "{% endfor %}{% endfor %}", "never end");
  fault("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too often");
  fault("{{ 'x' * 10 ** 12 }}", "too long");
  fault("{{ range(10 ** 9) }}", "too long");
  fault("{% set ns = namespace(x=[]) %}" + loop + "{% set ns.x = [ns.x] %}{% endfor %}", "nested too deeply");
  fault(loop + "{% set s %}{{ 'x' * 10000 }}{% endset %}{{ s }}{% endfor %}", "too long");
  fault(repeat("{% if 1 %}", 5000), "nested too deeply");
  fault("{{ " + repeat("(", 500) + "1" + repeat(")", 500) + " }}", "nested too deeply");
  fault("{{ " + repeat("[", 500) + "1" + repeat("]", 500) + " }}", "nested too deeply");
  fault("{{ " + repeat("-", 5000) + "1 }}", "nested too deeply");
  fault("{{ " + repeat("not ", 5000) + "1 }}", "nested too deeply");
  fault("{{ 1" + repeat("+1", 5000) + " }}", "too many operators");
  fault("{{ x" + repeat("|trim", 5000) + " }}", "too many filters");
  fault("{{ x" + repeat(".y", 5000) + " }}", "too many operators");
  fault("{{ 99999999999999999999 }}", "too large");
  fault("{{ 2 ** 70 }}", "too large");
  EXPECT_EQ(Render("{{ 0 ** 9999999999 }}{{ (-1) ** 9999999999 }}"), "0-1");
}

// A damaged template renders or throws Error; it never does worse.
TEST(Jinja, DamagedTemplatesRenderOrThrowError) {
  Rng rng(5);
  int refused = 0, rendered = 0;
  for (const auto& [name, source] : Golden()["templates"].items()) {
    const Json& chat = Golden()["chats"][rng.Below(Golden()["chats"].size())];
    const JinjaContext context = ContextOf(chat["variables"]);
    for (int i = 0; i < 20 * DamageEffort(); ++i) {
      std::string damaged = source.get<std::string>();
      for (int change = 0; change < 3; ++change) {
        const size_t at = rng.Below(damaged.size());
        static constexpr std::string_view kBytes = "{}%-+|.,()[]'\"~=#\\ \na1*";
        if (change == 0) damaged.erase(at, rng.Below(4));
        if (change > 0 && at < damaged.size()) damaged[at] = kBytes[rng.Below(kBytes.size())];
      }
      try {
        JinjaTemplate(ReplaceInvalidUtf8(damaged)).Render(context);
        ++rendered;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(rendered, 10);
}

}  // namespace
}  // namespace elrea
