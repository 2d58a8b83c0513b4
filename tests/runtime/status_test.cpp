#include <set>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/runtime/status.h>

using namespace troupe;

namespace {

Result<int> half(int value) {
  if (value % 2 != 0) {
    return Status(Code::kInvalidArgument, std::to_string(value) + " is odd");
  }
  return value / 2;
}

Status quarter(int value, int& out) {
  TROUPE_ASSIGN_OR_RETURN(const int once, half(value));
  TROUPE_ASSIGN_OR_RETURN(out, half(once));
  return Status::ok();
}

Status both(Status first, Status second) {
  TROUPE_RETURN_IF_ERROR(first);
  TROUPE_RETURN_IF_ERROR(second);
  return Status::ok();
}

}  // namespace

TEST_CASE("status: ok, errors and context", "[status]") {
  CHECK(Status().is_ok());
  CHECK(Status::ok().with_context("anything").is_ok());
  CHECK(Status::ok().with_context("anything").message().empty());
  const Status error(Code::kNotFound, "no file x");
  CHECK_FALSE(static_cast<bool>(error));
  CHECK(error.with_context("loading").message() == "loading: no file x");
  CHECK(error.with_context("loading").code() == Code::kNotFound);
}

TEST_CASE("status: results carry a value or a reason", "[status]") {
  CHECK(*half(4) == 2);
  CHECK(half(3).code() == Code::kInvalidArgument);
  CHECK(half(3).message() == "3 is odd");
  // A result made from an ok status would have neither a value nor an error, so it becomes an
  // error.
  CHECK(Result<int>(Status::ok()).code() == Code::kInternal);
  const Result<std::string> text = std::string("moved");
  CHECK(text->size() == 5);
}

TEST_CASE("status: the macros hand errors up", "[status]") {
  int out = 0;
  CHECK(quarter(12, out).is_ok());
  CHECK(out == 3);
  CHECK(quarter(6, out).message() == "3 is odd");
  const Status first(Code::kBadData, "first"), second(Code::kCancelled, "second");
  CHECK(both(Status::ok(), Status::ok()).is_ok());
  CHECK(both(first, second).message() == "first");
  CHECK(both(Status::ok(), second).message() == "second");
}

TEST_CASE("status: every code has its own name", "[status]") {
  std::set<std::string> names;
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    const std::string name(code_name(static_cast<Code>(code)));
    CHECK(name != "unknown");
    names.insert(name);
  }
  CHECK(names.size() == static_cast<std::size_t>(Code::kInternal) + 1);
}
