#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <troupe/runtime/status.h>

// A file of numbers over steps, as TensorBoard reads it: records of TensorFlow's Event messages.
// A run that continues from a checkpoint cuts the file off where it ended at that time, so that it
// has each step once. One thread.
//
// A record (TFRecord):
//   u64 length | u32 masked CRC-32C of the length | the message | u32 masked CRC-32C of the message
// where all numbers are little-endian, and a masked CRC is rotated by 15 bits to the right plus
// 0xa282ead8. The message (tensorflow/core/util/event.proto), of which these fields are written:
//   Event    double wall_time = 1;  int64 step = 2;  string file_version = 3;  Summary summary = 5
//   Summary  repeated Value value = 1, with  string tag = 1;  float simple_value = 2

namespace troupe::model {

// The name of the file in the folder of a run. TensorBoard looks for "tfevents".
inline constexpr const char* kEventFileName = "events.out.tfevents.troupe";

struct EventValue {
  std::string_view tag;  // such as "train/loss"
  double value = 0.0;    // is written as a float
};

// The last steps of which a file has values; 0 means none.
struct LastSteps {
  std::uint64_t training = 0, validation = 0;  // tags that begin with "train/", "validation/"
};

class EventFile {
 public:
  EventFile() = default;
  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&& other) noexcept;
  ~EventFile();

  // Opens the file, or makes it, and cuts it off after the whole records in its first `kept` bytes;
  // bytes() says how many bytes they have. A file that then has no record begins with one that
  // names the format.
  //   Errors: what the system says.
  static Result<EventFile> open(const std::filesystem::path& path, std::uint64_t kept);

  // Reads the last steps of a file's whole records; a file that is not there has none.
  //   Errors: what the system says.
  static Result<LastSteps> last_steps(const std::filesystem::path& path);

  bool is_open() const { return descriptor_ >= 0; }
  // Writes the values of a step as one record. `wall_time` is in seconds since 1970.
  //   Errors: what the system says; kResourceExhausted if the disk is full.
  Status write(std::uint64_t step, std::span<const EventValue> values, double wall_time);
  // Flushes the file to the disk, so that it survives a crash of the machine.
  Status sync();
  // Returns the length of the file, which consists of whole records.
  std::uint64_t bytes() const { return bytes_; }

 private:
  EventFile(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  Status write_record(const std::string& message);
  Status error(const char* what) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t bytes_ = 0;
};

}  // namespace troupe::model
