// Rows with choices scored by likelihood: the log-probability of each choice after the prompt and the
// response's lead, under the same next-token distribution that answers are drawn from. The prompt is read
// once for all choices of a row, and where the choices are single tokens (letters) nothing but the prompt is.
#pragma once

#include <vector>

#include "eval/choices.h"
#include "eval/response_loss.h"

namespace elrea {

// [rows] under the plans; the planner is asked only for rows that are scored. `job.cache` holds states of
// responses and is only read: where a response begins as the choices do, its states are taken. `states` holds
// those of choices, as HiddenCache does; null: none are kept.
std::vector<ChoiceLogProbs> MeasureChoices(const LossJob& job, const Planner& plan,
                                           HiddenCache* states = nullptr);

// MeasureChoices of a method of an evaluation, kept in <method>.choices.json of the job's directory, and read
// from there when it exists.
std::vector<ChoiceLogProbs> MethodChoices(const EvalJob& job, const Method& method);

}  // namespace elrea
