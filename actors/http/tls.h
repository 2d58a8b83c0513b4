#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include <troupe/runtime/status.h>

// The server's certificate. TLS 1.2 and 1.3. The HTTP thread uses a context, any thread may make
// one.

namespace troupe::http {

using TlsContext = boost::asio::ssl::context;

// Errors: kNotFound, and kBadData if the files hold no certificate chain, or the key of another
// one.
Result<std::shared_ptr<TlsContext>> load_tls(const std::string& cert, const std::string& key);
// Changes whenever one of the two files does.
std::string stamp_of(const std::string& cert, const std::string& key);

}  // namespace troupe::http
