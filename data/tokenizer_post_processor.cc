// The "post_processor" section of a tokenizer.json.
#include <fmt/format.h>

#include "core/error.h"
#include "data/tokenizer_source.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;

class PostProcessorReader {
 public:
  PostProcessorReader(const TokenizerSource& source, TokenizerSpec& spec) : source_(source), spec_(spec) {}

  void Read(const SortedJson& section, int depth) {
    const auto type = JsonField<std::string>(section, "type", source_.origin + ": post_processor");
    if (type == "Sequence" && depth < kMaxNesting) {
      for (const SortedJson& part : Section(source_, section, "processors", false)) Read(part, depth + 1);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      Wrap({PairId(section, "cls")}, {PairId(section, "sep")});
    } else if (type == "TemplateProcessing") {
      ReadTemplate(section);
    } else if (type != "ByteLevel") {  // which only moves offsets
      throw Error(
          ErrorKind::kInvalidInput,
          fmt::format("{}: post_processor {} is not supported (Sequence, TemplateProcessing, BertProcessing, "
                      "RobertaProcessing and ByteLevel are)",
                      source_.origin, type));
    }
  }

 private:
  // Those of a Sequence go around what the ones before put there.
  void Wrap(std::vector<int32_t> before, const std::vector<int32_t>& behind) {
    before.insert(before.end(), spec_.prefix.begin(), spec_.prefix.end());
    spec_.prefix = std::move(before);
    spec_.suffix.insert(spec_.suffix.end(), behind.begin(), behind.end());
  }

  int32_t Checked(const SortedJson& id, const std::string& field) const {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= spec_.vocabulary.size()) {
      ThrowCorrupt(source_,
                   fmt::format("post_processor: {} is {}, not the id of a token", field, JsonExcerpt(id)));
    }
    return id.get<int32_t>();
  }

  // ["[CLS]", 101]
  int32_t PairId(const SortedJson& section, const char* key) const {
    const auto pair = section.find(key);
    if (pair == section.end() || !pair->is_array() || pair->size() != 2)
      ThrowCorrupt(source_, fmt::format("post_processor: {} is not a token and its id", key));
    return Checked((*pair)[1], key);
  }

  // The ids that a template's special token stands for.
  std::vector<int32_t> Ids(const SortedJson& named, const SortedJson& tokens) const {
    const auto name = JsonField<std::string>(named, "id", source_.origin + ": post_processor.single");
    const auto found = tokens.find(name);
    if (found == tokens.end() || !found->is_object() || !found->contains("ids") ||
        !(*found)["ids"].is_array())
      ThrowCorrupt(source_, fmt::format("post_processor.special_tokens has no ids of \"{}\"", name));
    std::vector<int32_t> ids;
    for (const SortedJson& id : (*found)["ids"]) ids.push_back(Checked(id, "special_tokens." + name));
    return ids;
  }

  void ReadTemplate(const SortedJson& section) {
    const SortedJson& tokens = Section(source_, section, "special_tokens", true);
    std::vector<int32_t> before, behind;
    bool behind_text = false;
    for (const SortedJson& part : Section(source_, section, "single", false)) {
      if (!part.is_object()) ThrowCorrupt(source_, "post_processor.single has a part that is no object");
      if (part.contains("Sequence")) {
        behind_text = true;
      } else if (part.contains("SpecialToken")) {
        const std::vector<int32_t> ids = Ids(part["SpecialToken"], tokens);
        std::vector<int32_t>& side = behind_text ? behind : before;
        side.insert(side.end(), ids.begin(), ids.end());
      } else {
        ThrowCorrupt(source_, "post_processor.single has a part of an unknown kind: " + JsonExcerpt(part));
      }
    }
    Wrap(std::move(before), behind);
  }

  const TokenizerSource& source_;
  TokenizerSpec& spec_;
};

}  // namespace

void ReadPostProcessor(const TokenizerSource& source, const SortedJson& section, TokenizerSpec& spec) {
  if (!section.is_null()) PostProcessorReader(source, spec).Read(section, 0);
}

}  // namespace elrea
