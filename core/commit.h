// Which sources a program was built from.
#pragma once

namespace elrea {

// The commit's abbreviated hash, with "-dirty" when files differed from it; "unknown" when the sources were no checkout.
const char* BuildCommit();

}  // namespace elrea
