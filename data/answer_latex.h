// Rewrites an answer in LaTeX, Unicode or plain text to one plain spelling; see answer.h for what counts as
// equal.
#pragma once

#include <string>
#include <string_view>

namespace elrea {

// "\dfrac12" -> "1/2", "5\frac{1}{2}" -> "5 1/2", "\left( 3, \pi \right)" -> "(3,\pi)", "10,\!080" ->
// "10080", "30^\circ" -> "30 degrees", "25 \%" -> "25%", "11\text{ cm}^2" -> "11 cm^{2}". White space stays
// only between two letters or digits. Groups nested deeper than 32 are left as they are, and so is text of
// more than 8 KiB.
std::string PlainAnswer(std::string_view answer);

}  // namespace elrea
