// The "decoder" section of a tokenizer.json.
#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "data/tokenizer_decoder.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;
constexpr const char* kLowLine = "\xE2\x96\x81";

std::string OneCharacter(const SortedJson& section, const char* key, const std::string& origin) {
  auto text = JsonField<std::string>(section, key, origin);
  if (text.empty() || CompleteUtf8Prefix(text) == 0)
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} must be one character", origin, key));
  return text;
}

}  // namespace

TokenDecoder TokenDecoder::FromJson(const SortedJson& section, const std::string& origin) {
  TokenDecoder made;
  if (!section.is_null()) made.AddJson(section, origin, 0);
  return made;
}

void TokenDecoder::AddJson(const SortedJson& section, const std::string& origin, int depth) {
  const auto type = JsonField<std::string>(section, "type", origin + ": decoder");
  const std::string here = origin + ": decoder " + type;
  if (type == "Sequence" && depth < kMaxNesting) {
    for (const SortedJson& part : JsonField<SortedJson>(section, "decoders", here))
      AddJson(part, origin, depth + 1);
  } else if (type == "ByteLevel") {
    Add(ByteLevel{});
  } else if (type == "ByteFallback") {
    Add(ByteFallback{});
  } else if (type == "Fuse") {
    Add(Fuse{});
  } else if (type == "Replace") {
    AddReplace(section, here);
  } else if (type == "Strip") {
    Add(Strip{OneCharacter(section, "content", here), JsonFieldOr<int64_t>(section, "start", 0, here),
              JsonFieldOr<int64_t>(section, "stop", 0, here)});
  } else if (type == "Metaspace") {
    const bool prefix = JsonFieldOr<bool>(section, "add_prefix_space", true, here);
    const auto scheme =
        JsonFieldOr<std::string>(section, "prepend_scheme", prefix ? "always" : "never", here);
    Add(Metaspace{JsonFieldOr<std::string>(section, "replacement", kLowLine, here), scheme != "never"});
  } else if (type == "WordPiece") {
    Add(WordPiece{JsonFieldOr<std::string>(section, "prefix", "##", here),
                  JsonFieldOr<bool>(section, "cleanup", true, here)});
  } else if (type == "BPEDecoder") {
    Add(BpeSuffix{JsonFieldOr<std::string>(section, "suffix", "</w>", here)});
  } else if (type == "CTC") {
    Add(Ctc{JsonFieldOr<std::string>(section, "pad_token", "<pad>", here),
            JsonFieldOr<std::string>(section, "word_delimiter_token", "|", here),
            JsonFieldOr<bool>(section, "cleanup", true, here)});
  } else {
    throw Error(ErrorKind::kInvalidInput,
                here +
                    " is not supported (Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, "
                    "WordPiece, BPEDecoder and CTC are)");
  }
}

void TokenDecoder::AddReplace(const SortedJson& section, const std::string& origin) {
  const auto pattern = JsonField<SortedJson>(section, "pattern", origin);
  const bool is_regex = pattern.is_object() && pattern.contains("Regex");
  Replace replace;
  replace.from = JsonField<std::string>(pattern, is_regex ? "Regex" : "String", origin);
  replace.to = JsonField<std::string>(section, "content", origin);
  if (replace.from.empty()) throw Error(ErrorKind::kCorrupt, origin + ": the pattern is empty");
  if (is_regex) replace.regex = std::make_shared<PreTokenizerRegex>(replace.from, origin);
  Add(std::move(replace));
}

}  // namespace elrea
