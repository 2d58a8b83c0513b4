#include <catch2/catch.hpp>

#include <troupe/model/store/model_id.h>
#include <troupe/runtime/sha256.h>

using namespace troupe;
using namespace troupe::model;

namespace {

BlobRef blob(std::string_view text) {
  return {sha256_hex(std::as_bytes(std::span(text.data(), text.size()))), text.size()};
}

Manifest two_tensors() {
  Manifest manifest;
  manifest.model = "the hash of a file is not in it";
  manifest.name = "nor is a name";
  manifest.header = blob("header");
  manifest.tensors = {{"a", 64, blob(std::string(32, 'x'))}, {"b\u00e9", 128, blob("")}};
  return manifest;
}

}  // namespace

// The expected ids were computed with Python's hashlib and struct.
TEST_CASE("model id: known vectors") {
  Manifest empty;
  empty.header = blob("");
  CHECK(*model_id(empty) == "e3f4bfa792916e9589900d1fff5c9cd01fffbf816deacaf6b0f3d44e62073677");
  CHECK(*model_id(two_tensors()) ==
        "facbffcdf4618d0ff992f9612aaa343e254f627a601e70490209f6dca4221d6f");
}

TEST_CASE("model id: whatever a process computes with changes it, names for people do not") {
  const Manifest right = two_tensors();
  const std::string id = *model_id(right);
  Manifest renamed = right;
  renamed.name = "another";
  renamed.model = std::string(64, 'f');
  CHECK(*model_id(renamed) == id);
  std::vector<Manifest> others(8, right);
  others[0].header = blob("another header");
  others[1].header.bytes += 1;
  others[2].tensors[0].blob = blob(std::string(32, 'y'));
  others[3].tensors[0].blob.bytes = 31;
  others[4].tensors[1].offset = 127;
  others[5].tensors[1].name = "b";
  others[6].tensors.pop_back();
  others[7].tensors.push_back({"c", 200, blob("c")});
  for (const Manifest& other : others) CHECK(*model_id(other) != id);
  // If a byte moves from a name into the next field, the id is another one, too.
  Manifest moved = right;
  moved.tensors[0].name = "a@";
  CHECK(*model_id(moved) != id);
}

TEST_CASE(
    "model id: a manifest from elsewhere proves its id, and what the id does not say is set") {
  Manifest right = two_tensors();
  right.model = *model_id(right);
  right.file_bytes = 1;  // a claim
  REQUIRE(prove(&right).is_ok());
  CHECK(right.file_bytes == 128);
  Manifest claimed = right;
  claimed.model = std::string(64, 'a');
  CHECK(prove(&claimed).code() == Code::kBadData);
  Manifest tampered = right;
  tampered.tensors[0].blob = blob(std::string(32, 'y'));
  const Status refused = prove(&tampered);
  CHECK(refused.code() == Code::kBadData);
  CHECK(refused.message().find("model:" + right.model) != std::string::npos);
  Manifest endless = right;
  endless.tensors[1].offset = UINT64_MAX;
  endless.tensors[1].blob.bytes = 7;
  endless.model = *model_id(endless);
  CHECK(prove(&endless).code() == Code::kBadData);
}

TEST_CASE("model id: what is not a manifest has none") {
  Manifest wrong = two_tensors();
  wrong.header.sha256 = "short";
  CHECK(model_id(wrong).code() == Code::kBadData);
  wrong = two_tensors();
  std::swap(wrong.tensors[0], wrong.tensors[1]);
  CHECK(model_id(wrong).code() == Code::kBadData);
}
