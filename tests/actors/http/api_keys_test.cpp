#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include <troupe/actors/http/access.h>
#include <troupe/actors/http/api_keys.h>

using namespace troupe;
using namespace troupe::http;

namespace {

struct TemporaryFile {
  std::filesystem::path path;
  TemporaryFile() {
    char name[] = "/tmp/troupe-keys-XXXXXX";
    path = std::filesystem::path(::mkdtemp(name)) / "keys";
  }
  ~TemporaryFile() { std::filesystem::remove_all(path.parent_path()); }
};

const std::string kHash(64, 'a');

}  // namespace

TEST_CASE("http keys: a key that was added is found, and its file gives no key away") {
  const TemporaryFile file;
  ApiKey described;
  described.name = "shop";
  described.requests_per_minute = 60;
  const auto key = add_api_key(file.path, described);
  REQUIRE(key);
  described.name = "watcher";
  described.role = Role::kMetrics;
  described.requests_per_minute = 0;
  const auto other = add_api_key(file.path, described);
  REQUIRE(other);
  CHECK((key->size() == 67 && *key != *other));
  struct stat found {};
  REQUIRE(::stat(file.path.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
  std::ifstream text(file.path);
  const std::string all((std::istreambuf_iterator<char>(text)), {});
  CHECK(all.find(*key) == std::string::npos);
  const auto keys = ApiKeys::load(file.path);
  REQUIRE(keys);
  REQUIRE(keys->find(*key) != nullptr);
  CHECK(keys->find(*key)->name == "shop");
  CHECK(keys->find(*key)->requests_per_minute == 60);
  CHECK(keys->find(*other)->role == Role::kMetrics);
  CHECK(keys->find(*key + "x") == nullptr);
  CHECK(keys->find("") == nullptr);
  CHECK(keys->find(keys->find(*key)->sha256) == nullptr);
  CHECK(add_api_key(file.path, described).code() == Code::kAlreadyExists);
  described.name = "a\nb";
  CHECK(add_api_key(file.path, described).code() == Code::kInvalidArgument);
  ::chmod(file.path.c_str(), 0640);
  CHECK(ApiKeys::load(file.path).code() == Code::kPermissionDenied);
}

TEST_CASE("http keys: a file that is wrong names the line") {
  CHECK(ApiKeys::parse("# none\n\n")->all().empty());
  CHECK(ApiKeys::parse("a sha256:" + kHash + " role=admin tokens_per_minute=5 # x\n")
            ->all()[0]
            .tokens_per_minute == 5);
  for (const std::string& text : std::vector<std::string>{
           "a\n", "a sha256:xyz\n", "a/b sha256:" + kHash + "\n", "a " + kHash + "\n",
           "a sha256:" + kHash + " role=king\n", "a sha256:" + kHash + " requests_per_minute=0\n",
           "a sha256:" + kHash + " requests_per_minute=-1\n", "a sha256:" + kHash + " other\n",
           "b sha256:" + kHash + "\n\na sha256:" + kHash + " x=1\n",
           "a sha256:" + kHash + "\na sha256:" + kHash + "\n"}) {
    INFO(text);
    const auto keys = ApiKeys::parse(text);
    CHECK(keys.code() == Code::kBadData);
    CHECK(keys.message().rfind("line ", 0) == 0);
  }
}

TEST_CASE("http keys: every route but those of the role none needs one") {
  const auto keys = ApiKeys::parse("m sha256:" + kHash + "\n");
  REQUIRE(keys);
  for (const Route& route : routes()) {
    INFO(route.path);
    std::string name;
    const auto error = check_key(&*keys, Request(), route.role, &name);
    CHECK(error.has_value() == (route.role != Role::kNone));
    if (error) CHECK(error->status == 401);
    Request wrong;
    wrong.headers = {{"Authorization", "Bearer sk-wrong"}};
    CHECK(check_key(&*keys, wrong, route.role, &name).has_value() == (route.role != Role::kNone));
  }
  CHECK(may_use(Role::kAdmin, Role::kMetrics));
  CHECK(!may_use(Role::kApi, Role::kMetrics));
  CHECK(!may_use(Role::kMetrics, Role::kApi));
  CHECK(!may_use(Role::kApi, Role::kAdmin));
}
