#pragma once

#include <vector>

#include <troupe/model/training/data_rows.h>

// Tells people which rows of data cannot be used.

namespace troupe::tools {

// Names the first of them on stderr, with the reasons, and says how many more there are.
void say_dropped(const std::vector<model::DroppedRow>& dropped);

}  // namespace troupe::tools
