// The OpenAPI document as this server means it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "serve/served_run.h"

namespace elrea {

// serve/web/openapi.json with the bounds that every one of `runs` keeps: token ids of the vocabulary, prompts
// that leave room in the context, dimensions of the features. Without runs: the file as it is.
Json ApiDocument(const std::vector<std::shared_ptr<const ServedRun>>& runs);

// A regular expression (ECMA 262, anchored) of the decimal numbers from 0 to `last`, without leading zeros.
// REQUIRES: last >= 0.
std::string NumbersUpTo(int64_t last);

}  // namespace elrea
