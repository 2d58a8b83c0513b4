#include <algorithm>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include <troupe/model/source/open_model.h>
#include <troupe/model/store/store.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>

using namespace troupe;
using namespace troupe::model;
namespace fs = std::filesystem;

namespace {

const fs::path kTiny = fs::path(TROUPE_TEST_DATA) / "golden" / "tiny";

// A temporary home, with folders of models below the store's partial/.
class Home {
 public:
  Home() {
    std::string name = (fs::temp_directory_path() / "troupe_store_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    store_ = *Store::open(path_);
  }
  ~Home() { fs::remove_all(path_); }
  Store& store() { return *store_; }
  fs::path below(const std::string& name) const { return path_ / "store" / name; }

  // Copies the files of a tiny model to where a pull leaves them.
  fs::path bring(const std::string& family) {
    const fs::path folder = below("partial") / ("brought-" + std::to_string(count_++));
    fs::create_directory(folder);
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy_file(kTiny / family / file, folder / file);
    }
    return folder;
  }
  std::size_t count(const std::string& folder) const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(below(folder)), fs::directory_iterator()));
  }

 private:
  fs::path path_;
  std::shared_ptr<Store> store_;
  int count_ = 0;
};

const std::vector<std::string> kNames = {"config.json", "model.safetensors"};

}  // namespace

TEST_CASE("a folder is imported, found by name and hash, and read as the folder that it was") {
  Home home;
  const auto entry = home.store().import_files(home.bring("llama"), kNames, "tiny", std::nullopt);
  REQUIRE(entry);
  const auto outside = home.store().manifest(kTiny / "llama");
  REQUIRE(outside);
  CHECK(entry->sha256 == outside->file_sha256);
  CHECK(fs::is_directory(entry->path));
  CHECK(*home.store().resolve("tiny") == entry->path);
  CHECK(*home.store().resolve("sha256:" + entry->sha256) == entry->path);
  CHECK(home.store().whole_file(outside->model) == entry->path);
  CHECK(*home.store().resolve("model:" + outside->model) == entry->path);
  const auto listed = home.store().list();
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].files.size() == 2);
  CHECK(listed[0].bytes == fs::file_size(kTiny / "llama/config.json") +
                               fs::file_size(kTiny / "llama/model.safetensors"));
  const auto inside = home.store().manifest(entry->path);
  REQUIRE(inside);
  CHECK(inside->file_sha256 == entry->sha256);
  CHECK(inside->model == outside->model);
  CHECK(inside->name == "tiny");
  REQUIRE(open_model(entry->path.string()));
}

TEST_CASE("what is not the listing that was promised, or no model, leaves nothing") {
  Home home;
  const auto wrong =
      home.store().import_files(home.bring("llama"), kNames, "tiny", std::string(64, '0'));
  CHECK(wrong.code() == Code::kBadData);
  CHECK(wrong.message().find(std::string(64, '0')) != std::string::npos);
  const fs::path folder = home.bring("llama");
  std::ofstream(folder / "config.json") << "{}";
  CHECK(home.store().import_files(folder, kNames, "tiny", std::nullopt).code() == Code::kBadData);
  CHECK_FALSE(home.store().import_files(folder, {"absent"}, "tiny", std::nullopt));
  CHECK(home.store().import_files(folder, {"../x"}, "tiny", std::nullopt).code() ==
        Code::kInvalidArgument);
  CHECK(home.store().list().empty());
  CHECK(home.count("blobs") == 0);
  CHECK(home.count("folders") == 0);
}

TEST_CASE("files are shared, and removed with the last model that has them") {
  Home home;
  const auto first = home.store().import_files(home.bring("llama"), kNames, "one", std::nullopt);
  // A model with the same weights, but another text beside them.
  const fs::path folder = home.bring("llama");
  std::ofstream(folder / "generation_config.json") << "{\"eos_token_id\": 7}";
  auto names = kNames;
  names.push_back("generation_config.json");
  const auto second = home.store().import_files(folder, names, "two", std::nullopt);
  REQUIRE((first && second));
  CHECK(first->sha256 != second->sha256);
  CHECK(home.count("blobs") == 3);
  const auto third = home.store().name_model(*first, "three");
  REQUIRE(third);
  CHECK(third->path == first->path);

  auto removed = home.store().remove(*first);
  REQUIRE(removed);
  CHECK(removed->freed_bytes == 0);
  CHECK(removed->kept_for == std::vector<std::string>{"three", "two"});
  CHECK(home.store().resolve("three"));
  removed = home.store().remove(*third);
  REQUIRE(removed);
  CHECK(removed->freed_bytes == 0);
  CHECK(removed->kept_bytes == first->bytes);
  CHECK_FALSE(fs::exists(first->path));
  CHECK(home.store().resolve("two"));
  CHECK(home.store().remove(*third).code() == Code::kNotFound);
  removed = home.store().remove(*second);
  REQUIRE(removed);
  CHECK(removed->freed_bytes == second->bytes);
  CHECK(home.count("blobs") == 0);
  CHECK(home.count("folders") == 0);
  CHECK(home.count("models") == 0);
}

TEST_CASE("a model of several files is asked for again when one of them was changed") {
  Home home;
  const auto entry = home.store().import_files(home.bring("llama"), kNames, "tiny", std::nullopt);
  REQUIRE(entry);
  const fs::path blob = home.store().blob_path(entry->files[0].blob.sha256);
  fs::permissions(blob, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(blob, std::ios::app) << " ";
  CHECK(home.store().resolve("tiny").code() == Code::kNotFound);
  CHECK_FALSE(home.store().intact(*entry));
  const auto again = home.store().import_files(home.bring("llama"), kNames, "tiny", std::nullopt);
  REQUIRE(again);
  CHECK(home.store().resolve("tiny"));
  // Links that are gone are made again.
  fs::remove_all(entry->path);
  CHECK(home.store().intact(*again));
  CHECK(open_model(home.store().resolve("tiny")->string()));
}

TEST_CASE("a listing is what sha256sum prints, by name") {
  const BlobRef a{std::string(64, 'a'), 1}, b{std::string(64, 'b'), 2};
  const std::string text = a.sha256 + "  x\n" + b.sha256 + "  y\n";
  const std::string expected = sha256_hex(std::as_bytes(std::span(text.data(), text.size())));
  CHECK(listing_sha256({{"x", a}, {"y", b}}) == expected);
  CHECK(listing_sha256({{"y", b}, {"x", a}}) == expected);
}
