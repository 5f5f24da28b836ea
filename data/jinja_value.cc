#include "data/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr int kMaxDepth = 100;

int CheckedDepth(int inner) {
  if (inner >= kMaxDepth) throw JinjaFault{"values are nested too deeply in each other"};
  return inner + 1;
}

int DepthOf(const JinjaList& items) {
  int inner = 0;
  for (const JinjaValue& item : items) inner = std::max(inner, item.depth());
  return CheckedDepth(inner);
}

std::string ReprText(const std::string& text) {
  const bool single = text.find('\'') == text.npos || text.find('"') != text.npos;
  const char quote = single ? '\'' : '"';
  std::string repr(1, quote);
  for (const std::string_view c : Utf8Characters(text)) {
    const auto byte = static_cast<unsigned char>(c[0]);
    if (c[0] == quote || c[0] == '\\') {
      repr += '\\';
      repr += c;
    } else if (c == "\n" || c == "\r" || c == "\t") {
      repr += c == "\n" ? "\\n" : c == "\r" ? "\\r" : "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      repr += fmt::format("\\x{:02x}", byte);
    } else {
      repr += c;
    }
  }
  return repr + quote;
}

std::string ReprItems(const JinjaList& items) {
  std::string text;
  for (const JinjaValue& item : items) text += (text.empty() ? "" : ", ") + item.Repr();
  return text;
}

std::string ReprDict(const JinjaDict& dict) {
  std::string text;
  for (const auto& [key, value] : dict) text += (text.empty() ? "" : ", ") + key.Repr() + ": " + value.Repr();
  return "{" + text + "}";
}

// One JSON value being written.
class JsonWriter {
 public:
  JsonWriter(int64_t indent, bool sort_keys, bool ascii, std::string item_separator,
             std::string key_separator)
      : indent_(indent),
        sort_keys_(sort_keys),
        ascii_(ascii),
        item_separator_(std::move(item_separator)),
        key_separator_(std::move(key_separator)) {}

  std::string Write(const JinjaValue& value, int depth) const {
    if (value.IsNone()) return "null";
    if (const auto* flag = value.As<bool>()) return *flag ? "true" : "false";
    if (const auto* number = value.As<double>(); number && !std::isfinite(*number)) {
      return std::isnan(*number) ? "NaN" : *number > 0 ? "Infinity" : "-Infinity";
    }
    if (value.IsNumber()) return value.Str();
    if (const auto* text = value.text()) return Json(*text).dump(-1, ' ', ascii_);
    std::vector<std::string> parts;
    if (const auto* items = value.items()) {
      for (const JinjaValue& item : *items) parts.push_back(Write(item, depth + 1));
      return Enclose(parts, '[', ']', depth);
    }
    const JinjaDict* dict = value.dict();
    if (dict == nullptr)
      throw JinjaFault{fmt::format("tojson: a value of type {} has no JSON", value.TypeName())};
    JinjaDict entries = *dict;
    if (sort_keys_) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return a.first.Less(b.first); });
    }
    for (const auto& [key, entry] : entries) {
      const std::string name = key.text() ? *key.text() : Write(key, depth + 1);
      parts.push_back(Json(name).dump(-1, ' ', ascii_) + key_separator_ + Write(entry, depth + 1));
    }
    return Enclose(parts, '{', '}', depth);
  }

 private:
  std::string Enclose(const std::vector<std::string>& parts, char open, char close, int depth) const {
    if (parts.empty()) return {open, close};
    const auto line = [&](int level) {
      return indent_ < 0 ? "" : "\n" + std::string(static_cast<size_t>(indent_ * level), ' ');
    };
    return fmt::format("{}{}{}{}{}", open, line(depth + 1),
                       fmt::join(parts, item_separator_ + line(depth + 1)), line(depth), close);
  }

  int64_t indent_;
  bool sort_keys_, ascii_;
  std::string item_separator_, key_separator_;
};

}  // namespace

std::string PythonFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[64];
  const double magnitude = std::fabs(value);
  const bool plain = value == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(digits, digits + sizeof digits, value, format).ptr;
  std::string text(digits, end);
  if (plain && text.find('.') == text.npos) text += ".0";
  return text;
}

std::vector<std::string_view> Utf8Characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t pos = 0; pos < text.size();) {
    const size_t num_bytes = CharAt(text, pos).num_bytes;
    characters.push_back(text.substr(pos, num_bytes));
    pos += num_bytes;
  }
  return characters;
}

JinjaValue JinjaValue::FromJson(const Json& json) {
  if (json.is_null()) return JinjaNone{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}) return json.get<double>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    JinjaList items;
    for (const Json& item : json) items.push_back(FromJson(item));
    return List(std::move(items));
  }
  JinjaDict entries;
  for (const auto& [key, value] : json.items()) entries.emplace_back(std::string(key), FromJson(value));
  return Dict(std::move(entries));
}

JinjaValue JinjaValue::List(JinjaList items) {
  const int depth = DepthOf(items);
  return std::make_shared<const JinjaSequence>(JinjaSequence{std::move(items), false, depth});
}

JinjaValue JinjaValue::Tuple(JinjaList items) {
  const int depth = DepthOf(items);
  return std::make_shared<const JinjaSequence>(JinjaSequence{std::move(items), true, depth});
}

JinjaValue JinjaValue::Dict(JinjaDict items) {
  int inner = 0;
  for (const auto& [key, value] : items) inner = std::max(inner, value.depth());
  return std::make_shared<const JinjaMapping>(JinjaMapping{std::move(items), CheckedDepth(inner)});
}

void JinjaObject::Set(const std::string& name, JinjaValue value) {
  depth = std::max(depth, CheckedDepth(value.depth()));
  attributes[name] = std::move(value);
}

const JinjaList* JinjaValue::items() const {
  const auto* sequence = As<std::shared_ptr<const JinjaSequence>>();
  return sequence ? &(*sequence)->items : nullptr;
}

const JinjaDict* JinjaValue::dict() const {
  const auto* mapping = As<std::shared_ptr<const JinjaMapping>>();
  return mapping ? &(*mapping)->entries : nullptr;
}

bool JinjaValue::is_tuple() const {
  const auto* sequence = As<std::shared_ptr<const JinjaSequence>>();
  return sequence && (*sequence)->is_tuple;
}

int JinjaValue::depth() const {
  if (const auto* sequence = As<std::shared_ptr<const JinjaSequence>>()) return (*sequence)->depth;
  if (const auto* mapping = As<std::shared_ptr<const JinjaMapping>>()) return (*mapping)->depth;
  if (const auto* object = As<std::shared_ptr<JinjaObject>>()) return (*object)->depth;
  return 0;
}

int64_t JinjaValue::AsInteger() const { return As<bool>() ? (*As<bool>() ? 1 : 0) : *As<int64_t>(); }
double JinjaValue::AsDouble() const {
  return As<double>() ? *As<double>() : static_cast<double>(AsInteger());
}

std::string JinjaValue::TypeName() const {
  static constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int",    "float",
                                           "str",       "list",     "dict", "object", "function"};
  if (is_tuple()) return "tuple";
  return kNames[any_.index()];
}

bool JinjaValue::Truth() const {
  if (IsUndefined() || IsNone()) return false;
  if (IsNumber()) return AsDouble() != 0;
  if (text()) return !text()->empty();
  if (items()) return !items()->empty();
  return !dict() || !dict()->empty();
}

std::string JinjaValue::Str() const {
  if (IsUndefined()) return "";
  return text() ? *text() : Repr();
}

std::string JinjaValue::Repr() const {
  if (IsUndefined()) return "Undefined";
  if (IsNone()) return "None";
  if (const auto* flag = As<bool>()) return *flag ? "True" : "False";
  if (const auto* number = As<int64_t>()) return std::to_string(*number);
  if (const auto* number = As<double>()) return PythonFloat(*number);
  if (text()) return ReprText(*text());
  if (is_tuple()) return "(" + ReprItems(*items()) + (items()->size() == 1 ? ",)" : ")");
  if (items()) return "[" + ReprItems(*items()) + "]";
  if (dict()) return ReprDict(*dict());
  throw JinjaFault{fmt::format("a value of type {} cannot be printed", TypeName())};
}

bool JinjaValue::Equals(const JinjaValue& other) const {
  if (IsNumber() && other.IsNumber()) {
    return IsInteger() && other.IsInteger() ? AsInteger() == other.AsInteger()
                                            : AsDouble() == other.AsDouble();
  }
  if (any_.index() != other.any_.index() || is_tuple() != other.is_tuple()) return false;
  if (IsUndefined() || IsNone()) return true;
  if (text()) return *text() == *other.text();
  if (items()) {
    return std::equal(items()->begin(), items()->end(), other.items()->begin(), other.items()->end(),
                      [](const JinjaValue& a, const JinjaValue& b) { return a.Equals(b); });
  }
  if (dict()) {
    if (dict()->size() != other.dict()->size()) return false;
    return std::all_of(dict()->begin(), dict()->end(), [&](const auto& entry) {
      const JinjaValue* found = other.Find(entry.first);
      return found != nullptr && found->Equals(entry.second);
    });
  }
  if (const auto* object = As<std::shared_ptr<JinjaObject>>()) {
    return *object == *other.As<std::shared_ptr<JinjaObject>>();
  }
  return *As<std::shared_ptr<const JinjaCallable>>() == *other.As<std::shared_ptr<const JinjaCallable>>();
}

bool JinjaValue::Less(const JinjaValue& other) const {
  if (IsNumber() && other.IsNumber()) {
    return IsInteger() && other.IsInteger() ? AsInteger() < other.AsInteger() : AsDouble() < other.AsDouble();
  }
  if (text() && other.text()) return *text() < *other.text();  // UTF-8 sorts as its code points do
  if (items() && other.items() && is_tuple() == other.is_tuple()) {
    const JinjaList &a = *items(), &b = *other.items();
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
      if (!a[i].Equals(b[i])) return a[i].Less(b[i]);
    }
    return a.size() < b.size();
  }
  throw JinjaFault{fmt::format("values of types {} and {} have no order", TypeName(), other.TypeName())};
}

JinjaList JinjaValue::Iterate() const {
  if (IsUndefined()) return {};
  if (items()) return *items();
  JinjaList list;
  if (text()) {
    for (const std::string_view c : Utf8Characters(*text())) list.push_back(std::string(c));
    return list;
  }
  if (dict()) {
    for (const auto& entry : *dict()) list.push_back(entry.first);
    return list;
  }
  throw JinjaFault{fmt::format("a value of type {} cannot be gone over", TypeName())};
}

int64_t JinjaValue::Length() const {
  if (IsUndefined()) return 0;
  if (text()) return static_cast<int64_t>(Utf8Characters(*text()).size());
  if (items()) return static_cast<int64_t>(items()->size());
  if (dict()) return static_cast<int64_t>(dict()->size());
  throw JinjaFault{fmt::format("a value of type {} has no length", TypeName())};
}

bool JinjaValue::Contains(const JinjaValue& item) const {
  if (text()) {
    if (!item.text()) {
      throw JinjaFault{fmt::format("'in <string>' requires a string on the left, not {}", item.TypeName())};
    }
    return text()->find(*item.text()) != std::string::npos;
  }
  if (dict()) return Find(item) != nullptr;
  const JinjaList list = Iterate();
  return std::any_of(list.begin(), list.end(), [&](const JinjaValue& entry) { return entry.Equals(item); });
}

const JinjaValue* JinjaValue::Find(const JinjaValue& key) const {
  if (!dict()) return nullptr;
  for (const auto& [name, value] : *dict()) {
    if (name.Equals(key)) return &value;
  }
  return nullptr;
}

std::string JinjaToJson(const JinjaValue& value, int64_t indent, bool sort_keys, bool ascii,
                        const std::string& item_separator, const std::string& key_separator) {
  return JsonWriter(indent, sort_keys, ascii, item_separator, key_separator).Write(value, 0);
}

}  // namespace elrea
