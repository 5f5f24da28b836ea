// Backbones in four bits whose codes are chosen on training rows (model/calibrate.h). The codes lie in a file beside what
// is trained on them, which is made once.
#pragma once

#include "cli/backbone.h"

namespace elrea {

// Options that load the model with calibrated codes from `file`, which is made where it is missing or of other rows,
// options or another model; `options` themselves when no calibration is asked for. Rows are drawn at random from all
// usable ones, by a fixed seed, until they have options.calibration_tokens. Errors as of LoadBackbone and TokeniseFiles.
BackboneOptions WithCalibratedCodes(const BackboneOptions& options, const DatasetOptions& rows, const fs::path& file);

}  // namespace elrea
