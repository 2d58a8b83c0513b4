#include <fstream>
#include <set>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/net/keys.h>

namespace {

using namespace troupe;
using namespace troupe::net;

struct TemporaryFolder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("troupe-keys-" + std::to_string(random_u64()));
  TemporaryFolder() { std::filesystem::create_directories(path); }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

Token example_token() {
  Token token;
  token.cluster = 0x0123456789ABCDEF;
  for (std::size_t i = 0; i < 32; ++i) token.head[i] = static_cast<std::uint8_t>(200 + i);
  for (std::size_t i = 0; i < 16; ++i) token.seed[i] = static_cast<std::uint8_t>(i);
  return token;
}

}  // namespace

TEST_CASE("keys: z85 agrees with ZeroMQ's recorded pair and comes back", "[keys]") {
  // The test vector of ZeroMQ RFC 32 (eight bytes, here four times over).
  PublicKey key;
  const std::uint8_t vector[8] = {0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B};
  for (std::size_t i = 0; i < 32; ++i) key[i] = vector[i % 8];
  CHECK(to_z85(key) == "HelloWorldHelloWorldHelloWorldHelloWorld");
  const auto back = key_from_z85(to_z85(key));
  REQUIRE(back.is_ok());
  CHECK(*back == key);
  for (int i = 0; i < 50; ++i) {
    const KeyPair pair = make_key_pair();
    REQUIRE(*key_from_z85(to_z85(pair.public_key)) == pair.public_key);
  }
}

TEST_CASE("keys: text that is not a key is refused", "[keys]") {
  CHECK_FALSE(key_from_z85("").is_ok());
  CHECK_FALSE(key_from_z85(std::string(39, 'a')).is_ok());
  CHECK_FALSE(key_from_z85(std::string(41, 'a')).is_ok());
  CHECK_FALSE(key_from_z85(std::string(39, 'a') + "\"").is_ok());
  CHECK_FALSE(key_from_z85(std::string(40, '#')).is_ok());  // 85^5 - 1 is over 32 bits
}

TEST_CASE("keys: a pair from a seed is always the same", "[keys]") {
  std::array<std::uint8_t, 32> seed{};
  CHECK(key_pair_from_seed(seed).public_key == key_pair_from_seed(seed).public_key);
  const auto before = key_pair_from_seed(seed).public_key;
  seed[31] = 1;
  CHECK(key_pair_from_seed(seed).public_key != before);
}

TEST_CASE("keys: the first start makes the file, the next ones read it", "[keys]") {
  TemporaryFolder folder;
  const auto path = folder.path / "node.key";
  CHECK(load_key_pair(path).code() == Code::kNotFound);
  const auto made = load_or_make_key_pair(path);
  REQUIRE(made.is_ok());
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const auto again = load_or_make_key_pair(path);
  REQUIRE(again.is_ok());
  CHECK(again->public_key == made->public_key);
  CHECK(again->secret_key == made->secret_key);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("keys: processes that start at once agree on one key", "[keys]") {
  TemporaryFolder folder;
  std::vector<std::string> seen(8);
  std::vector<std::thread> threads;
  for (auto& key : seen) {
    threads.emplace_back([&] {
      const auto pair = load_or_make_key_pair(folder.path / "node.key");
      if (pair) key = to_z85(pair->public_key);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 1);
  CHECK(seen[0].size() == 40);
}

TEST_CASE("keys: a file that others can read is refused with the way to mend it", "[keys]") {
  TemporaryFolder folder;
  const auto path = folder.path / "node.key";
  REQUIRE(load_or_make_key_pair(path).is_ok());
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  const auto result = load_or_make_key_pair(path);
  REQUIRE(result.code() == Code::kPermissionDenied);
  CHECK(result.message().find("0644") != std::string::npos);
  CHECK(result.message().find("chmod 600") != std::string::npos);
}

TEST_CASE("keys: a damaged file is refused, never replaced", "[keys]") {
  TemporaryFolder folder;
  const auto path = folder.path / "node.key";
  REQUIRE(load_or_make_key_pair(path).is_ok());
  const std::string good = *read_file(path, 4096);
  for (const std::string& damaged :
       {std::string(), std::string("garbage"), good.substr(0, good.size() - 2),
        "troupe-key-1\n" + to_z85(make_key_pair().public_key) + good.substr(13 + 40)}) {
    REQUIRE(write_file_atomically(path, damaged, 0600).is_ok());
    CHECK(load_or_make_key_pair(path).code() == Code::kBadData);
    CHECK(*read_file(path, 4096) == damaged);
  }
}

TEST_CASE("token: text and back, in either case and with look-alikes", "[keys]") {
  const Token token = example_token();
  const std::string text = to_text(token);
  CHECK(text.size() == 4 + 96);
  const auto back = parse_token(text);
  REQUIRE(back.is_ok());
  CHECK(back->cluster == token.cluster);
  CHECK(back->head == token.head);
  CHECK(back->seed == token.seed);
  std::string shouted = text;
  for (std::size_t i = 4; i < shouted.size(); ++i) {
    shouted[i] = static_cast<char>(std::toupper(shouted[i]));
    if (shouted[i] == '0') shouted[i] = 'O';
    if (shouted[i] == '1') shouted[i] = 'l';
  }
  CHECK(parse_token(shouted).is_ok());
}

TEST_CASE("token: every single mistyped character is noticed", "[keys]") {
  const std::string text = to_text(example_token());
  for (std::size_t i = 4; i < text.size(); ++i) {
    std::string typo = text;
    typo[i] = typo[i] == 'x' ? 'y' : 'x';
    INFO("place " << i);
    REQUIRE(parse_token(typo).code() == Code::kInvalidArgument);
  }
  CHECK(parse_token("").code() == Code::kInvalidArgument);
  CHECK(parse_token(text.substr(0, text.size() - 1)).code() == Code::kInvalidArgument);
  CHECK(parse_token(text + "0").code() == Code::kInvalidArgument);
  CHECK(parse_token("trp-" + std::string(96, '!')).code() == Code::kInvalidArgument);
  CHECK(parse_token("abc-" + text.substr(4)).code() == Code::kInvalidArgument);
}

TEST_CASE("token: the enrolment key follows from every part of the token", "[keys]") {
  const Token token = example_token();
  const auto key = enrolment_key_pair(token).public_key;
  CHECK(enrolment_key_pair(*parse_token(to_text(token))).public_key == key);
  Token other = token;
  other.seed[0] ^= 1;
  CHECK(enrolment_key_pair(other).public_key != key);
  other = token;
  other.cluster ^= 1;
  CHECK(enrolment_key_pair(other).public_key != key);
}
