#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tests/actors/temporary_home.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// A real head inside the test's process, which holds no layers.

namespace troupe::actors::test {

// `at` becomes its address; another process may take a port just before it listens.
inline Result<Daemon> start_head(const TemporaryHome& home, net::Endpoint* at) {
  for (;;) {
    DaemonOptions options;
    options.home = home.path;
    options.head = true;
    options.work = false;
    options.listen = *at = net::test::free_endpoint();
    auto daemon = Daemon::start(options);
    if (daemon || daemon.code() != Code::kAlreadyExists) return daemon;
  }
}

}  // namespace troupe::actors::test
