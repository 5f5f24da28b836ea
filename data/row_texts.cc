#include "data/row_texts.h"

#include <cstring>

#include "core/error.h"
#include "core/memory_pages.h"

namespace elrea {

RowTexts::RowTexts(const fs::path& path) : file_(path) {
  constexpr size_t kSeenBytes = size_t{1} << 26;  // looked through before they leave the memory again
  const auto bytes = file_.bytes();
  size_t dropped = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    if (begin - dropped > kSeenBytes) {
      DropMappedPages(bytes.subspan(dropped, begin - dropped));
      dropped = begin;
    }
    begins_.push_back(begin);
    const void* end = std::memchr(bytes.data() + begin, '\n', bytes.size() - begin);
    if (end == nullptr) break;
    begin = static_cast<size_t>(static_cast<const std::byte*>(end) - bytes.data()) + 1;
  }
  DropMappedPages(bytes.subspan(dropped));
}

ExampleRecord RowTexts::Record(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  const std::string_view text(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size());
  const size_t end = at + 1 < begins_.size() ? begins_[at + 1] : text.size();
  std::string_view line = text.substr(begins_.at(at), end - begins_[at]);
  if (line.ends_with('\n')) line.remove_suffix(1);
  auto parsed = ParseExampleRow(line, file_.path().string(), row + 1);
  if (auto* record = std::get_if<ExampleRecord>(&parsed)) return std::move(*record);
  throw Error(ErrorKind::kCorrupt, file_.path().string() + ":" + std::to_string(row + 1) + ": " +
                                       std::get<RowFault>(parsed).why + "; the file was changed");
}

}  // namespace elrea
