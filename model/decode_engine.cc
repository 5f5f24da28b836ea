// One step, read Worker::Run first. Each method is one phase: threads take their share of its tasks, and a
// barrier follows. A block is eight phases:
//
//   Join        r += pending; x = norm(r)                          by row
//   Product     qkv = W x, h = A x                                 by tile of outputs, by row of A
//   Attend      q, k, v += b + B h; norms, rope, cache, attention      by (row, kv head)
//   Product     pending = W o, h = A o
//   Join        pending += b + B h, r += pending; x = norm(r)
//   Product     gate, up = W x, h = A x
//   Activate    gate, up += b + B h; f(gate) * up                      by block of 32, the thread's that made it
//   Product     pending = W a, h = A a
//
// Phases that make a product's input also quantise it, block by block. The rows of a request differ little
// and are quantised as differences to the heaviest of them, in a short phase after that row's own codes where
// another thread may have made these.
#include "model/decode_engine.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "model/decode_attention.h"
#include "model/decode_kernels.h"
#include "model/kv_cache.h"
#include "model/low_rank.h"
#include "model/spin_barrier.h"

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;

namespace {

// Neighbouring rows under one adapter.
struct AdapterRun {
  const LowRankAdapter* adapter;
  int64_t begin, end;
};

struct Range {
  int64_t begin, end;
};

// The codes of a slice of own row `row`. Differences wait until their references are there.
void QuantizeSlice(const float* x, int64_t begin, int64_t end, int64_t row, QuantizedRows& out) {
  if (out.is_own(row)) out.SetBlocks(row, begin / kActivationBlock, end / kActivationBlock, x);
}

// The row that each row is written as a difference to: the heaviest of its request, of equal ones the first.
std::vector<int64_t> ChooseReferences(std::span<const DecodeRow> rows, int64_t num_requests) {
  std::vector<int64_t> heaviest(static_cast<size_t>(num_requests), -1), references;
  for (size_t row = 0; row < rows.size(); ++row) {
    int64_t& best = heaviest[static_cast<size_t>(rows[row].request)];
    if (best < 0 || rows[row].weight > rows[static_cast<size_t>(best)].weight)
      best = static_cast<int64_t>(row);
  }
  for (const DecodeRow& row : rows) references.push_back(heaviest[static_cast<size_t>(row.request)]);
  return references;
}

}  // namespace

// Buffers of a step, kept between steps. f32, one line per row.
struct DecodeEngine::Workspace {
  Lines residual, normed, pending;  // [rows, dim]
  Lines qkv;                        // [rows, (heads + 2 kv_heads) * head_dim]
  Lines attended;                   // [rows, heads * head_dim]
  Lines gate_up, act;               // [rows, 2 ffn], [rows, ffn]
  Lines low_rank;                   // [rows, slots * rank]: A x of the product at hand
  Lines mixed;                      // [requests, dim]
  Lines row_logits;                 // [rows, vocab], with a soft-cap only
  QuantizedRows x, o, a, m;         // normed, attended, act, mixed
  int64_t low_rank_width = 0, num_requests = 0;
  std::span<const DecodeRow> rows;
  std::vector<AdapterRun> runs;
  std::vector<torch::Tensor> rope;  // by layer
  SpinBarrier barrier;
  float* logits = nullptr;
};

// One thread's view of a step. T: dtype of caches and adapters.
template <typename T>
class DecodeEngine::Worker {
 public:
  Worker(const DecodeEngine& engine, int thread, int num_threads)
      : decoder_(engine.decoder_),
        packed_(engine.packed_),
        config_(engine.decoder_.config()),
        space_(*engine.space_),
        thread_(thread),
        num_threads_(num_threads) {}

  void Run() {
    Embed();
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      const LayerWeights& w = decoder_.weights().layers[layer];
      const PackedLayer& p = packed_.layers[layer];
      if (layer > 0) JoinDown(layer - 1);
      NormRows(w.attn_norm);
      Product(layer, LinearGroup::kQkv, p.qkv, space_.x, space_.normed, space_.qkv);
      Attend(layer);
      Product(layer, LinearGroup::kO, p.o, space_.o, space_.attended, space_.pending);
      Join(layer, LinearGroup::kO, w.attn_post_norm);
      NormRows(w.ffn_norm);
      Product(layer, LinearGroup::kGateUp, p.gate_up, space_.x, space_.normed, space_.gate_up);
      ActivateBlocks(layer);
      Product(layer, LinearGroup::kDown, p.down, space_.a, space_.act, space_.pending);
    }
    JoinDown(config_.layers - 1);
    NormRows(decoder_.weights().final_norm);
    if (config_.final_logit_softcap > 0) {
      CappedLogits();
    } else {
      MixedLogits();
    }
  }

 private:
  Range Mine(int64_t total) const {
    return {total * thread_ / num_threads_, total * (thread_ + 1) / num_threads_};
  }
  void Meet() { space_.barrier.Wait(num_threads_); }
  // After own rows were quantised: the others, as differences of x [rows, in].
  void MeetQuantized(Lines& x, QuantizedRows& out) {
    Meet();
    if (!out.has_differences()) return;
    const int64_t blocks = out.num_blocks();
    const Range mine = Mine(num_rows() * blocks);
    for (int64_t at = mine.begin; at < mine.end;) {
      const int64_t row = at / blocks, begin = at % blocks, end = std::min(blocks, begin + mine.end - at);
      QuantizeDifference(x, row, begin, end, out);
      at += end - begin;
    }
    Meet();
  }
  static void QuantizeDifference(Lines& x, int64_t row, int64_t begin, int64_t end, QuantizedRows& out) {
    const int64_t in = out.num_blocks() * kActivationBlock;
    if (!out.is_own(row)) out.SetDifferences(row, begin, end, Row(x, row, in), Row(x, out.reference(row), in));
  }
  int64_t num_rows() const { return static_cast<int64_t>(space_.rows.size()); }
  static float* Row(Lines& lines, int64_t row, int64_t width) { return lines.data() + row * LineStride(width); }

  // residual [rows, dim] from the vocabulary's rows: the packed ones where they are the embedding too.
  void Embed() {
    const Range mine = Mine(num_rows());
    for (int64_t row = mine.begin; row < mine.end; ++row) {
      const int64_t token = space_.rows[row].token;
      float* r = Row(space_.residual, row, config_.dim);
      if (config_.tied_embeddings) {
        packed_.head.parts[0].ReadRow(token, r);
      } else {
        const T* stored = decoder_.weights().embedding.template data_ptr<T>() + token * config_.dim;
        for (int64_t i = 0; i < config_.dim; ++i) r[i] = static_cast<float>(stored[i]);
      }
      if (config_.embedding_scale == 1) continue;
      for (int64_t i = 0; i < config_.dim; ++i) r[i] *= static_cast<float>(config_.embedding_scale);
    }
  }

  void JoinDown(int64_t layer) {
    Join(layer, LinearGroup::kDown, decoder_.weights().layers[layer].ffn_post_norm);
  }

  // residual += post_norm(pending + b + B h). The rows are this thread's in NormRows too: no barrier between.
  void Join(int64_t layer, LinearGroup group, const torch::Tensor& post_norm) {
    const Range mine = Mine(num_rows());
    FinishProduct(layer, group, mine, space_.pending, config_.dim, {0, config_.dim});
    for (int64_t row = mine.begin; row < mine.end; ++row) {
      float *r = Row(space_.residual, row, config_.dim), *y = Row(space_.pending, row, config_.dim);
      if (post_norm.defined()) Norm(y, post_norm, config_.norm_eps, y);
      for (int64_t i = 0; i < config_.dim; i += kLanes) Store(r + i, Load(r + i) + Load(y + i));
    }
  }

  void NormRows(const torch::Tensor& weight) {
    const Range mine = Mine(num_rows());
    for (int64_t row = mine.begin; row < mine.end; ++row) {
      float* x = Row(space_.normed, row, config_.dim);
      Norm(Row(space_.residual, row, config_.dim), weight, config_.norm_eps, x);
      QuantizeSlice(x, 0, config_.dim, row, space_.x);
    }
    MeetQuantized(space_.normed, space_.x);
  }

  // Tiles of outputs that this thread computes: of gate and up those that it activates.
  std::array<Range, 2> Tiles(LinearGroup group, const PackedLinear& linear) const {
    const int64_t tiles = linear.num_tiles();
    if (group != LinearGroup::kGateUp) return {Mine(tiles), Range{0, 0}};
    constexpr int64_t kPerBlock = kActivationBlock / PackedMatrix::kTile;
    const Range mine = Mine(tiles / 2 / kPerBlock);
    const int64_t begin = mine.begin * kPerBlock, end = mine.end * kPerBlock;
    return {Range{begin, end}, Range{tiles / 2 + begin, tiles / 2 + end}};
  }

  // y [rows, out] = x W^T, low_rank [rows, slots * rank] = x A^T. `quantized` is x [rows, in].
  void Product(int64_t layer, LinearGroup group, const PackedLinear& linear, const QuantizedRows& quantized, Lines& x,
               Lines& y) {
    const int64_t out = linear.num_tiles() * PackedMatrix::kTile,
                  in = quantized.num_blocks() * kActivationBlock;
    // A product of several rows leaves the memory idle: adapters and caches come near meanwhile, a run's per
    // slice.
    const auto slices = static_cast<int64_t>(space_.runs.size());
    for (int64_t s = 0; s < slices; ++s) {
      PrefetchAdapter(space_.runs[s], layer, group, in);
      if (group == LinearGroup::kQkv) PrefetchCaches(space_.runs[s], layer);
      for (const Range& tiles : Tiles(group, linear)) {
        const int64_t count = tiles.end - tiles.begin;
        linear.Multiply(quantized, tiles.begin + count * s / slices, tiles.begin + count * (s + 1) / slices, y.data(),
                        LineStride(out));
      }
    }
    for (const AdapterRun& run : space_.runs) {
      if (run.adapter == nullptr) continue;
      const LowRankGroup& g = run.adapter->group(layer, group);
      const Range mine = Mine(static_cast<int64_t>(g.slots.size()) * run.adapter->rank);
      float* h = Row(space_.low_rank, run.begin, space_.low_rank_width) + mine.begin;
      RowDots<float>({Row(x, run.begin, in), LineStride(in)}, run.end - run.begin,
                     static_cast<const T*>(g.a) + mine.begin * in, mine.end - mine.begin, in,
                     {h, LineStride(space_.low_rank_width)});
    }
    Meet();
  }

  // What this thread reads of A at the end of the phase, and its share of B, which the next phase reads.
  void PrefetchAdapter(const AdapterRun& run, int64_t layer, LinearGroup group, int64_t in) const {
    if (run.adapter == nullptr) return;
    const LowRankGroup& g = run.adapter->group(layer, group);
    const Range mine = Mine(static_cast<int64_t>(g.slots.size()) * run.adapter->rank);
    Prefetch(static_cast<const T*>(g.a), mine.begin * in, mine.end * in);
    for (const LowRankGroup::Slot& slot : g.slots) {
      const Range share = Mine(slot.out * run.adapter->rank);
      Prefetch(static_cast<const T*>(slot.b_t), share.begin, share.end);
    }
  }

  // Keys and values that Attend reads in the next phase, of this thread's rows; long ones only up to their
  // share.
  void PrefetchCaches(const AdapterRun& run, int64_t layer) const {
    constexpr int64_t kShareBytes = 1 << 19;  // of the cache that this core has for itself
    const Range tasks = Mine(num_rows() * config_.kv_heads);
    const int64_t begin = std::max(run.begin, tasks.begin / config_.kv_heads);
    const int64_t end = std::min(run.end, (tasks.end + config_.kv_heads - 1) / config_.kv_heads);
    const int64_t width = config_.kv_heads * config_.head_dim;
    const int64_t most = kShareBytes / num_rows() / static_cast<int64_t>(sizeof(T));
    for (int64_t row = begin; row < end; ++row) {
      const KvCache& cache = *space_.rows[row].cache;
      const int64_t size = std::min(most, cache.length() * width);
      Prefetch(cache.key_data<T>(layer), 0, size);
      Prefetch(cache.value_data<T>(layer), 0, size);
    }
  }

  // y[row][begin, end) += bias + scale B h of the row's adapter, for rows of y [rows, width], the outputs of the whole group.
  void FinishProduct(int64_t layer, LinearGroup group, Range rows, Lines& y, int64_t width, Range columns) const {
    if (const torch::Tensor& bias = decoder_.Bias(layer, group); bias.defined()) {
      const float* b = bias.data_ptr<float>();
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        float* out = Row(y, row, width);
        for (int64_t i = columns.begin; i < columns.end; i += kLanes) Store(out + i, Load(out + i) + Load(b + i));
      }
    }
    for (const AdapterRun& run : space_.runs) {
      const int64_t begin = std::max(rows.begin, run.begin), end = std::min(rows.end, run.end);
      if (begin < end && run.adapter != nullptr) AddLowRank(layer, group, *run.adapter, {begin, end}, y, width, columns);
    }
  }

  // scale B h of rows under one adapter.
  void AddLowRank(int64_t layer, LinearGroup group, const LowRankAdapter& adapter, Range rows, Lines& y, int64_t width,
                  Range columns) const {
    const float* h = Row(space_.low_rank, rows.begin, space_.low_rank_width);
    float* out = Row(y, rows.begin, width);
    for (const LowRankGroup::Slot& slot : adapter.group(layer, group).slots) {
      const int64_t first = std::max(columns.begin, slot.out_first), last = std::min(columns.end, slot.out_first + slot.out);
      if (first < last) {
        AddOuter<T, float>({h, LineStride(space_.low_rank_width)}, rows.end - rows.begin,
                           static_cast<const T*>(slot.b_t) + (first - slot.out_first), slot.out, adapter.rank, last - first,
                           adapter.scale, {out + first, LineStride(width)});
      }
      h += adapter.rank;
    }
  }

  // Query heads [first, first + count) of the fused row, or key heads behind them: norm, rope.
  void FinishHeads(int64_t layer, int64_t row, int64_t first, int64_t count, const torch::Tensor& norm,
                   float* qkv) {
    const int64_t head_dim = config_.head_dim;
    const torch::Tensor& rope = space_.rope[layer];
    const float* cos =
        rope.defined() ? rope.data_ptr<float>() + space_.rows[row].cache->length() * head_dim : nullptr;
    for (int64_t head = first; head < first + count; ++head) {
      float* values = qkv + head * head_dim;
      if (norm.defined()) Norm(values, norm, config_.norm_eps, values);
      if (cos != nullptr) Rotate(values, head_dim, cos);
    }
  }

  // Queries, keys and values of the tasks (row, kv head), row by row. A head's rows follow each other.
  void FinishQkv(int64_t layer, Range tasks) const {
    const int64_t heads = config_.heads, kv_heads = config_.kv_heads, head_dim = config_.head_dim;
    const int64_t width = (heads + 2 * kv_heads) * head_dim, q_width = heads / kv_heads * head_dim;
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      const auto first_row = [&](int64_t task) { return (task + kv_heads - 1 - kv_head) / kv_heads; };
      const Range rows = {first_row(tasks.begin), first_row(tasks.end)};
      const int64_t q = kv_head * q_width, k = (heads + kv_head) * head_dim, v = k + kv_heads * head_dim;
      for (const Range& columns : {Range{q, q + q_width}, Range{k, k + head_dim}, Range{v, v + head_dim}})
        FinishProduct(layer, LinearGroup::kQkv, rows, space_.qkv, width, columns);
    }
  }

  void Attend(int64_t layer) {
    const LayerWeights& w = decoder_.weights().layers[layer];
    const AttentionShape shape = LayerAttention(config_, layer);
    const int64_t heads = config_.heads, kv_heads = config_.kv_heads, head_dim = config_.head_dim;
    const int64_t group = heads / kv_heads;
    const Range mine = Mine(num_rows() * kv_heads);
    FinishQkv(layer, mine);
    for (int64_t task = mine.begin; task < mine.end; ++task) {
      const int64_t row = task / kv_heads, kv_head = task % kv_heads;
      const int64_t v = (heads + kv_heads + kv_head) * head_dim, q = kv_head * group * head_dim;
      float* qkv = Row(space_.qkv, row, (heads + 2 * kv_heads) * head_dim);
      float* out = Row(space_.attended, row, heads * head_dim);
      FinishHeads(layer, row, kv_head * group, group, w.q_norm, qkv);
      FinishHeads(layer, row, heads + kv_head, 1, w.k_norm, qkv);
      const KvCache& cache = *space_.rows[row].cache;
      const int64_t place = cache.length() * kv_heads * head_dim + kv_head * head_dim;
      T *key = cache.key_data<T>(layer) + place, *value = cache.value_data<T>(layer) + place;
      for (int64_t i = 0; i < head_dim; i += kLanes) {
        Store(key + i, Load(qkv + (heads + kv_head) * head_dim + i));
        Store(value + i, Load(qkv + v + i));
      }
      AttendToCache<T, float>(shape, cache, layer, kv_head, qkv + q, out + q, scores_);
      QuantizeSlice(out, q, q + group * head_dim, row, space_.o);
    }
    MeetQuantized(space_.attended, space_.o);
  }

  void ActivateBlocks(int64_t layer) {
    const int64_t ffn = config_.ffn;
    const Range blocks = Mine(ffn / kActivationBlock);
    const int64_t begin = blocks.begin * kActivationBlock, end = blocks.end * kActivationBlock;
    for (const Range& columns : {Range{begin, end}, Range{ffn + begin, ffn + end}})
      FinishProduct(layer, LinearGroup::kGateUp, {0, num_rows()}, space_.gate_up, 2 * ffn, columns);
    for (int64_t row = 0; row < num_rows(); ++row) {
      float *gate = Row(space_.gate_up, row, 2 * ffn), *up = gate + ffn, *act = Row(space_.act, row, ffn);
      for (int64_t i = begin; i < end; i += kLanes) {
        Store(act + i, Activate(config_.activation, Load(gate + i)) * Load(up + i));
      }
      QuantizeSlice(act, begin, end, row, space_.a);
    }
    for (int64_t row = 0; row < num_rows(); ++row) QuantizeDifference(space_.act, row, blocks.begin, blocks.end, space_.a);
    Meet();
  }

  static float WeightIn(int64_t request, const DecodeRow& row) {
    if (row.request == request) return row.weight;
    return row.own_request == request ? 1.0f : 0.0f;
  }

  // The product is linear: hidden states are mixed before it, one vocabulary row per request.
  void MixedLogits() {
    const Range mine = Mine(space_.num_requests);
    for (int64_t request = mine.begin; request < mine.end; ++request) {
      float* mixed = Row(space_.mixed, request, config_.dim);
      std::fill(mixed, mixed + config_.dim, 0.0f);
      for (int64_t row = 0; row < num_rows(); ++row) {
        const float weight = WeightIn(request, space_.rows[row]);
        if (weight == 0) continue;
        const float* x = Row(space_.normed, row, config_.dim);
        for (int64_t i = 0; i < config_.dim; i += kLanes)
          Store(mixed + i, Load(mixed + i) + Load(x + i) * weight);
      }
      QuantizeSlice(mixed, 0, config_.dim, request, space_.m);
    }
    Meet();
    const Range tiles = Mine(packed_.head.num_tiles());
    packed_.head.Multiply(space_.m, tiles.begin, tiles.end, space_.logits, config_.vocab);
  }

  // With a soft-cap each row needs its own logits: sum of weight * cap tanh(logit / cap).
  void CappedLogits() {
    const Range tiles = Mine(packed_.head.num_tiles());
    packed_.head.Multiply(space_.x, tiles.begin, tiles.end, space_.row_logits.data(), LineStride(config_.vocab));
    const auto cap = static_cast<float>(config_.final_logit_softcap);
    for (int64_t v = tiles.begin * PackedMatrix::kTile; v < tiles.end * PackedMatrix::kTile; v += kLanes) {
      for (int64_t request = 0; request < space_.num_requests; ++request) {
        Store(space_.logits + request * config_.vocab + v, Splat(0));
      }
      for (int64_t row = 0; row < num_rows(); ++row) {
        float* sum = space_.logits + space_.rows[row].request * config_.vocab + v;
        const Vec scaled = Load(Row(space_.row_logits, row, config_.vocab) + v) * (2 / cap);
        const Vec tanh = 2.0f * simd::Sigmoid(scaled) - 1.0f;
        Store(sum, Load(sum) + tanh * (cap * space_.rows[row].weight));
        if (space_.rows[row].own_request >= 0) {
          Store(space_.logits + space_.rows[row].own_request * config_.vocab + v, tanh * cap);
        }
      }
    }
  }

  const Decoder& decoder_;
  const PackedWeights& packed_;
  const ModelConfig& config_;
  Workspace& space_;
  const int thread_, num_threads_;
  std::vector<float> scores_;
};

bool DecodeEngine::Serves(const Decoder& decoder) {
  const ModelConfig& c = decoder.config();
  return decoder.device().is_cpu() && c.head_dim % kActivationBlock == 0 && c.ffn % kActivationBlock == 0;
}

DecodeEngine::DecodeEngine(const Decoder& decoder, const PackedWeights& packed)
    : decoder_(decoder), packed_(packed), space_(std::make_unique<Workspace>()) {}

DecodeEngine::~DecodeEngine() = default;

void DecodeEngine::Prepare(std::span<const DecodeRow> rows, int64_t num_requests) {
  const ModelConfig& c = decoder_.config();
  Workspace& s = *space_;
  const auto n = static_cast<int64_t>(rows.size());
  int64_t longest = 0;
  s.rows = rows;
  s.num_requests = num_requests;
  s.runs.clear();
  s.low_rank_width = 0;
  for (int64_t row = 0; row < n; ++row) {
    KvCache& cache = *rows[row].cache;
    if (cache.length() >= c.context_length) {
      throw Error(
          ErrorKind::kInvalidInput,
          fmt::format(
              "a sequence of {} tokens is longer than the model's context of {}; shorten the prompt or "
              "lower the number of new tokens",
              cache.length() + 1, c.context_length));
    }
    cache.Reserve(cache.length() + 1);
    longest = std::max(longest, cache.length() + 1);
    const LowRankAdapter* adapter = rows[row].adapter;
    if (row > 0 && adapter == rows[row - 1].adapter) {
      s.runs.back().end = row + 1;
    } else {
      s.runs.push_back({adapter, row, row + 1});
    }
    if (adapter != nullptr) s.low_rank_width = std::max(s.low_rank_width, 3 * adapter->rank);
  }
  s.rope.clear();
  for (int64_t layer = 0; layer < c.layers; ++layer) s.rope.push_back(decoder_.RopeFor(layer, longest));
  const auto sized = [&](Lines& lines, int64_t count, int64_t width) {
    lines.resize(static_cast<size_t>(count * LineStride(width)));
  };
  const int64_t q_width = c.heads * c.head_dim;
  for (auto* lines : {&s.residual, &s.normed, &s.pending}) sized(*lines, n, c.dim);
  sized(s.qkv, n, q_width + 2 * c.kv_heads * c.head_dim);
  sized(s.attended, n, q_width);
  sized(s.gate_up, n, 2 * c.ffn);
  sized(s.act, n, c.ffn);
  sized(s.low_rank, n, s.low_rank_width);
  sized(s.mixed, num_requests, c.dim);
  if (c.final_logit_softcap > 0) sized(s.row_logits, n, c.vocab);
  const std::vector<int64_t> references = ChooseReferences(rows, num_requests);
  s.x.Resize(c.dim, references);
  s.o.Resize(q_width, references);
  s.a.Resize(c.ffn, references);
  s.m.Resize(c.dim, num_requests);
}

void DecodeEngine::Step(std::span<const DecodeRow> rows, int64_t num_requests, float* logits) {
  Prepare(rows, num_requests);
  space_->logits = logits;
  const bool in_f32 = decoder_.dtype() == torch::kFloat;
#pragma omp parallel num_threads(at::get_num_threads())
  {
    const int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
    if (in_f32) {
      Worker<float>(*this, thread, num_threads).Run();
    } else {
      Worker<c10::BFloat16>(*this, thread, num_threads).Run();
    }
  }
  for (const DecodeRow& row : rows) row.cache->Advance(1);
}

}  // namespace elrea
