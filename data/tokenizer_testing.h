// What the tokenizer tests share: golden files (made by tools/oracle/tokenizer_golden.py) and comparing
// against them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/temp_dir.h"
#include "data/tokenizer.h"

namespace elrea {

inline fs::path GoldenPath(const std::string& name) {
  return fs::path(ELREA_SOURCE_DIR) / "tests" / "golden" / name;
}

// A case's text; "hex" for byte strings that are not UTF-8.
inline std::string GoldenText(const SortedJson& golden_case) {
  if (golden_case.contains("text")) return golden_case["text"].get<std::string>();
  const auto hex = golden_case["hex"].get<std::string>();
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// `ids` holds "ids" with control tokens parsed, and "text_ids" where those differ when they are left as text.
inline void ExpectGoldenIds(const Tokenizer& tokenizer, const std::string& text, const SortedJson& ids) {
  EXPECT_EQ(tokenizer.Encode(text, SpecialTokens::kParse), ids["ids"].get<std::vector<int32_t>>())
      << SortedJson(text).dump(-1, ' ', true, SortedJson::error_handler_t::replace);
  EXPECT_EQ(tokenizer.Encode(text, SpecialTokens::kAsText),
            ids[ids.contains("text_ids") ? "text_ids" : "ids"].get<std::vector<int32_t>>())
      << SortedJson(text).dump(-1, ' ', true, SortedJson::error_handler_t::replace);
}

// One of the small tokenizers of a golden file, as a tokenizer.json's content.
inline SortedJson VariantJson(const SortedJson& golden, const std::string& variant) {
  const SortedJson& recipe = golden["variants"][variant];
  SortedJson root = golden["bases"][recipe["base"].get<std::string>()];
  root.merge_patch(recipe["patch"]);
  return root;
}

inline SortedJson TinyTokenizerJson(const std::string& variant) {
  static const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_tiny.json"));
  return VariantJson(golden, variant);
}

inline SortedJson KindTokenizerJson(const std::string& variant) {
  static const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_kinds.json"));
  return VariantJson(golden, variant);
}

inline std::unique_ptr<Tokenizer> LoadJsonTokenizer(const SortedJson& root) {
  const TempDir folder;
  WriteFileAtomically(folder / "tokenizer.json", root.dump());
  return Tokenizer::Load(folder.path());
}

}  // namespace elrea
