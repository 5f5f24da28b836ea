// Input checks shared by the functions of this folder.
#pragma once

#include "cluster/row_matrix.h"

namespace elrea {

// kInvalidInput, beginning with `who`, when there are no rows or no columns, or naming the first row that has
// a NaN, an infinity or a squared norm beyond float.
void CheckRows(RowMatrix rows, const char* who);

}  // namespace elrea
