#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include <troupe/runtime/status.h>

// Loads the server's certificate for TLS 1.2 and 1.3. Any thread may make a context; the HTTP
// thread uses it.

namespace troupe::http {

using TlsContext = boost::asio::ssl::context;

// Makes a context of the two files. Errors: kNotFound, and kBadData if `cert` holds no certificate
// chain, or `key` does not belong to it.
Result<std::shared_ptr<TlsContext>> load_tls(const std::string& cert, const std::string& key);
// Returns a text that changes whenever one of the two files does.
std::string stamp_of(const std::string& cert, const std::string& key);

}  // namespace troupe::http
