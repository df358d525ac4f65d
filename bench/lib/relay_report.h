// What a run of ringscale-bench relay found, as a table, as JSON, and as a page.
#pragma once

#include <string>
#include <vector>

#include "bench/lib/relay_runs.h"
#include "bench/lib/relay_tcp.h"
#include "bench/lib/relay_throughput.h"

namespace ringscale::bench {

struct RelayReport {
  struct Throughput {
    std::string relay;
    double wanted_bits = 0;  // 0 = as fast as possible
    ThroughputResult result;
  };
  struct Connect {
    std::string relay;
    double packet_bits = 0;
    bool with_logins = false;
    ConnectResult result;
  };
  struct Storm {
    std::string relay;
    StormResult result;
  };
  struct Stun {
    std::string relay;
    StunResult result;
  };
  struct Tcp {
    std::string relay;
    TcpResult result;
  };
  std::string command;  // that made it
  std::vector<Throughput> throughput;
  std::vector<Connect> connect;
  std::vector<Storm> storm;
  std::vector<Stun> stun;
  std::vector<Tcp> tcp;
};

// Head and rows of the table; a table is printed as its rows come in.
std::string ThroughputHead();
std::string TcpHead();
std::string TableRow(const RelayReport::Throughput& row);
std::string TableRow(const RelayReport::Connect& row);
std::string TableRow(const RelayReport::Storm& row);
std::string TableRow(const RelayReport::Stun& row);
std::string TableRow(const RelayReport::Tcp& row);

std::string ToJson(const RelayReport& report);

// One page that needs nothing else: tables and plots (delivered over offered,
// latency distribution, latency over time).
std::string ToHtml(const RelayReport& report);

}  // namespace ringscale::bench
