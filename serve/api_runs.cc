// The routes beside OpenAI's: embeddings as routing features, the page, and the runs that are served.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "serve/api.h"
#include "serve/api_document.h"
#include "serve/feature_reply.h"
#include "serve/json_fields.h"
#include "serve/web_files.h"

namespace elrea {
namespace {

std::string ContentType(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  return "text/plain; charset=utf-8";
}

Json RunSummary(const ServedRun& run) {
  return {{"name", run.name},
          {"directory", run.directory},
          {"experts", run.ensemble->bank().num_experts()},
          {"context_length", run.ensemble->decoder().config().context_length},
          {"loaded", run.created_s}};
}

bool IsRunName(const std::string& name) {
  return !name.empty() && name.size() <= 100 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

void Server::Api::Embeddings(const ExchangePtr& exchange) {
  const EmbeddingCall call = ParseEmbeddingCall(ParseBody(exchange->request.body), kCallLimits);
  const ModelChoice model = runs_.Resolve(call.model);
  if (model.target.kind != Target::Kind::kEnsemble) {
    throw ApiError(400, "embeddings are the features that an ensemble routes by: give a run's name as the model",
                   "model");
  }
  const auto dim = static_cast<int64_t>(model.run->ensemble->clustering().dim);
  if (call.dimensions && *call.dimensions > dim) {
    throw ApiError(400, fmt::format("dimensions must be at most {}, the length of the run's features", dim),
                   "dimensions");
  }
  const auto reply =
      std::make_shared<FeatureReply>(exchange->reply, call, model.id, exchange->headers,
                                     [this, exchange](int status, int64_t tokens) { Log(*exchange, status, tokens); });
  std::vector<JobPtr> jobs;
  for (const TextOrTokens& input : call.inputs) {
    std::vector<int32_t> tokens;
    if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
      CheckTokens(*ids, model, "input");
      tokens = *ids;
    } else {  // as a user's message, so that it compares with the rows of the run
      tokens = model.run->chat->EncodePrompt({{"user", std::get<std::string>(input)}});
    }
    CheckLength(tokens.size(), model, "input");
    if (tokens.size() < 2) throw ApiError(400, "an input of one token has no gradient; write more", "input");
    JobPtr job = MakeJob({}, model, std::move(tokens));
    job->feature_only = true;
    job->listener = reply->NextListener(static_cast<int64_t>(job->request.prompt.size()));
    jobs.push_back(std::move(job));
  }
  SubmitJobs(exchange, jobs);
}

void Server::Api::Page(const ExchangePtr& exchange) {
  const std::string name = exchange->request.path == "/" ? "index.html" : exchange->request.path.substr(1);
  for (const WebFile& file : WebFiles()) {
    if (file.name != name) continue;
    exchange->headers.emplace_back("Content-Security-Policy",
                                   "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
                                   "frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    exchange->headers.emplace_back("X-Content-Type-Options", "nosniff");
    exchange->headers.emplace_back("Cache-Control", "no-cache");
    return Answer(exchange, 200, ContentType(name), std::string(file.bytes));
  }
  throw ApiError(404, "there is no such file", "", "unknown_url");
}

void Server::Api::Document(const ExchangePtr& exchange) { AnswerJson(exchange, ApiDocument(runs_.All())); }

void Server::Api::ListRuns(const ExchangePtr& exchange) {
  Json list = Json::array();
  for (const auto& run : runs_.All()) list.push_back(RunSummary(*run));
  AnswerJson(exchange, {{"runs", list}});
}

std::shared_ptr<const ServedRun> Server::Api::NamedRun(const ExchangePtr& exchange) const {
  const std::string& path = exchange->request.path;
  auto run = runs_.Find(path.substr(path.rfind('/') + 1));
  if (run == nullptr) throw ApiError(404, "there is no such run; GET /elrea/runs lists them", "", "run_not_found");
  return run;
}

void Server::Api::ShowRun(const ExchangePtr& exchange) {
  const auto run = NamedRun(exchange);
  Json json = RunSummary(*run);
  json["clusters"] = run->clusters;
  json["report"] = run->report.empty() ? Json() : Json(run->report);
  AnswerJson(exchange, json);
}

void Server::Api::CheckMayManage() const {
  if (options_.manage_runs) return;
  throw ApiError(403, "this server does not let clients change its runs; start it with --set serve.manage_runs=true", "",
                 "not_allowed");
}

void Server::Api::AddRun(const ExchangePtr& exchange) {
  CheckMayManage();
  const Json body = ParseBody(exchange->request.body);
  JsonFields fields(body);
  const auto directory = fields.String("directory"), name = fields.String("name");
  fields.RefuseOthers();
  if (!directory || directory->empty()) fields.Fail("directory", "the folder of a run");
  if (!name || !IsRunName(*name)) fields.Fail("name", "a name of letters, digits, '-', '_' and '.'");
  if (runs_.Find(*name)) throw ApiError(409, "a run of this name is served already; reload or remove it", "name", "exists");
  LoadRun(exchange, *directory, *name);
}

void Server::Api::ReloadRun(const ExchangePtr& exchange) {
  CheckMayManage();
  const auto run = NamedRun(exchange);
  LoadRun(exchange, run->directory, run->name);
}

void Server::Api::RemoveRun(const ExchangePtr& exchange) {
  CheckMayManage();
  const auto run = NamedRun(exchange);
  runs_.Remove(run->name);
  scheduler_.Wake();
  AnswerJson(exchange, {{"name", run->name}, {"removed", true}});
}

// In a thread of its own: others are answered meanwhile, by the old run where there is one.
void Server::Api::LoadRun(const ExchangePtr& exchange, const std::string& directory, const std::string& name) {
  if (loading_.exchange(true)) throw ApiError(409, "another run is being loaded; try again later", "", "busy", 5);
  const auto load = [this, exchange, directory, name]() -> std::function<void()> {  // returns what answers
    try {
      auto run = loader_function_(directory, name);
      runs_.Put(run);
      scheduler_.Wake();
      return [this, exchange, run] { AnswerJson(exchange, RunSummary(*run)); };
    } catch (const Error& error) {
      const ApiError answer(error.kind() == ErrorKind::kNotFound ? 404 : 400, error.what(), "directory");
      return [this, exchange, answer] { AnswerError(exchange, answer); };
    } catch (const std::exception& error) {
      LogLine(LogLevel::kError, "serve", error.what());
      return [this, exchange] { AnswerError(exchange, ApiError(500, "the run could not be loaded; the server's log says why")); };
    }
  };
  loader_ = std::jthread([this, load] {
    const std::function<void()> answer = load();
    loading_ = false;  // first: who has the answer may ask for the next run
    answer();
  });
}

}  // namespace elrea
