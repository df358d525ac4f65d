// An AdminApi on a registry in memory, and requests to it.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "control/api/admin_api.h"
#include "core/json/reader.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {

struct Reply {
  int status = 0;
  std::string content_type;
  std::string body;
};

class ApiFixture {
 public:
  explicit ApiFixture(RegistryOptions options = {}, AdminApiOptions api_options = {},
                      Tailnet::Mode mode = Tailnet::Mode::kImmediate)
      : tailnet(std::move(options), mode),
        registration(tailnet.loop(), tailnet.registry()),
        api(tailnet.loop(), tailnet.registry(), registration, tailnet.store(),
            std::move(api_options)) {}

  // Starts a request; the reply appears when it was answered.
  std::shared_ptr<std::optional<Reply>> Start(std::string method, std::string target,
                                              std::string body = "") {
    auto reply = std::make_shared<std::optional<Reply>>();
    const std::size_t question = std::min(target.find('?'), target.size());
    AdminRequest request{std::move(method), target.substr(0, question),
                         question < target.size() ? target.substr(question + 1) : "",
                         std::move(body)};
    api.Handle(std::move(request), [reply](AdminResponse response) {
      EXPECT_FALSE(reply->has_value()) << "answered twice";
      EXPECT_FALSE(response.stream);
      *reply = Reply{response.status, response.content_type, response.body};
    });
    tailnet.Settle();
    return reply;
  }
  Reply Call(std::string method, std::string target, std::string body = "") {
    const auto reply = Start(std::move(method), std::move(target), std::move(body));
    if (!reply->has_value()) {
      ADD_FAILURE() << "not answered";
      return {};
    }
    return **reply;
  }
  Reply Get(std::string target) { return Call("GET", std::move(target)); }
  Reply Post(std::string target, std::string body = "") {
    return Call("POST", std::move(target), std::move(body));
  }
  Reply Delete(std::string target) { return Call("DELETE", std::move(target)); }

  // The text that an operator reads: "<detail>: <first message>".
  static std::string Problem(const Reply& reply) {
    EXPECT_EQ(reply.content_type, "application/problem+json") << reply.body;
    core::json::Parser parser;
    const auto root = parser.Parse(reply.body);
    if (!root) return "not JSON";
    EXPECT_EQ((*root)["status"].AsInt(), reply.status);
    std::string text((*root)["detail"].AsString().value_or("?"));
    (*root)["errors"].Elements([&](const core::json::Value& error) {
      text += ": " + std::string(error["message"].AsString().value_or("?"));
      return true;
    });
    return text;
  }

  // A machine that asks to join and waits; returns the id that its page shows.
  std::string AskToJoin(std::uint64_t machine, const std::string& hostname) {
    RegisterRequest request;
    request.node_key = NodeKey(machine);
    request.hostinfo = "{\"Hostname\":\"" + hostname + "\",\"OS\":\"linux\"}";
    request.version = 140;
    std::string id;
    registration.Handle(
        request,
        {.machine_key = Machine(machine),
         .source = *core::IpAddress::Parse("192.0.2.1"),
         .auth_url = [](std::string_view auth_id) { return "http://x/" + std::string(auth_id); }},
        [&id](const RegisterResponse& response) {
          const std::size_t at = response.auth_url.find("hskey-authreq-");
          if (at != std::string::npos) id = response.auth_url.substr(at);
        });
    tailnet.Settle();
    EXPECT_NE(id, "");
    return id;
  }

  Tailnet tailnet;
  Registration registration;
  AdminApi api;
};

}  // namespace ringscale::control::testing
