#include "serve/api_error.h"

namespace elrea {
namespace {

const char* TypeOf(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

Json ApiError::ToJson() const {
  return {{"error",
           {{"message", message},
            {"type", TypeOf(status)},
            {"param", param.empty() ? Json() : Json(param)},
            {"code", code.empty() ? Json() : Json(code)}}}};
}

}  // namespace elrea
