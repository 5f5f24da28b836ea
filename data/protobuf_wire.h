// Reads protocol buffers' wire format: fields of a message one after another, without a schema. libprotobuf
// itself is not used because libtorch carries and exports another version of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace elrea {

// One field. The accessors throw kCorrupt, naming the origin and the field, when it has another type on the
// wire.
class WireField {
 public:
  uint32_t number() const { return number_; }
  int64_t Int(const char* name) const;
  bool Bool(const char* name) const { return Int(name) != 0; }
  float Float(const char* name) const;
  std::string_view Bytes(const char* name) const;  // points into the message
  std::string Text(const char* name) const;        // must be UTF-8

 private:
  friend void ForEachWireField(std::string_view, const std::string&,
                               const std::function<void(const WireField&)>&);
  [[noreturn]] void ThrowType(const char* name, const char* wanted) const;
  uint32_t number_ = 0, type_ = 0;
  uint64_t value_ = 0;      // of a varint or a fixed width
  std::string_view bytes_;  // of a length-delimited field
  const std::string* origin_ = nullptr;
};

// kCorrupt naming `origin` and the byte for what is cut off or no message; groups, which nothing has used
// since 2008, are refused.
void ForEachWireField(std::string_view message, const std::string& origin,
                      const std::function<void(const WireField&)>& visit);

}  // namespace elrea
