#include <algorithm>

#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/known_files.h>

namespace troupe {
namespace {

constexpr const char* kConvert =
    "; convert it: load it with the program that it was made for (for transformers' models, "
    "from_pretrained) and save it as safetensors (save_pretrained), or take a GGUF file of the "
    "model";

struct KnownFile {
  std::string_view magic;
  const char* what;
  const char* advice;
};
constexpr KnownFile kKnown[] = {
    {"version https://git-lfs", "is a pointer of Git LFS, not the file itself",
     "; run 'git lfs pull' in the folder, or get the model with 'troupe pull hf://USER/REPO'"},
    {std::string_view("PK\x03\x04", 4), "is a zip file, as PyTorch saves weights", kConvert},
    {std::string_view("\x80\x02", 2), "is a pickle, as PyTorch saves weights", kConvert},
    {std::string_view("\x80\x04", 2), "is a pickle, as PyTorch saves weights", kConvert},
    {"\x89HDF", "is an HDF5 file, as Keras saves weights", kConvert},
    {"\x93NUMPY", "is a NumPy array", kConvert},
    {"lmgg", "is a GGML file of the time before GGUF",
     "; convert it with the llama.cpp of its time, or take a GGUF file of the model"},
    {"fmgg", "is a GGML file of the time before GGUF",
     "; convert it with the llama.cpp of its time, or take a GGUF file of the model"},
    {"tjgg", "is a GGML file of the time before GGUF",
     "; convert it with the llama.cpp of its time, or take a GGUF file of the model"},
    {"algg", "is a GGML adapter of the time before GGUF", "; take the adapter in PEFT's files"},
    {"\x1f\x8b", "is compressed with gzip", "; unpack it with gunzip"},
    {"\x28\xb5\x2f\xfd", "is compressed with Zstandard", "; unpack it with unzstd"},
    {"\xfd"
     "7zXZ",
     "is compressed with xz", "; unpack it with unxz"},
    {"BZh", "is compressed with bzip2", "; unpack it with bunzip2"},
    {"7z\xbc\xaf", "is a 7-Zip archive", "; unpack it"},
};

}  // namespace

std::string describe_known_file(std::string_view begin) {
  for (const KnownFile& one : kKnown)
    if (begin.starts_with(one.magic)) return std::string(one.what) + one.advice;
  const std::size_t text = begin.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (text == begin.npos) return "";
  const std::string start = to_lower(std::string(begin.substr(text, 16)));
  for (const std::string_view page : {"<!doctype html", "<html", "<?xml"}) {
    if (start.starts_with(page))
      return "is a web page, not a model's file; the address was that of a page about the file, or "
             "of a login: take the address of the file itself";
  }
  // A safetensors file begins with the size of its header, which is a JSON object.
  constexpr std::size_t kSizeBytes = 8;
  if (begin.size() > kSizeBytes && begin[kSizeBytes] == '{' && begin[kSizeBytes - 1] == '\0')
    return "is a safetensors file; give the path of its folder, in which config.json lies too";
  if (begin[text] == '{' || begin[text] == '[')
    return "is a text in JSON; give the path of the folder in which config.json and the weights "
           "lie, or of a GGUF file";
  return "";
}

}  // namespace troupe
