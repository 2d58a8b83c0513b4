#include <catch2/catch.hpp>

#include <troupe/actors/bulk/fetch_rights.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

constexpr net::PublicKey kNode{1}, kOther{2};

FetchGrant grant(const std::string& model, std::vector<net::PublicKey> peers) {
  model::Manifest manifest;
  manifest.model = model;
  manifest.header = {model + " header", 10};
  manifest.tensors = {{"a", 10, {model + " a", 40}}, {"b", 50, {"shared", 50}}};
  return grant_of(manifest, std::move(peers));
}

}  // namespace

TEST_CASE("fetch rights: a peer may fetch the parts of the models that it was granted") {
  FetchRights rights;
  CHECK_FALSE(rights.may(kNode, "m header"));
  rights.grant(grant("m", {kNode}));
  rights.grant(grant("n", {kOther}));
  for (const char* part : {"m header", "m a", "shared"}) CHECK(rights.may(kNode, part));
  for (const char* part : {"n header", "n a", "", "m"}) CHECK_FALSE(rights.may(kNode, part));
  for (const char* part : {"n header", "n a", "shared"}) CHECK(rights.may(kOther, part));
  CHECK_FALSE(rights.may(kOther, "m a"));
  CHECK_FALSE(rights.may({3}, "shared"));
}

TEST_CASE("fetch rights: a later grant replaces the earlier one, and one without peers ends it") {
  FetchRights rights;
  rights.grant(grant("m", {kNode}));
  rights.grant(grant("m", {kOther}));
  CHECK_FALSE(rights.may(kNode, "m a"));
  CHECK(rights.may(kOther, "m a"));
  rights.grant({"m", {}, {}});
  CHECK_FALSE(rights.may(kOther, "m a"));
  rights.grant(grant("m", {kNode}));
  rights.forget_all();
  CHECK_FALSE(rights.may(kNode, "m a"));
}

TEST_CASE("fetch rights: only the grants of so many models are kept") {
  FetchRights rights;
  for (std::size_t i = 0; i <= FetchRights::kModelsMax; ++i) {
    rights.grant(grant(std::to_string(i), {kNode}));
    rights.grant(grant("used", {kNode}));
  }
  CHECK_FALSE(rights.may(kNode, "0 a"));
  CHECK(rights.may(kNode, std::to_string(FetchRights::kModelsMax) + " a"));
  CHECK(rights.may(kNode, "used a"));
}
