// Features other than the gradients', for clustering and routing in their place: principal components of the
// gradients' features, mean hidden states of the instruction, and its embedding by a sentence encoder.
#pragma once

#include "study/workbench.h"

namespace elrea {

// Unit rows [rows, components] of the centred features along the principal components of a seeded sample of
// the training rows (at most cluster.sample_rows). kInvalidInput for a sample of fewer rows than components.
const StudyFeatures& PcaFeatures(Workbench& bench, const FeatureOptions& options, int64_t components);

// The training rows [rows, components] f32 along the same kind of components of any features, as long as they are.
torch::Tensor PcaRows(const StudyJob& job, const FeatureStore& rows, int64_t components);

// Unit rows [rows, dim]: the last residual of the instruction's tokens under the base adapter, averaged; the
// mean of the training rows is taken off first, since it is most of every row.
const StudyFeatures& HiddenStateFeatures(Workbench& bench);

// Unit rows [rows, dim] of study.sentence_encoder: of the text of the last message of each instruction. Errors as of
// SentenceEncoder::Load.
const StudyFeatures& InstructionEmbeddings(Workbench& bench);

// Principal components [components, dim] f32 of centred rows [rows, dim], by falling variance.
torch::Tensor PrincipalComponents(const torch::Tensor& centred, int64_t components);

}  // namespace elrea
