// Converting YAML and override text into option fields, with every fault gathered; and the reverse for help
// and saving. The struct changes only when there is no fault at all.
#include "core/options.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

using OptionValue =
    std::variant<bool, int64_t, double, std::string, std::vector<std::string>, std::vector<int64_t>>;

void Assign(const OptionField& field, const OptionValue& value) {
  std::visit([&](auto* target) { *target = std::get<std::decay_t<decltype(*target)>>(value); }, field.target);
}

// ---- What a field accepts, in words ----

struct TypeWords {
  const char* name;
  const char* example;
};
TypeWords Words(const OptionTarget& target) {
  static constexpr TypeWords kWords[] = {{"true or false", "true"},
                                         {"an integer", "5"},
                                         {"a number", "0.5"},
                                         {"a string", "text"},
                                         {"a list of strings", "[a, b]"},
                                         {"a list of integers", "[1, 2]"}};
  return kWords[target.index()];
}

const char* ShortType(const OptionTarget& target) {
  static constexpr const char* kNames[] = {"bool", "int", "number", "string", "strings", "ints"};
  return kNames[target.index()];
}

std::string RangeWords(const OptionRange& range) {
  if (!range.choices.empty()) {
    return "one of " + Join(range.choices, ", ");
  }
  const bool below = std::isfinite(range.max), above = std::isfinite(range.min);
  const auto number = [](double value) { return fmt::format("{}", value); };
  const std::string low = (range.exclusive_min ? "above " : "at least ") + number(range.min);
  const std::string high = (range.exclusive_max ? "below " : "at most ") + number(range.max);
  return above && below ? low + " and " + high : above ? low : below ? high : "";
}

bool InRange(double value, const OptionRange& range) {
  const bool above = range.exclusive_min ? value > range.min : value >= range.min;
  const bool below = range.exclusive_max ? value < range.max : value <= range.max;
  return above && below;
}

// ---- From text ----

// A fault is returned as text; the caller adds where it is.
struct Parsed {
  std::optional<OptionValue> value;
  std::string fault;
};

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
  }
  T number{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

bool IsQuoted(const YAML::Node& node) { return node.Tag() == "!"; }

std::optional<OptionValue> ParseScalar(const OptionTarget& target, const std::string& text, bool quoted) {
  if (std::holds_alternative<std::string*>(target)) {
    return text;
  }
  if (quoted) {
    return std::nullopt;
  }
  if (std::holds_alternative<bool*>(target)) {
    if (text == "true") return true;
    if (text == "false") return false;
    return std::nullopt;
  }
  if (std::holds_alternative<int64_t*>(target)) {
    const auto number = ParseNumber<int64_t>(text);
    return number ? std::optional<OptionValue>(*number) : std::nullopt;
  }
  const auto number = ParseNumber<double>(text);
  return number && std::isfinite(*number) ? std::optional<OptionValue>(*number) : std::nullopt;
}

std::optional<OptionValue> ParseList(const OptionTarget& target, const YAML::Node& node) {
  std::vector<std::string> strings;
  std::vector<int64_t> integers;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) {
      return std::nullopt;
    }
    strings.push_back(item.Scalar());
    if (std::holds_alternative<std::vector<int64_t>*>(target)) {
      const auto number = ParseNumber<int64_t>(item.Scalar());
      if (!number || IsQuoted(item)) return std::nullopt;
      integers.push_back(*number);
    }
  }
  if (std::holds_alternative<std::vector<int64_t>*>(target)) {
    return integers;
  }
  return strings;
}

bool IsListTarget(const OptionTarget& target) {
  return std::holds_alternative<std::vector<std::string>*>(target) ||
         std::holds_alternative<std::vector<int64_t>*>(target);
}

std::string Describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: {
      std::string text = node.Scalar().substr(0, 60);
      text.resize(CompleteUtf8Prefix(text));
      return IsQuoted(node) ? "the quoted \"" + text + "\"" : "\"" + text + "\"";
    }
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a section";
    default:
      return "empty";
  }
}

std::string RangeFault(const OptionField& field, const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    const auto& choices = field.range.choices;
    if (choices.empty() || std::count(choices.begin(), choices.end(), *text) > 0) {
      return "";
    }
    const auto nearest = NearestName(*text, choices);
    return fmt::format("must be {}, not \"{}\"{}", RangeWords(field.range), *text,
                       nearest ? "; did you mean " + *nearest + "?" : "");
  }
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    return InRange(static_cast<double>(*integer), field.range)
               ? ""
               : fmt::format("must be {}, not {}", RangeWords(field.range), *integer);
  }
  if (const auto* number = std::get_if<double>(&value)) {
    return InRange(*number, field.range)
               ? ""
               : fmt::format("must be {}, not {}", RangeWords(field.range), *number);
  }
  return "";
}

Parsed ParseNode(const OptionField& field, const YAML::Node& node) {
  std::optional<OptionValue> value;
  if (IsListTarget(field.target) && node.IsSequence()) {
    value = ParseList(field.target, node);
  } else if (!IsListTarget(field.target) && node.IsScalar()) {
    value = ParseScalar(field.target, node.Scalar(), IsQuoted(node));
  }
  if (!value) {
    const TypeWords words = Words(field.target);
    return {std::nullopt,
            fmt::format("must be {}, as {}, not {}", words.name, words.example, Describe(node))};
  }
  std::string fault = RangeFault(field, *value);
  return {fault.empty() ? value : std::nullopt, fault};
}

// The value of "a.b=value": strings are taken as they are, lists as [a, b] or a,b, the rest as YAML scalars.
Parsed ParseOverride(const OptionField& field, const std::string& text) {
  YAML::Node node(text);
  if (IsListTarget(field.target)) {
    try {
      node = YAML::Load(text.starts_with('[') ? text : "[" + text + "]");
    } catch (const YAML::Exception&) {
      return {std::nullopt,
              fmt::format("must be {}, as {}", Words(field.target).name, Words(field.target).example)};
    }
  }
  return ParseNode(field, node);
}

// ---- Gathering ----

class Loader {
 public:
  explicit Loader(const std::vector<OptionField>& fields) : fields_(fields) {}

  void ReadYaml(const fs::path& path) {
    path_ = path.string();
    const std::string text = ReadFile(path, kMaxConfigBytes);
    try {
      const YAML::Node root = YAML::Load(text);
      if (root.IsNull()) {
        return;  // an empty file leaves every default
      }
      if (!root.IsMap()) {
        faults_.push_back(fmt::format("{}:1: must be fields written as \"name: value\"", path_));
        return;
      }
      ReadSection(root, "");
    } catch (const YAML::Exception& failure) {
      faults_.push_back(fmt::format("{}:{}: not valid YAML: {}", path_, failure.mark.line + 1, failure.msg));
    }
  }

  void ReadOverride(const std::string& text) {
    const size_t equals = text.find('=');
    const std::string name = Trim(std::string_view(text).substr(0, equals));
    if (equals == std::string::npos || name.empty()) {
      faults_.push_back(fmt::format("--set {}: write it as section.name=value", text));
      return;
    }
    const OptionField* field = Find(name);
    if (field == nullptr) {
      faults_.push_back(fmt::format("--set {}: {}", text, UnknownName(name)));
      return;
    }
    Take(*field, ParseOverride(*field, Trim(std::string_view(text).substr(equals + 1))), "--set " + text);
  }

  // Throws all faults together, or sets all values.
  void Finish() {
    if (faults_.size() == 1) {
      throw Error(ErrorKind::kInvalidInput, faults_[0]);
    }
    if (!faults_.empty()) {
      throw Error(ErrorKind::kInvalidInput, fmt::format("{} faults in the configuration:\n  {}",
                                                        faults_.size(), Join(faults_, "\n  ")));
    }
    for (const auto& [field, value] : values_) {
      Assign(*field, value);
    }
  }

 private:
  void ReadSection(const YAML::Node& section, const std::string& prefix) {
    std::map<std::string, int> first_lines;
    for (const auto& entry : section) {
      const int line = entry.first.Mark().line + 1;
      const std::string where = fmt::format("{}:{}", path_, line);
      if (!entry.first.IsScalar()) {
        faults_.push_back(where + ": a field name must be a plain word");
        continue;
      }
      const std::string name = prefix + entry.first.Scalar();
      const auto [first, fresh] = first_lines.emplace(name, line);
      if (!fresh) {
        faults_.push_back(fmt::format("{}: {} was already set on line {}", where, name, first->second));
        continue;
      }
      ReadEntry(name, entry.second, where);
    }
  }

  void ReadEntry(const std::string& name, const YAML::Node& node, const std::string& where) {
    if (const OptionField* field = Find(name)) {
      Take(*field, ParseNode(*field, node), where);
    } else if (!IsSection(name)) {
      faults_.push_back(where + ": " + UnknownName(name));
    } else if (node.IsMap()) {
      ReadSection(node, name + ".");
    } else if (!node.IsNull()) {
      faults_.push_back(fmt::format("{}: {} is a section: write its fields indented below it, not {}", where,
                                    name, Describe(node)));
    }
  }

  void Take(const OptionField& field, Parsed parsed, const std::string& where) {
    if (parsed.value) {
      values_.emplace_back(&field, std::move(*parsed.value));
    } else {
      faults_.push_back(fmt::format("{}: {} {}", where, field.path, parsed.fault));
    }
  }

  const OptionField* Find(const std::string& path) const {
    const auto found = std::find_if(fields_.begin(), fields_.end(),
                                    [&](const OptionField& field) { return field.path == path; });
    return found == fields_.end() ? nullptr : &*found;
  }

  bool IsSection(const std::string& name) const {
    return std::any_of(fields_.begin(), fields_.end(),
                       [&](const OptionField& field) { return field.path.starts_with(name + "."); });
  }

  // A name with the wrong section, or none, is the likeliest slip; then the spelling.
  std::string UnknownName(const std::string& name) const {
    if (IsSection(name)) {
      return fmt::format("{} is a section; set one of its fields", name);
    }
    std::vector<std::string> same_leaf, paths;
    const std::string leaf = name.substr(name.rfind('.') + 1);
    for (const OptionField& field : fields_) {
      paths.push_back(field.path);
      if (field.path.substr(field.path.rfind('.') + 1) == leaf) same_leaf.push_back(field.path);
    }
    std::optional<std::string> hint = NearestName(name, paths);
    if (same_leaf.size() == 1) {
      hint = same_leaf[0];
    }
    return fmt::format("unknown option {}{}", name, hint ? "; did you mean " + *hint + "?" : "");
  }

  const std::vector<OptionField>& fields_;
  std::string path_;
  std::vector<std::string> faults_;
  std::vector<std::pair<const OptionField*, OptionValue>> values_;
};

Json ValueJson(const OptionField& field) {
  return std::visit([](auto* target) { return Json(*target); }, field.target);
}

// A JSON scalar or list is YAML too, and quoting follows JSON's rules.
std::string ValueText(const OptionField& field) {
  if (const auto* number = std::get_if<double*>(&field.target)) {
    return fmt::format("{}", **number);
  }
  return JsonLine(ValueJson(field));
}

std::string TypeAndRange(const OptionField& field) {
  const std::string range = RangeWords(field.range);
  return std::string(ShortType(field.target)) + (range.empty() ? "" : ", " + range);
}

}  // namespace

OptionRange AtLeast(double min) {
  OptionRange range;
  range.min = min;
  return range;
}

OptionRange Above(double min) {
  OptionRange range = AtLeast(min);
  range.exclusive_min = true;
  return range;
}

OptionRange Between(double min, double max) {
  OptionRange range = AtLeast(min);
  range.max = max;
  return range;
}

OptionRange FromUpTo(double min, double max) {
  OptionRange range = Between(min, max);
  range.exclusive_max = true;
  return range;
}

OptionRange OneOf(std::vector<std::string> choices) {
  OptionRange range;
  range.choices = std::move(choices);
  return range;
}

void OptionVisitor::Push(const char* name, OptionTarget target, const char* help, OptionRange range) {
  std::string path = prefix_ + name;
  for (const OptionField& field : fields_) {
    if (field.path == path) {
      throw Error(ErrorKind::kInternal, "the option " + path + " is listed twice");
    }
  }
  fields_.push_back({std::move(path), target, help, std::move(range)});
}

void OptionSet::Load(const fs::path& yaml_path, const std::vector<std::string>& overrides) {
  Loader loader(fields_);
  if (!yaml_path.empty()) {
    loader.ReadYaml(yaml_path);
  }
  for (const std::string& text : overrides) {
    loader.ReadOverride(text);
  }
  loader.Finish();
}

Json OptionSet::ToJson() const {
  Json root = Json::object();
  for (const OptionField& field : fields_) {
    Json* node = &root;
    for (const std::string& name : Split(field.path, '.')) {
      node = &(*node)[name];
    }
    *node = ValueJson(field);
  }
  return root;
}

std::string OptionSet::Help() const {
  std::string help;
  size_t width = 0;
  for (const OptionField& field : fields_) {
    width = std::max(width, field.path.size());
  }
  for (const OptionField& field : fields_) {
    help += fmt::format("{:{}}  {} ({}; default {})\n", field.path, width, field.help, TypeAndRange(field),
                        ValueText(field));
  }
  return help;
}

std::string OptionSet::ToYaml() const {
  std::string yaml;
  std::vector<std::string> open;  // sections the previous line was in
  for (const OptionField& field : fields_) {
    std::vector<std::string> sections = Split(field.path, '.');
    const std::string leaf = sections.back();
    sections.pop_back();
    const auto [same, unused] = std::mismatch(sections.begin(), sections.end(), open.begin(), open.end());
    for (auto section = same; section != sections.end(); ++section) {
      yaml += std::string(2 * static_cast<size_t>(section - sections.begin()), ' ') + *section + ":\n";
    }
    const std::string indent(2 * sections.size(), ' ');
    yaml += fmt::format("{}# {} ({})\n{}{}: {}\n", indent, field.help, TypeAndRange(field), indent, leaf,
                        ValueText(field));
    open = std::move(sections);
  }
  return yaml;
}

}  // namespace elrea
