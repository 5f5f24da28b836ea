#include "data/protobuf_wire.h"

#include <fmt/format.h>

#include <cstring>

#include "core/error.h"
#include "core/text.h"

namespace elrea {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

// A message with a place in it.
struct Cursor {
  std::string_view message;
  const std::string& origin;
  size_t pos = 0;

  [[noreturn]] void ThrowCorrupt(const std::string& fault) const {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: {} at byte {}; the file is damaged, get it again", origin, fault, pos));
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (pos >= message.size()) ThrowCorrupt("it is cut off");
      const auto byte = static_cast<unsigned char>(message[pos++]);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    ThrowCorrupt("a number has more than ten bytes");
  }
  std::string_view Take(uint64_t num_bytes) {
    if (num_bytes > message.size() - pos) {
      ThrowCorrupt(fmt::format("a field of {} bytes has only {}", num_bytes, message.size() - pos));
    }
    const std::string_view taken = message.substr(pos, num_bytes);
    pos += num_bytes;
    return taken;
  }
};

}  // namespace

void WireField::ThrowType(const char* name, const char* wanted) const {
  throw Error(
      ErrorKind::kCorrupt,
      fmt::format("{}: the field {} is not {}; the file is damaged, get it again", *origin_, name, wanted));
}

int64_t WireField::Int(const char* name) const {
  if (type_ != kVarint) ThrowType(name, "a number");
  return static_cast<int64_t>(value_);
}

float WireField::Float(const char* name) const {
  if (type_ != kFixed32) ThrowType(name, "a float");
  const auto bits = static_cast<uint32_t>(value_);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::string_view WireField::Bytes(const char* name) const {
  if (type_ != kLength) ThrowType(name, "a text or a message");
  return bytes_;
}

std::string WireField::Text(const char* name) const {
  const std::string_view bytes = Bytes(name);
  if (!IsValidUtf8(bytes)) ThrowType(name, "UTF-8");
  return std::string(bytes);
}

void ForEachWireField(std::string_view message, const std::string& origin,
                      const std::function<void(const WireField&)>& visit) {
  Cursor cursor{message, origin};
  while (cursor.pos < message.size()) {
    const uint64_t key = cursor.Varint();
    WireField field;
    field.origin_ = &origin;
    field.number_ = static_cast<uint32_t>(key >> 3);
    field.type_ = key & 7;
    if (key >> 32 != 0 || field.number_ == 0) cursor.ThrowCorrupt("there is no field");
    switch (field.type_) {
      case kVarint:
        field.value_ = cursor.Varint();
        break;
      case kLength:
        field.bytes_ = cursor.Take(cursor.Varint());
        break;
      case kFixed32:
      case kFixed64: {
        const std::string_view bytes = cursor.Take(field.type_ == kFixed32 ? 4 : 8);
        std::memcpy(&field.value_, bytes.data(), bytes.size());
        break;
      }
      default:
        cursor.ThrowCorrupt(fmt::format("a field of the unknown type {}", field.type_));
    }
    visit(field);
  }
}

}  // namespace elrea
