#include <troupe/actors/messages/rights.h>

namespace troupe::actors {
namespace {

bool is_operator(net::Role role) {
  return role == net::Role::kOperator || role == net::Role::kAdmin;
}

// Operators reach everything, other clients only what is their own, and processes that are not
// clients reach nothing.
Reach own_or_all(net::Role role) {
  if (is_operator(role)) return Reach::kAll;
  return net::is_client(role) ? Reach::kOwn : Reach::kNothing;
}

}  // namespace

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
