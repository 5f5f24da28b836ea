// What a client gets when its request cannot be answered: the status, and an error object as OpenAI's API has it.
#pragma once

#include <exception>
#include <string>

#include "core/json.h"

namespace elrea {

struct ApiError : std::exception {
  ApiError(int status, std::string message, std::string param = "", std::string code = "", double retry_after_s = 0)
      : status(status),
        message(std::move(message)),
        param(std::move(param)),
        code(std::move(code)),
        retry_after_s(retry_after_s) {}
  const char* what() const noexcept override { return message.c_str(); }
  // {"error": {"message", "type", "param", "code"}}
  Json ToJson() const;

  int status;
  std::string message;
  std::string param;          // the field at fault; empty: none
  std::string code;           // a word for programs; empty: none
  double retry_after_s;       // 0: the same request will fail again, or it is not known
};

}  // namespace elrea
