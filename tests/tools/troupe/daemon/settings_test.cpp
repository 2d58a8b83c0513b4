#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/tools/troupe/daemon/settings.h>

using namespace troupe;
using namespace troupe::tools;

namespace {

// A home of the test's own, and no variables of settings except those that the test sets.
struct Home {
  Home() {
    path = std::filesystem::temp_directory_path() / ("troupe-set-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    clear();
  }
  ~Home() {
    clear();
    std::filesystem::remove_all(path);
  }
  static void clear() {
    for (const Setting& setting : start_settings()) ::unsetenv(variable_of(setting.key).c_str());
  }
  void write(const std::string& text) const { std::ofstream(path / "config.toml") << text; }
  Result<Settings> collect(std::map<std::string, std::string> flags = {},
                           const std::string& config = "") const {
    flags.try_emplace("home", path.string());
    return Settings::collect(flags, config);
  }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("settings: the flag counts before the variable, that before the file") {
  const Home home;
  home.write("name = \"of-file\"\nthreads = 3\nkeep-alive = 60\n");
  auto settings = home.collect();
  REQUIRE(settings);
  CHECK(settings->text("name") == "of-file");
  CHECK(settings->value("name").from == (home.path / "config.toml").string() + ":1");
  CHECK(settings->text("threads") == "3");
  CHECK(settings->text("keep-alive") == "60");
  CHECK(settings->text("log") == settings->value("log").text);
  CHECK_FALSE(settings->given("memory"));
  ::setenv("TROUPE_NAME", "of-variable", 1);
  ::setenv("TROUPE_KEEP_ALIVE", "forever", 1);
  settings = home.collect();
  REQUIRE(settings);
  CHECK(settings->text("name") == "of-variable");
  CHECK(settings->value("name").from == "TROUPE_NAME");
  CHECK(settings->text("keep-alive") == "forever");
  settings = home.collect({{"name", "of-flag"}});
  REQUIRE(settings);
  CHECK(settings->text("name") == "of-flag");
  CHECK(settings->value("name").from == "--name");
}

TEST_CASE("settings: switches of the environment are also 1 and 0, yes and no, on and off") {
  const Home home;
  for (const char* on : {"true", "1", "yes", "on"}) {
    ::setenv("TROUPE_NO_WORK", on, 1);
    const auto settings = home.collect();
    REQUIRE(settings);
    CHECK(settings->is_on("no-work"));
  }
  ::setenv("TROUPE_NO_WORK", "perhaps", 1);
  const auto wrong = home.collect();
  CHECK(wrong.code() == Code::kInvalidArgument);
  CHECK(wrong.message().find("TROUPE_NO_WORK takes true or false, not 'perhaps'") !=
        std::string::npos);
}

TEST_CASE("settings: a wrong value names where it was given") {
  const Home home;
  CHECK(home.collect({{"threads", "0"}}).code() == Code::kInvalidArgument);
  CHECK(home.collect({{"threads", "1025"}}).code() == Code::kInvalidArgument);
  CHECK(home.collect({{"memory", "much"}}).code() == Code::kInvalidArgument);
  CHECK(home.collect({{"name", "a\nb"}}).code() == Code::kInvalidArgument);
  struct Case {
    const char *file, *says;
  };
  for (const Case& one :
       {Case{"threads = \"3\"\n", ":1: threads = \"3\": threads takes a whole"},
        Case{"\nhead = \"true\"\n", ":2: head = \"true\": head takes true or"},
        Case{"name = 7\n", "takes a text in quotes"}, Case{"name = \"\"\n", "is empty"},
        Case{"nam = \"x\"\n", "there is no setting of this name"},
        Case{"home = \"/elsewhere\"\n", "cannot say where the home is"},
        Case{"name = \n", "not TOML"}}) {
    INFO(one.file);
    home.write(one.file);
    const auto settings = home.collect();
    CHECK(settings.code() == Code::kBadData);
    INFO(settings.message());
    CHECK(settings.message().find(one.says) != std::string::npos);
  }
  CHECK(home.collect({}, (home.path / "absent.toml").string()).code() == Code::kNotFound);
}

TEST_CASE("settings: of two that exclude each other, the one of the later origin gives way") {
  const Home home;
  home.write("head = true\n");
  auto settings = home.collect({{"join", "TOKEN@host:7700"}});
  REQUIRE(settings);
  CHECK_FALSE(settings->is_on("head"));
  CHECK_FALSE(settings->given("head"));
  CHECK(settings->text("join") == "TOKEN@host:7700");
  // If both have the same origin, both stay, for a message that names them.
  settings = home.collect({{"join", "TOKEN@host:7700"}, {"head", "true"}});
  REQUIRE(settings);
  CHECK(settings->is_on("head"));
  CHECK(settings->given("join"));
}

TEST_CASE("settings: a token is not shown") {
  const Home home;
  const std::string secret = "troupe1-0123456789abcdef";
  const auto settings = home.collect({{"join", secret + "@host:7700"}});
  REQUIRE(settings);
  CHECK(settings->text("join") == secret + "@host:7700");
  CHECK(settings->json()["join"]["value"] == "troupe1-...@host:7700");
  for (const auto& row : settings->rows()) {
    for (const std::string& cell : row) CHECK(cell.find(secret) == std::string::npos);
  }
}
