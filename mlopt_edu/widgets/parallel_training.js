// The mathematics of ClusterPlanner: cost.py and cost_search.py of mlopt_edu.parallel.

const MODELS = {
  1.7: [24, 2304, 24], 7.5: [36, 4096, 32], 39: [48, 8192, 64],
  175: [96, 12288, 96], 530: [105, 20480, 128],
};
const SPLITS = {
  all: "tensor, pipeline and data", data: "data only",
  tensor: "tensor and data", pipeline: "pipeline and data",
};
const PER_HOST = 8;
const FLOPS = 165e12; // that a device reaches when it waits for nothing
const MEMORY = 80e9;
const INSIDE = { latency: 1e-5, bandwidth: 240e9 };
const BETWEEN_LATENCY = 1e-5;
const TOKENS = 2048; // of a sample
const VOCABULARY = 51200;

export function gpt([layers, hidden, heads]) {
  const matrices = layers * hidden ** 2;
  const others = 13 * layers * hidden + (VOCABULARY + TOKENS) * hidden;
  const attention = TOKENS / (6 * hidden);
  const logits = VOCABULARY / (12 * layers * hidden);
  const activation = TOKENS * hidden;
  return {
    parameters: 12 * matrices + others,
    layers,
    forward: 24 * TOKENS * matrices * (1 + attention + logits),
    boundary: 2 * activation,
    whole: 10 * activation,
    parted: activation * (24 + (5 * heads * TOKENS) / hidden),
  };
}

export function ringSeconds(bytes, ranks, { latency, bandwidth }) {
  return 2 * (ranks - 1) * (latency + bytes / ranks / bandwidth);
}

const linkOf = (reach, between) => (reach <= PER_HOST ? INSIDE : between);

// A step of a plan {data, tensor, pipeline, zero, micro, recompute}, as `step_cost`.
export function stepCost(model, between, plan, batch) {
  const { data: d, tensor: t, pipeline: p, zero, micro, recompute } = plan;
  const n = Math.floor(batch / (d * micro));
  const passes = recompute ? 4 : 3;
  const work = (passes * model.forward * micro) / (t * p * FLOPS);

  const boundary = model.boundary * micro;
  const reduces = (2 * (passes - 1) * model.layers) / p;
  const tensor = reduces * ringSeconds(boundary, t, linkOf(t, between));

  let handOver = 0;
  if (p > 1) {
    const link = linkOf(d * t * p, between);
    handOver = 2 * (link.latency + boundary / t / link.bandwidth);
  }
  const part = model.parameters / (t * p);
  const exchanges = [2, 2, n + 1, 3 * n][zero];
  const once = ringSeconds(part * 2, d, linkOf(t * d, between)) / 2;
  const data = exchanges * once;

  const held = [12, 2, 2]; // bytes a parameter: Adam's state, gradient, weight
  const state = part * held.reduce((sum, size, stage) => sum + (stage < zero ? size / d : size), 0);
  const layers = model.layers / p;
  const live = Math.min(n, p);
  const layer = model.whole + model.parted / t;
  const activations = micro *
    (recompute ? live * layers * model.boundary + layer : live * layers * layer);
  const cost = {
    compute: n * work, bubble: (p - 1) * (work + tensor + handOver),
    tensor: n * tensor, handOver: n * handOver, data, state, activations,
  };
  cost.seconds = cost.compute + cost.bubble + cost.tensor + cost.handOver + cost.data;
  cost.memory = state + activations;
  return cost;
}

const divisors = (n) => {
  const found = [];
  for (let k = 1; k <= n; k++) if (n % k === 0) found.push(k);
  return found;
};
const gcd = (a, b) => (b ? gcd(b, a % b) : a);

// The fastest split of every kind that fits the memory: {all, data, tensor, pipeline},
// each {plan, cost} or null. Plans are tried in the order of `best_plan`.
export function bestPlans(model, bandwidth, devices, batch) {
  const between = { latency: BETWEEN_LATENCY, bandwidth: bandwidth * 1e9 };
  const best = { all: null, data: null, tensor: null, pipeline: null };
  const offer = (kind, plan, cost) => {
    if (!best[kind] || cost.seconds < best[kind].cost.seconds) best[kind] = { plan, cost };
  };
  for (const tensor of divisors(gcd(devices, PER_HOST)))
    for (const pipeline of divisors(gcd(devices / tensor, model.layers))) {
      const data = devices / (tensor * pipeline);
      for (const micro of [1, 2, 4, 8]) {
        if (batch % (data * micro)) continue;
        for (let zero = 0; zero < 4; zero++)
          for (const recompute of [false, true]) {
            const plan = { data, tensor, pipeline, zero, micro, recompute };
            const cost = stepCost(model, between, plan, batch);
            if (cost.memory > MEMORY) continue;
            offer("all", plan, cost);
            if (pipeline === 1) offer("tensor", plan, cost);
            if (tensor === 1) offer("pipeline", plan, cost);
            if (tensor === 1 && pipeline === 1) offer("data", plan, cost);
          }
      }
    }
  return best;
}

// Replicas that a kind of split needs at least: each must have a sample.
export function leastReplicas(model, devices, kind) {
  const tensor = kind === "all" || kind === "tensor" ? gcd(devices, PER_HOST) : 1;
  const stages = kind === "all" || kind === "pipeline" ? gcd(devices / tensor, model.layers) : 1;
  return devices / (tensor * stages);
}

// Which share of what the devices can do goes into the model; computing a forward again
// does not count.
export function efficiency(model, devices, batch, cost) {
  return (3 * model.forward * batch) / (devices * FLOPS * cost.seconds);
}

export const planned = ({ model, bandwidth, devices, batch }) =>
  bestPlans(gpt(MODELS[model]), bandwidth, 2 ** devices, 2 ** batch);

const seconds = (value) => (value >= 0.9995 ? `${+value.toPrecision(3)} s` : `${+(1000 * value).toPrecision(3)} ms`);
const percent = (share) => `${share >= 0.0995 ? Math.round(100 * share) : +(100 * share).toPrecision(2)} %`;

export function describePlan(settings, best = planned(settings)) {
  const found = best[settings.split];
  const devices = 2 ** settings.devices;
  const batch = 2 ** settings.batch;
  const model = gpt(MODELS[settings.model]);
  if (!found) {
    const least = Object.keys(SPLITS).filter((kind) => best[kind]);
    return {
      kind: "diverges", verdict: "Nothing fits",
      text: `${count(devices, "device")}, ${SPLITS[settings.split]}: no split fits into ` +
        `${MEMORY / 1e9} GB a device and divides the batch of ${batch.toLocaleString("en")}. ` +
        (least.length ? `What fits: ${SPLITS[least[0]]}.` : "No other kind of split does either."),
    };
  }
  const { plan, cost } = found;
  const share = efficiency(model, devices, batch, cost);
  const parts = { bubble: cost.bubble, "tensor groups": cost.tensor, "hand-over": cost.handOver, gradients: cost.data };
  const worst = Object.keys(parts).reduce((a, b) => (parts[b] > parts[a] ? b : a));
  const lost = parts[worst] / cost.seconds;
  return {
    kind: share > 0.6 ? "converges" : "edge",
    verdict: share > 0.6 ? "Most of the time computes" : "Much time is lost",
    text: `Best: ${plan.data} replicas × ${plan.tensor} tensor × ${plan.pipeline} stages, ZeRO ${plan.zero}, ` +
      `micro-batches of ${plan.micro}${plan.recompute ? ", activations computed again" : ""}. ` +
      `A step takes ${seconds(cost.seconds)}; ${percent(share)} of the devices' FLOP/s go into the model. ` +
      (lost > 0.005 ? `Most is lost to: ${worst}, ${percent(lost)} of the time.` : "Hardly anything waits."),
  };
}
