// The codes of a backbone in four bits, chosen by what its layers are given when it reads some text: its answers change
// several times less than with the nearest codes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "model/bitsandbytes_codes.h"
#include "model/decoder.h"

namespace elrea {

struct CalibratedCodes {
  std::map<std::string, std::shared_ptr<const FourBitCodes>> matrices;  // by stored tensor, Hugging Face's name
  // Root mean square change of the layers' outputs on the text relative to the outputs, mean over the matrices: with
  // these codes, and with the nearest ones.
  double output_error = 0, nearest_error = 0;
};

// Quantises each matrix in turn during one pass over `text`, so that every layer is given what the quantised layers
// below it make of the text (GPTQ, arXiv:2210.17323). nested: see QuantizeNf4. REQUIRES: a dense decoder on the CPU.
CalibratedCodes CalibrateNf4(const Decoder& decoder, const PackedBatch& text, bool nested);

}  // namespace elrea
