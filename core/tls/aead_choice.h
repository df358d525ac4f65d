// Which library computes AES-GCM on this machine: a self-test at first use.
#pragma once

#include <string>

namespace ringscale::core::tls {

struct GcmChoice {
  bool ipsec_agrees = false;  // available, and equal to OpenSSL on the test records
  bool use_ipsec = false;     // and faster for records of one packet
  std::string description;
};

// Measured once per process (about a millisecond), then remembered. Any thread.
const GcmChoice& ChooseGcm();

}  // namespace ringscale::core::tls
