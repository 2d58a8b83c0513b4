#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <troupe/model/training/event_file.h>
#include <troupe/runtime/crc32c.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/file.h>

namespace troupe::model {
namespace {

constexpr std::size_t kHeadBytes = 12, kTailBytes = 4;  // of a record, around its message

// The kinds of fields that protocol buffers write: the low three bits of a field's key.
enum WireKind : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class T>
void append_little_endian(std::string* to, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    to->push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i)));
}

std::uint64_t read_little_endian(const std::byte* from, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i)
    value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  return value;
}

void append_varint(std::string* to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to->push_back(static_cast<char>(value | 0x80));
  to->push_back(static_cast<char>(value));
}

void append_key(std::string* to, int field, WireKind kind) {
  append_varint(to, static_cast<std::uint64_t>(field) << 3 | kind);
}

void append_bytes(std::string* to, int field, std::string_view bytes) {
  append_key(to, field, kBytes);
  append_varint(to, bytes.size());
  to->append(bytes);
}

template <class Bits, class Number>
Bits bits_of(Number number) {
  static_assert(sizeof(Bits) == sizeof(Number));
  Bits bits;
  std::memcpy(&bits, &number, sizeof bits);
  return bits;
}

// Writes the beginning of an event. As protocol buffers do, it leaves out a number that is 0.
std::string event_of(double wall_time, std::uint64_t step) {
  std::string event;
  if (const auto bits = bits_of<std::uint64_t>(wall_time); bits != 0) {
    append_key(&event, 1, kFixed64);
    append_little_endian(&event, bits);
  }
  if (step != 0) {
    append_key(&event, 2, kVarint);
    append_varint(&event, step);
  }
  return event;
}

std::uint32_t masked_crc(std::span<const std::byte> bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// Returns the number of bytes of whole records at the beginning, and calls visit(message) for each
// record.
template <class Visit>
std::uint64_t whole_records(std::span<const std::byte> bytes, Visit visit) {
  std::size_t at = 0;
  while (bytes.size() - at >= kHeadBytes + kTailBytes) {
    const std::byte* head = bytes.data() + at;
    const std::uint64_t length = read_little_endian(head, 8);
    if (length > bytes.size() - at - kHeadBytes - kTailBytes) break;
    const std::byte* message = head + kHeadBytes;
    if (read_little_endian(head + 8, 4) != masked_crc({head, 8}) ||
        read_little_endian(message + length, 4) != masked_crc({message, length}))
      break;
    visit(std::string_view(reinterpret_cast<const char*>(message), length));
    at += kHeadBytes + length + kTailBytes;
  }
  return at;
}

// Returns the step of an event, which event_of writes after the 9 bytes of the time; 0 if there is
// none.
std::uint64_t step_of(std::string_view message) {
  constexpr std::size_t kTimeBytes = 9;
  constexpr char kTimeKey = 1 << 3 | kFixed64, kStepKey = 2 << 3 | kVarint;
  if (message.starts_with(kTimeKey)) message.remove_prefix(std::min(kTimeBytes, message.size()));
  if (!message.starts_with(kStepKey)) return 0;
  std::uint64_t step = 0;
  for (std::size_t i = 1; i < message.size() && i <= 10; ++i) {
    const auto byte = static_cast<unsigned char>(message[i]);
    step |= std::uint64_t{byte & 0x7fu} << 7 * (i - 1);
    if (byte < 0x80) break;
  }
  return step;
}

}  // namespace

EventFile::EventFile(EventFile&& other) noexcept { *this = std::move(other); }

EventFile& EventFile::operator=(EventFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status EventFile::error(const char* what) const {
  return Status(errno == ENOSPC ? Code::kResourceExhausted : Code::kUnavailable,
                "cannot " + std::string(what) + " " + path_.string() + ": " +
                    std::generic_category().message(errno));
}

Result<EventFile> EventFile::open(const std::filesystem::path& path, std::uint64_t kept) {
  std::error_code folder_error;
  std::filesystem::create_directories(path.parent_path(), folder_error);
  EventFile file(path, ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (file.descriptor_ < 0) return file.error("open");
  if (kept > 0) {
    // The mapping must end before the file shrinks.
    TROUPE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(path));
    const auto bytes = mapped.bytes();
    file.bytes_ = whole_records(bytes.first(std::min<std::uint64_t>(kept, bytes.size())),
                                [](std::string_view) {});
  }
  if (::ftruncate(file.descriptor_, static_cast<off_t>(file.bytes_)) != 0) return file.error("cut");
  if (::lseek(file.descriptor_, 0, SEEK_END) < 0) return file.error("open");
  if (file.bytes_ == 0) {
    std::string event = event_of(0.0, 0);
    append_bytes(&event, 3, "brain.Event:2");
    TROUPE_RETURN_IF_ERROR(file.write_record(event));
  }
  return file;
}

Result<LastSteps> EventFile::last_steps(const std::filesystem::path& path) {
  LastSteps last;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) ||
      std::filesystem::file_size(path, error) == 0)
    return last;
  TROUPE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(path));
  whole_records(mapped.bytes(), [&](std::string_view message) {
    const bool validates = message.find("validation/") != message.npos;
    std::uint64_t& step = validates ? last.validation : last.training;
    step = std::max(step, step_of(message));
  });
  return last;
}

Status EventFile::write(std::uint64_t step, std::span<const EventValue> values, double wall_time) {
  std::string summary;
  for (const EventValue& value : values) {
    std::string one;
    append_bytes(&one, 1, value.tag);
    append_key(&one, 2, kFixed32);
    append_little_endian(&one, bits_of<std::uint32_t>(static_cast<float>(value.value)));
    append_bytes(&summary, 1, one);
  }
  std::string event = event_of(wall_time, step);
  append_bytes(&event, 5, summary);
  return write_record(event);
}

Status EventFile::write_record(const std::string& message) {
  TROUPE_RETURN_IF_ERROR(failpoint("training", "events", "write"));
  std::string record;
  append_little_endian(&record, std::uint64_t{message.size()});
  append_little_endian(&record, masked_crc(std::as_bytes(std::span(record))));
  record += message;
  append_little_endian(&record, masked_crc(std::as_bytes(std::span(message))));
  for (std::size_t done = 0; done < record.size();) {
    const ssize_t n = ::write(descriptor_, record.data() + done, record.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error("write");
    done += static_cast<std::size_t>(n);
  }
  bytes_ += record.size();
  return Status::ok();
}

Status EventFile::sync() { return ::fdatasync(descriptor_) == 0 ? Status::ok() : error("write"); }

}  // namespace troupe::model
