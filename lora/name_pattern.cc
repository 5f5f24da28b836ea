#include "lora/name_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "core/error.h"

namespace elrea {
namespace {

constexpr size_t kLongest = 4096;
constexpr uint32_t kMatchLimit = 100000;  // steps of the matcher; names have some fifty characters

}  // namespace

NamePattern::NamePattern(const std::string& expression, const std::string& origin)
    : expression_(expression), origin_(origin) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = nullptr;
  if (expression.size() <= kLongest) {
    const std::string whole = "(?:" + expression + ")\\z";
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(whole.data()), whole.size(), PCRE2_ANCHORED, &error, &at, nullptr);
  }
  if (code == nullptr) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: \"{}\" is not a regular expression that can be used; correct it", origin,
                            expression.substr(0, 80)));
  }
  code_.reset(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
}

bool NamePattern::MatchesAll(const std::string& name) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_depth_limit(context.get(), kMatchLimit);
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0, data.get(),
                                 context.get());
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: matching \"{}\" takes too long; use a simpler expression", origin_, expression_));
}

}  // namespace elrea
