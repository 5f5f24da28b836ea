// Answers to choose from, judged by their log-probabilities; what those are is measured in
// choice_likelihood.h.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/eval_rows.h"

namespace elrea {

// How log-probabilities of choices of different lengths are compared.
enum class ChoiceNorm {
  kSum,          // of the choice's tokens
  kPerToken,     // mean over its tokens
  kPerCharacter  // sum over the Unicode characters of its text
};

// [choices] sums of natural log-probabilities; empty for a row without choices, or one that does not fit the
// context.
using ChoiceLogProbs = std::vector<double>;

// Index of the likeliest choice, the first of equals. REQUIRES: one log-probability per choice of the row.
int64_t LikeliestChoice(const EvalChoices& choices, const ChoiceLogProbs& log_probs, ChoiceNorm norm);
// -log of the probability of the right choice when exactly one of them is said, nats; log(choices) by
// guessing.
double ChoiceLoss(const EvalChoices& choices, const ChoiceLogProbs& log_probs);

// A row's figures; nothing where it was not scored.
struct ChoiceOutcome {
  bool by_sum = false, per_token = false,
       per_character = false;  // whether the likeliest choice is the right one
  double loss = 0;             // ChoiceLoss
};
std::optional<ChoiceOutcome> JudgeChoices(const EvalChoices& choices, const ChoiceLogProbs& log_probs);

bool HaveChoices(std::span<const EvalRow> rows);
// Bytes that are equal for equal choices.
std::string ChoicesKey(const EvalChoices& choices);

// A file of log-probabilities, null for rows without. kCorrupt when they do not belong to the rows.
void WriteChoices(const std::filesystem::path& path, const std::vector<ChoiceLogProbs>& log_probs);
std::vector<ChoiceLogProbs> ReadChoices(const std::filesystem::path& path, std::span<const EvalRow> rows);

}  // namespace elrea
