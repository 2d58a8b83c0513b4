#include <catch2/catch.hpp>

#include <troupe/actors/facade/key_search.h>

namespace troupe::actors {
namespace {

using Next = KeySearch::Next;

net::Token token_of(std::uint8_t seed) {
  net::Token token;
  token.seed = {seed};
  return token;
}

TEST_CASE("key search: a missing or refused key may be written anew until time is up") {
  KeySearch search(1'000);
  const Result<net::Token> none = Status(Code::kUnavailable, "no key");
  CHECK(search.next(none, 999) == Next::kLookAgain);
  CHECK(search.next(none, 1'000) == Next::kGiveUp);
  CHECK(search.next(token_of(1), 0) == Next::kTry);
  search.refuse(token_of(1));
  CHECK(search.next(token_of(1), 999) == Next::kLookAgain);
  CHECK(search.next(token_of(1), 1'000) == Next::kGiveUp);
  // Another key is tried however late it is.
  CHECK(search.next(token_of(2), 2'000) == Next::kTry);
}

TEST_CASE("key search: what is no key at all is not waited for") {
  const Result<net::Token> damaged = Status(Code::kInvalidArgument, "mistyped");
  CHECK(KeySearch(1'000).next(damaged, 0) == Next::kGiveUp);
}

}  // namespace
}  // namespace troupe::actors
