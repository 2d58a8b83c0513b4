#include <array>

#include <troupe/actors/messages/rights.h>

namespace troupe::actors {
namespace {

bool is_operator(net::Role role) {
  return role == net::Role::kOperator || role == net::Role::kAdmin;
}

// Returns what a role reaches: operators everything, other clients only what is their own, and
// processes that are not clients nothing.
Reach own_or_all(net::Role role) {
  if (is_operator(role)) return Reach::kAll;
  return net::is_client(role) ? Reach::kOwn : Reach::kNothing;
}

constexpr const char* name_of(JobAskKind kind) {
  switch (kind) {
    case JobAskKind::kSubmit:
      return "submit";
    case JobAskKind::kList:
      return "list";
    case JobAskKind::kShow:
      return "show";
    case JobAskKind::kLines:
      return "lines";
    case JobAskKind::kOutput:
      return "output";
    case JobAskKind::kResult:
      return "result";
    case JobAskKind::kCancel:
      return "cancel";
    case JobAskKind::kStream:
      return "stream";
  }
  return nullptr;
}

constexpr const char* name_of(ManageKind kind) {
  switch (kind) {
    case ManageKind::kUnload:
      return "unload";
    case ManageKind::kKeyNew:
      return "key new";
    case ManageKind::kKeyList:
      return "key ls";
    case ManageKind::kKeyRevoke:
      return "key revoke";
    case ManageKind::kStop:
      return "stop";
    case ManageKind::kDrain:
      return "drain";
    case ManageKind::kEvents:
      return "events";
    case ManageKind::kKeyApprove:
      return "key approve";
  }
  return nullptr;
}

template <class Kind>
constexpr std::size_t count_names() {
  std::size_t count = 0;
  for (int kind = 0; kind < 256; ++kind) count += name_of(static_cast<Kind>(kind)) != nullptr;
  return count;
}

template <class Kind>
constexpr auto kNames = [] {
  std::array<AskName, count_names<Kind>()> names{};
  std::size_t count = 0;
  for (int kind = 0; kind < 256; ++kind) {
    const char* name = name_of(static_cast<Kind>(kind));
    if (name != nullptr) names[count++] = {static_cast<std::uint8_t>(kind), name};
  }
  return names;
}();

}  // namespace

std::span<const AskName> job_asks() { return kNames<JobAskKind>; }
std::span<const AskName> manage_asks() { return kNames<ManageKind>; }

Reach reach_of(JobAskKind kind, net::Role role) {
  switch (kind) {
    case JobAskKind::kSubmit:
      return net::is_client(role) ? Reach::kOwn : Reach::kNothing;
    case JobAskKind::kList:
    case JobAskKind::kShow:
    case JobAskKind::kLines:
    case JobAskKind::kOutput:
    case JobAskKind::kResult:
    case JobAskKind::kCancel:
    case JobAskKind::kStream:
      return own_or_all(role);
  }
  return Reach::kNothing;
}

Reach reach_of(ManageKind kind, net::Role role) {
  switch (kind) {
    case ManageKind::kUnload:
    case ManageKind::kStop:
    case ManageKind::kDrain:
    case ManageKind::kEvents:
      return is_operator(role) ? Reach::kAll : Reach::kNothing;
    case ManageKind::kKeyNew:
    case ManageKind::kKeyList:
    case ManageKind::kKeyRevoke:
    case ManageKind::kKeyApprove:
      return role == net::Role::kAdmin ? Reach::kAll : Reach::kNothing;
  }
  return Reach::kNothing;
}

}  // namespace troupe::actors
