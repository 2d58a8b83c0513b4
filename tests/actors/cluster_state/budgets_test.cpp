#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/budgets.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("budgets: what one owner has under way leaves the others alone") {
  OwnerCounts counts;
  auto first = counts.take("a", 3, 4);
  REQUIRE(first);
  CHECK(!counts.take("a", 2, 4));
  CHECK(counts.count("a") == 3);
  const auto second = counts.take("a", 1, 4);
  CHECK(second);
  const auto other = counts.take("b", 4, 4);
  CHECK(other);
  auto copy = first;
  first.reset();
  CHECK(counts.count("a") == 4);
  copy.reset();
  CHECK(counts.count("a") == 1);
  CHECK(counts.take("a", 3, 4));
  CHECK(counts.count("a") == 1);
  CHECK(!counts.take("c", UINT64_MAX, 4));
  CHECK(counts.count("nobody") == 0);
}

TEST_CASE("budgets: every role has one, and only operators may have much in the journal") {
  for (const net::Role role : {net::Role::kClient, net::Role::kServer, net::Role::kOperator,
                               net::Role::kAdmin, net::Role::kNode}) {
    const Budget budget = budget_of(role);
    CHECK(budget.models > 0);
    CHECK(budget.opens >= 64);
    CHECK(budget.opens_bytes >= 64u << 20);
    CHECK(budget.requests >= 256);
    CHECK(budget.job_bytes > 1u << 30);
  }
  CHECK(budget_of(net::Role::kClient).job_bytes < budget_of(net::Role::kAdmin).job_bytes);
}
