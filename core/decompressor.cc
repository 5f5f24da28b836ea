#include "core/decompressor.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include "core/error.h"

namespace elrea {
namespace {

constexpr size_t kOutBytes = size_t{1} << 17;
// Above it a zstd file would ask for more memory than its reader should give; `zstd -T0 -19` stays below.
constexpr int kMaxWindowLog = 27;

[[noreturn]] void ThrowDamaged(const std::string& origin, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: {}; the file is damaged, get it again", origin, what));
}

}  // namespace

class Decompressor::Stream {
 public:
  virtual ~Stream() = default;
  virtual void Push(std::string_view bytes, const Sink& sink) = 0;
  virtual bool InTheMiddle() const = 0;
};

namespace {

// Members one after the other, as gzip allows.
class GzipStream : public Decompressor::Stream {
 public:
  explicit GzipStream(const std::string& origin) : origin_(origin), out_(kOutBytes, '\0') {
    constexpr int kGzipOnly = 15 + 16;
    if (::inflateInit2(&z_, kGzipOnly) != Z_OK)
      throw Error(ErrorKind::kUnavailable, origin + ": no memory for zlib");
  }
  ~GzipStream() override { ::inflateEnd(&z_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  void Push(std::string_view bytes, const Decompressor::Sink& sink) override {
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib does not write there
    z_.avail_in = static_cast<uInt>(bytes.size());
    bool more = true;
    while (more) {
      if (!in_member_) {
        if (z_.avail_in == 0) return;
        ::inflateReset(&z_);
        in_member_ = true;
      }
      z_.next_out = reinterpret_cast<Bytef*>(out_.data());
      z_.avail_out = static_cast<uInt>(out_.size());
      const int status = ::inflate(&z_, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        ThrowDamaged(origin_, fmt::format("gzip: {}", z_.msg ? z_.msg : "bad data"));
      }
      sink(std::string_view(out_).substr(0, out_.size() - z_.avail_out));
      in_member_ = status != Z_STREAM_END;
      more = z_.avail_in > 0 || (in_member_ && z_.avail_out == 0);
    }
  }
  bool InTheMiddle() const override { return in_member_; }

 private:
  const std::string& origin_;
  std::string out_;
  z_stream z_{};
  bool in_member_ = true;
};

class ZstdStream : public Decompressor::Stream {
 public:
  explicit ZstdStream(const std::string& origin)
      : origin_(origin), out_(kOutBytes, '\0'), z_(ZSTD_createDStream()) {
    if (!z_) throw Error(ErrorKind::kUnavailable, origin + ": no memory for zstd");
    ZSTD_DCtx_setParameter(z_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  }

  void Push(std::string_view bytes, const Decompressor::Sink& sink) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    bool full = true;
    while (in.pos < in.size || full) {
      ZSTD_outBuffer out{out_.data(), out_.size(), 0};
      hint_ = ZSTD_decompressStream(z_.get(), &out, &in);
      if (ZSTD_isError(hint_)) ThrowDamaged(origin_, fmt::format("zstd: {}", ZSTD_getErrorName(hint_)));
      sink(std::string_view(out_).substr(0, out.pos));
      full = out.pos == out.size && hint_ != 0;
    }
  }
  bool InTheMiddle() const override { return hint_ != 0; }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };
  const std::string& origin_;
  std::string out_;
  std::unique_ptr<ZSTD_DStream, Free> z_;
  size_t hint_ = 1;  // 0 at the end of a frame
};

}  // namespace

Decompressor::Decompressor(std::string origin) : origin_(std::move(origin)) {}
Decompressor::~Decompressor() = default;

void Decompressor::Push(std::string_view bytes, const Sink& sink) {
  if (!begun_) {
    begun_ = true;
    if (bytes.starts_with("\x1F\x8B")) stream_ = std::make_unique<GzipStream>(origin_);
    if (bytes.starts_with("\x28\xB5\x2F\xFD")) stream_ = std::make_unique<ZstdStream>(origin_);
  }
  if (stream_) {
    stream_->Push(bytes, sink);
  } else {
    sink(bytes);
  }
}

void Decompressor::End() {
  if (stream_ && stream_->InTheMiddle()) ThrowDamaged(origin_, "the compressed data end too early");
}

}  // namespace elrea
