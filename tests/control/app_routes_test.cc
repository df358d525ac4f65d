#include <gtest/gtest.h>

#include <map>
#include <string>

#include "control/app/machine_api.h"
#include "tests/control/app_support.h"

namespace ringscale::control {
namespace {

// Takes one answer.
class Target final : public ResponderTarget {
 public:
  bool Respond(std::int32_t, core::http::H2Response given) override {
    if (gone) return false;
    response = std::move(given);
    ++answers;
    return true;
  }
  bool RespondStream(std::int32_t, int status, const std::vector<core::http::Header>& headers,
                     core::http::H2Server::MakeSource) override {
    response = {status, headers, "(stream)"};
    ++answers;
    return !gone;
  }
  void OnGone(std::int32_t, std::move_only_function<void()> call) override {
    on_gone = std::move(call);
  }
  [[nodiscard]] bool HasStream(std::int32_t) const override { return !gone; }

  core::http::H2Response response;
  int answers = 0;
  bool gone = false;
  std::move_only_function<void()> on_gone;
};

core::http::H2Response Dispatch(RecordingApi& api, std::string_view method, std::string path,
                                std::uint16_t version = 145) {
  const auto target = std::make_shared<Target>();
  auto connection = std::make_shared<MachineConnection>();
  connection->protocol_version = version;
  MachineRequest request;
  request.connection = connection;
  request.path = std::move(path);
  DispatchMachineRequest(api, method, std::move(request), Responder(target, 1));
  EXPECT_EQ(target->answers, 1);
  return target->response;
}

TEST(MachineRoutes, LeadToTheirMethods) {
  RecordingApi api;
  api.on_register = [](MachineRequest, Responder responder) { responder.Json("{}"); };
  api.on_map = [](MachineRequest, Responder responder) { responder.Empty(200); };
  EXPECT_EQ(Dispatch(api, "POST", "/machine/register").status, 200);
  EXPECT_EQ(Dispatch(api, "POST", "/machine/map").status, 200);
  EXPECT_EQ(Dispatch(api, "HEAD", "/machine/ping-response").status, 404);
  ASSERT_EQ(api.calls.size(), 3u);
  EXPECT_EQ(api.calls[0].method, "Register");
  EXPECT_EQ(api.calls[1].method, "Map");
  EXPECT_EQ(api.calls[2].method, "PingResponse");
}

TEST(MachineRoutes, AnswerWhatIsNotOffered) {
  RecordingApi api;
  EXPECT_EQ(Dispatch(api, "POST", "/machine/update-health").status, 204);
  const std::vector<std::pair<std::string, std::string>> optional{
      {"POST", "/machine/set-dns"},
      {"POST", "/machine/id-token"},
      {"POST", "/machine/feature/query"},
      {"PATCH", "/machine/set-device-attr"},
      {"POST", "/machine/audit-log"},
      {"GET", "/machine/whoami"},
      {"POST", "/machine/webclient/init/1/to/2"},
      {"GET", "/machine/tka/init/begin"},
      {"GET", "/machine/ssh/action/1/to/2"},
      {"POST", "/machine/ssh/notify"}};
  for (const auto& [method, path] : optional) {
    const auto response = Dispatch(api, method, path);
    EXPECT_EQ(response.status, 501) << path;
    EXPECT_FALSE(response.body.empty()) << path;
  }
  EXPECT_TRUE(api.calls.empty());
}

TEST(MachineRoutes, RefuseUnknownPathsAndMethods) {
  RecordingApi api;
  EXPECT_EQ(Dispatch(api, "POST", "/machine/nothing").status, 404);
  EXPECT_EQ(Dispatch(api, "POST", "/machine/register/").status, 404);
  EXPECT_EQ(Dispatch(api, "GET", "/").status, 404);
  EXPECT_EQ(Dispatch(api, "GET", "/machine/register").status, 405);
  EXPECT_EQ(Dispatch(api, "DELETE", "/machine/map").status, 405);
  EXPECT_EQ(Dispatch(api, "POST", "/machine/tka/sign").status, 405);
}

TEST(MachineRoutes, TellOldClientsWhatTheyNeed) {
  RecordingApi api;
  const auto registered = Dispatch(api, "POST", "/machine/register", 109);
  EXPECT_EQ(registered.status, 200);
  EXPECT_NE(registered.body.find("\"Error\":\""), std::string::npos);
  for (const char* part : {"109", "1.78", "113", "1.80"}) {
    EXPECT_NE(registered.body.find(part), std::string::npos) << part;
  }
  const auto map = Dispatch(api, "POST", "/machine/map", 112);
  EXPECT_EQ(map.status, 400);
  EXPECT_NE(map.body.find("112"), std::string::npos);
  EXPECT_TRUE(api.calls.empty());
  api.on_map = [](MachineRequest, Responder responder) { responder.Empty(200); };
  EXPECT_EQ(Dispatch(api, "POST", "/machine/map", 113).status, 200);
}

TEST(Responder, AnswersOnceAndNeverNothing) {
  const auto target = std::make_shared<Target>();
  {
    Responder responder(target, 1);
    EXPECT_FALSE(responder.gone());
    EXPECT_TRUE(responder.Text(404, "no"));
    EXPECT_FALSE(responder.Text(500, "twice"));
    EXPECT_TRUE(responder.gone());
  }
  EXPECT_EQ(target->answers, 1);
  EXPECT_EQ(target->response.body, "no\n");
  {
    Responder dropped(target, 3);
  }
  EXPECT_EQ(target->answers, 2);
  EXPECT_EQ(target->response.status, 500);
  {
    Responder first(target, 5);
    Responder second = std::move(first);
    EXPECT_TRUE(second.Empty(204));
  }
  EXPECT_EQ(target->answers, 3);
}

TEST(Responder, OutlivesItsConnection) {
  auto target = std::make_shared<Target>();
  Responder responder(target, 1);
  bool gone = false;
  responder.OnGone([&] { gone = true; });
  target->on_gone();
  EXPECT_TRUE(gone);
  target.reset();
  EXPECT_TRUE(responder.gone());
  EXPECT_FALSE(responder.Json("{}"));
  EXPECT_FALSE(responder.Stream(200, "", [](core::http::BodyWaker&) { return nullptr; }));
}

}  // namespace
}  // namespace ringscale::control
