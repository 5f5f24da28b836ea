#include "serve/api_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

// Without branches on the contents: every byte of the key is looked at.
bool EqualsInConstantTime(std::string_view given, std::string_view key) {
  volatile unsigned char differing = given.size() != key.size();
  for (size_t i = 0; i < key.size(); ++i) {
    const char other = given.empty() ? '\0' : given[i % given.size()];
    differing = static_cast<unsigned char>(differing | (other ^ key[i]));
  }
  return differing == 0;
}

}  // namespace

std::vector<std::string> ReadKeys(const fs::path& path) {
  constexpr size_t kMinLength = 16;
  std::vector<std::string> keys;
  ForEachLine(path, [&](int64_t number, std::string_view line) {
    const std::string key = Trim(line);
    if (key.empty() || key.starts_with("#")) return;
    const bool visible = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (key.size() < kMinLength || !visible) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}:{}: a key has at least {} visible ASCII characters and no spaces", path.string(),
                              number, kMinLength));
    }
    keys.push_back(key);
  });
  if (keys.empty()) {
    throw Error(ErrorKind::kInvalidInput, path.string() + " holds no keys; write one per line");
  }
  return keys;
}

bool IsKey(std::string_view given, const std::vector<std::string>& keys) {
  bool found = false;
  for (const std::string& key : keys) found |= EqualsInConstantTime(given, key);
  return found;
}

}  // namespace elrea
