#include <sys/stat.h>

#include <troupe/actors/http/tls.h>

namespace troupe::http {
namespace {

using ErrorCode = boost::system::error_code;

std::string stamp_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return "-";
  return std::to_string(found.st_ino) + "." + std::to_string(found.st_size) + "." +
         std::to_string(found.st_mtim.tv_sec) + "." + std::to_string(found.st_mtim.tv_nsec);
}

Status bad_file(const char* what, const std::string& path, const ErrorCode& error) {
  if (stamp_of(path) == "-") {
    return Status(Code::kNotFound, "there is no file " + path + " for the " + what);
  }
  return Status(Code::kBadData, path + " cannot be used as the " + what + ": " + error.message());
}

}  // namespace

std::string stamp_of(const std::string& cert, const std::string& key) {
  return stamp_of(cert) + "/" + stamp_of(key);
}

Result<std::shared_ptr<TlsContext>> load_tls(const std::string& cert, const std::string& key) {
  auto context = std::make_shared<TlsContext>(TlsContext::tls_server);
  ErrorCode error;
  context->set_options(TlsContext::default_workarounds | TlsContext::no_sslv2 |
                           TlsContext::no_sslv3 | TlsContext::no_tlsv1 | TlsContext::no_tlsv1_1 |
                           TlsContext::no_compression,
                       error);
  context->use_certificate_chain_file(cert, error);
  if (error) return bad_file("certificate", cert, error);
  // There is no terminal on which OpenSSL could ask for a password.
  context->set_password_callback(
      [](std::size_t, TlsContext::password_purpose) { return std::string(); }, error);
  context->use_private_key_file(key, TlsContext::pem, error);
  if (error) return bad_file("certificate's key", key, error);
  return context;
}

}  // namespace troupe::http
