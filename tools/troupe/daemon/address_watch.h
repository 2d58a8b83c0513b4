#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>

// A node that listens on the address from which it reaches its head must listen elsewhere when this
// machine gets another address: a laptop in another network, a lease that was not renewed.

namespace troupe::tools {

// True if an interface of this machine has the address; a wildcard or a name counts as an address
// that it has.
bool has_address(const std::string& host);

class AddressWatch {
 public:
  // `own` is the address on which the node listens, `head` where its head is.
  AddressWatch(std::string own, net::Endpoint head);
  // Called every few seconds. Returns the address from which the head is reached now, once the old
  // one has been gone for two calls; otherwise nothing.
  std::optional<std::string> moved();

 private:
  std::string own_;
  net::Endpoint head_;
  int missed_ = 0;
};

}  // namespace troupe::tools
