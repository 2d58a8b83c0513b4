#pragma once

#include <string>
#include <vector>

#include <troupe/actors/troupe/admin.h>
#include <troupe/actors/troupe/jobs.h>
#include <troupe/runtime/status.h>

// Reads the answers of a head, JSON with bounds, into the values of the public door. A field that
// is absent or of another type keeps its default, because the head may be of an older or newer
// release. Pure.

namespace troupe::actors {

// Reads an answer. This is defined for every value of troupe/fields.h except JobStatus.
//   Errors: kBadData (no JSON object, too deep, too large).
template <class Answer>
Result<Answer> read_answer(const std::string& text);

Result<JobStatus> read_job(const std::string& text);
Result<std::vector<JobStatus>> read_jobs(const std::string& text);
// Reads a field that is true or false; returns false if it is absent.
Result<bool> read_flag(const std::string& text, const char* field);

}  // namespace troupe::actors
