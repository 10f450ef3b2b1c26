//! Tests only: evaluates every way of every class of a saturated layer on random tensors over several ranks, and
//! compares with the layer evaluated whole. This checks rules, guards, layouts and partitions together.

mod dense;
mod joint;
mod positions;
mod routed;
mod wrong;

use crate::saturate::{Choices, Way, WayAction, saturate};
use dense::Dense;
use sailplan_ir::{
    Constant, Dim, Extents, Graph, Layout, Node, Op, Pairs, Partition, PositionShare, Role, Scores, TensorId,
};
use std::ops::Range;

/// Positions already in the caches.
const START: usize = 2;

/// A step of so many tokens, fewer than ranks or no multiple of them.
fn extents(tokens: u64) -> Extents {
    Extents { tokens, context: START as u64 + tokens, outputs: 1 }
}

/// A family: one tensor per rank.
type Family = Vec<Dense>;

/// Evaluates one operator on local tensors. `first` is where a slice of the vocabulary starts, or how many query heads of the
/// first KV head come before the first.
fn evaluate(op: Op, inputs: &[&Dense], first: usize) -> Dense {
    let x = inputs[0];
    match op {
        Op::Embed => Dense::build(&[x.axes[0], inputs[1].columns()], |t, d| {
            let row = (x.data[t] as usize).checked_sub(first).filter(|&row| row < inputs[1].rows());
            row.map_or(0.0, |row| inputs[1].at(row, d))
        }),
        Op::RmsNorm { epsilon } => {
            let n = x.columns();
            let mean = |t: usize| (0..n).map(|d| x.at(t, d).powi(2)).sum::<f64>() / n as f64;
            Dense::build(&x.axes, |t, d| x.at(t, d) / (mean(t) + f64::from(epsilon.0)).sqrt() * inputs[1].data[d])
        }
        Op::HeadNorm { head_dim, epsilon } => {
            let n = head_dim as usize;
            let head = |t: usize, c: usize| (c / n * n..c / n * n + n).map(move |i| x.at(t, i));
            let mean = |t: usize, c: usize| head(t, c).map(|value| value * value).sum::<f64>() / n as f64;
            Dense::build(&x.axes, |t, c| {
                x.at(t, c) / (mean(t, c) + f64::from(epsilon.0)).sqrt() * inputs[1].data[c % n]
            })
        }
        Op::Linear => product(x, inputs[1]),
        Op::Bias => Dense::build(&x.axes, |t, n| x.at(t, n) + inputs[1].data[n]),
        Op::Rope { head_dim, rotary_dim, base, pairs } => Dense::build(&x.axes, |t, c| {
            let (h, r) = (head_dim as usize, rotary_dim as usize);
            let within = c % h;
            if within >= r {
                return x.at(t, c);
            }
            let (pair, second, apart) = match pairs {
                Pairs::Adjacent => (within / 2, within % 2 == 1, 1),
                Pairs::Halves => (within % (r / 2), within >= r / 2, r / 2),
            };
            let angle = (START + t) as f64 * f64::from(base.0).powf(-2.0 * pair as f64 / r as f64);
            if second {
                x.at(t, c - apart) * angle.sin() + x.at(t, c) * angle.cos()
            } else {
                x.at(t, c) * angle.cos() - x.at(t, c + apart) * angle.sin()
            }
        }),
        Op::KvAppend { .. } => Dense::build(&x.axes, |s, c| {
            if s >= START && s < START + inputs[1].axes[0] { inputs[1].at(s - START, c) } else { x.at(s, c) }
        }),
        Op::Attention { heads, kv_heads, head_dim, scores } => {
            attention(inputs, ((heads / kv_heads) as usize, first), head_dim as usize, scores)
        }
        Op::LinearSwiGlu => product(x, inputs[1]).map2(&product(x, inputs[2]), swiglu),
        Op::LinearGeGlu => product(x, inputs[1]).map2(&product(x, inputs[2]), geglu),
        Op::SwiGlu => x.map2(inputs[1], swiglu),
        Op::GeGlu => x.map2(inputs[1], geglu),
        Op::Scale { factor } => Dense::build(&x.axes, |t, d| x.at(t, d) * f64::from(factor.0)),
        Op::SoftCap { cap } => Dense::build(&x.axes, |t, n| capped(x.at(t, n), cap)),
        Op::Route { used, renormalise } => route(x, used as usize, renormalise),
        Op::Experts { .. } => experts(inputs),
        Op::Add => x.map2(inputs[1], |a, b| a + b),
        Op::LastToken => x.slice(0, x.axes[0] - 1..x.axes[0]),
    }
}

fn attention(inputs: &[&Dense], (share, skip): (usize, usize), head_dim: usize, scores: Scores) -> Dense {
    let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
    Dense::build(&q.axes, |t, c| {
        let (head, kv) = (c / head_dim, (skip + c / head_dim) / share);
        let score = |s: usize| -> f64 {
            let dot: f64 = (0..head_dim).map(|i| q.at(t, head * head_dim + i) * k.at(s, kv * head_dim + i)).sum();
            let scaled = dot * scores.scale.map_or(1.0 / (head_dim as f64).sqrt(), |scale| f64::from(scale.0));
            scores.softcap.map_or(scaled, |cap| capped(scaled, cap)).exp()
        };
        let first = scores.window.map_or(0, |window| (START + t + 1).saturating_sub(window as usize));
        let weights: Vec<f64> = (first..=START + t).map(score).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().zip(first..).map(|(w, s)| w / total * v.at(s, kv * head_dim + c % head_dim)).sum()
    })
}

fn product(x: &Dense, weight: &Dense) -> Dense {
    Dense::build(&[x.axes[0], weight.rows()], |t, n| (0..x.columns()).map(|k| x.at(t, k) * weight.at(n, k)).sum())
}

fn capped(value: f64, cap: Constant) -> f64 {
    f64::from(cap.0) * (value / f64::from(cap.0)).tanh()
}

fn geglu(gate: f64, up: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
    gate / 2.0 * (1.0 + inner.tanh()) * up
}

fn swiglu(gate: f64, up: f64) -> f64 {
    gate / (1.0 + (-gate).exp()) * up
}

fn route(logits: &Dense, used: usize, renormalise: bool) -> Dense {
    Dense::build(&logits.axes, |t, e| {
        let row = |other: usize| logits.at(t, other);
        let before = (0..logits.columns()).filter(|&other| row(other) > row(e) || (row(other) == row(e) && other < e));
        if before.count() >= used {
            return 0.0;
        }
        let mut parts: Vec<f64> = (0..logits.columns()).map(|other| row(other).exp()).collect();
        parts.sort_by(|a, b| b.total_cmp(a));
        row(e).exp() / parts.iter().take(if renormalise { used } else { parts.len() }).sum::<f64>()
    })
}

fn experts(inputs: &[&Dense]) -> Dense {
    let [x, gates, gate, up, down] = inputs else { panic!("five operands") };
    let (width, rows) = (gate.axes[1], down.axes[1]);
    let into =
        |stack: &Dense, t: usize, row: usize| -> f64 { (0..x.columns()).map(|k| x.at(t, k) * stack.at(row, k)).sum() };
    let one = |t: usize, e: usize, d: usize| -> f64 {
        let inner = |f: usize| swiglu(into(gate, t, e * width + f), into(up, t, e * width + f));
        (0..width).map(|f| down.at(e * rows + d, f) * inner(f)).sum()
    };
    // A row that an expert does not get may be no numbers there.
    let taken = |t: usize| (0..gates.columns()).filter(move |&e| gates.at(t, e) != 0.0);
    Dense::build(&[x.axes[0], rows], |t, d| taken(t).map(|e| gates.at(t, e) * one(t, e, d)).sum())
}

/// A small generator of numbers in −1..1 (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// Every tensor of the template, evaluated whole.
fn whole(graph: &Graph, seed: u64, tokens: u64) -> Vec<Dense> {
    let mut random = Random(seed);
    let mut values: Vec<Dense> = graph
        .tensors
        .iter()
        .map(|tensor| {
            let axes: Vec<usize> = tensor.axes.iter().map(|axis: &Dim| axis.size(extents(tokens)) as usize).collect();
            let mut value = Dense::zeros(&axes);
            value.data.iter_mut().for_each(|number| *number = random.next());
            if tensor.role == Role::Tokens {
                value.data = (0..tokens).map(|token| (token * 4 % 10) as f64).collect();
            }
            value
        })
        .collect();
    for Node { op, inputs, output } in &graph.nodes {
        let operands: Vec<&Dense> = inputs.iter().map(|input| &values[input.index()]).collect();
        values[output.index()] = evaluate(*op, &operands, 0);
    }
    values
}

struct Audit<'a> {
    choices: &'a Choices,
    partitions: &'a [Partition],
    whole: Vec<Dense>,
    ranks: usize,
    families: Vec<Option<Family>>,
    checked: usize,
}

impl Audit<'_> {
    fn range(&self, tensor: TensorId, axis: u8, rank: usize) -> Range<usize> {
        let (graph, domains) = (&self.choices.template.graph, &self.choices.template.domains);
        let domain = domains.domain(tensor, axis);
        let partition = &self.partitions[domain.index()];
        let range = match domains.is_rows(domain) {
            true => partition.rows(rank).rows(self.whole[tensor.index()].axes[0] as u64),
            false => partition.elements(rank, domains.elements_per_unit(graph, tensor, axis)),
        };
        range.start as usize..range.end as usize
    }

    fn cut(&self, tensor: TensorId, axis: u8) -> Family {
        let value = &self.whole[tensor.index()];
        let one = |rank: usize| match self.positions(tensor, Layout::Sharded(axis), rank) {
            Some(share) => positions::dealt(value, share),
            None => value.slice(usize::from(axis), self.range(tensor, axis, rank)),
        };
        (0..self.ranks).map(one).collect()
    }

    fn positions(&self, tensor: TensorId, layout: Layout, rank: usize) -> Option<PositionShare> {
        let Layout::Sharded(axis) = layout else { return None };
        let domains = &self.choices.template.domains;
        let domain = domains.domain(tensor, axis);
        self.partitions[domain.index()].positions(rank).filter(|_| domains.is_positions(domain))
    }

    /// What a family must be; partial families must add up to it.
    fn check(&self, class: usize, family: &Family, way: &Way) {
        let fact = self.choices.classes[class].fact;
        let value = &self.whole[fact.tensor.index()];
        let expected: Family = match fact.layout {
            Layout::Whole => vec![value.clone(); self.ranks],
            Layout::Sharded(axis) => self.cut(fact.tensor, axis),
            Layout::Unmerged => {
                let merged = positions::merged(family, positions::head_dim(&self.choices.template.graph, fact.tensor));
                return assert_close(&merged, value, &format!("{fact:?} by {way:?} on {}", self.ranks));
            }
            Layout::Dispatched => return self.check_dispatched(fact.tensor, family, &format!("{fact:?} by {way:?}")),
            Layout::Partial | Layout::Host | Layout::Routed => {
                if fact.layout == Layout::Routed {
                    self.check_routed(fact.tensor, family, &format!("{fact:?} by {way:?}"));
                }
                let sum = family.iter().skip(1).fold(family[0].clone(), |sum, part| sum.map2(part, |a, b| a + b));
                assert_close(&sum, value, &format!("{fact:?} by {way:?}"));
                return;
            }
        };
        for (rank, (ours, theirs)) in family.iter().zip(&expected).enumerate() {
            assert_close(ours, theirs, &format!("{fact:?} by {way:?} on rank {rank} of {}", self.ranks));
        }
    }

    /// The family that one way makes, when its operands are known.
    fn make(&self, class: usize, way: &Way) -> Option<Family> {
        let fact = self.choices.classes[class].fact;
        let inputs: Vec<&Family> =
            way.inputs.iter().map(|&input| self.families[input].as_ref()).collect::<Option<_>>()?;
        let value = &self.whole[fact.tensor.index()];
        Some(match way.action {
            WayAction::Leaf => match fact.layout {
                Layout::Sharded(axis) => self.cut(fact.tensor, axis),
                _ => vec![value.clone(); self.ranks],
            },
            WayAction::Slice => (0..self.ranks).map(|rank| self.part(&inputs[0][rank], fact, rank)).collect(),
            WayAction::AllReduce => vec![sum(inputs[0]); self.ranks],
            WayAction::ReduceScatter => {
                let total = sum(inputs[0]);
                (0..self.ranks).map(|rank| self.part(&total, fact, rank)).collect()
            }
            WayAction::Dispatch => self.dispatched(fact.tensor, &self.assembled(way.inputs[0], inputs[0])),
            WayAction::Combine => {
                let total = self.combined(fact.tensor, inputs[0]);
                (0..self.ranks).map(|rank| self.part(&total, fact, rank)).collect()
            }
            WayAction::MergeScatter => {
                let merged =
                    positions::merged(inputs[0], positions::head_dim(&self.choices.template.graph, fact.tensor));
                (0..self.ranks).map(|rank| self.part(&merged, fact, rank)).collect()
            }
            WayAction::AllGather => vec![self.assembled(way.inputs[0], inputs[0]); self.ranks],
            WayAction::Collect => {
                let sharded = self.choices.classes[way.inputs[0]].fact.layout != Layout::Whole;
                vec![if sharded { self.assembled(way.inputs[0], inputs[0]) } else { inputs[0][0].clone() }]
            }
            WayAction::Compute(node) => {
                let op = self.choices.template.graph[node].op;
                let local = |rank: usize| {
                    let operands: Vec<&Dense> = inputs.iter().map(|family| &family[rank]).collect();
                    let facts = way.inputs.iter().map(|&input| self.choices.classes[input].fact);
                    let mut shares = facts.filter_map(|fact| self.positions(fact.tensor, fact.layout, rank));
                    if let Some(share) = shares.next() {
                        return positions::evaluate(op, &operands, share);
                    }
                    evaluate(op, &operands, self.first(op, way, rank))
                };
                (0..self.ranks).map(local).collect()
            }
        })
    }

    /// Where the slices start that an operator must know.
    fn first(&self, op: Op, way: &Way, rank: usize) -> usize {
        let start = |operand: usize, axis: u8| match self.choices.classes[way.inputs[operand]].fact {
            fact if fact.layout == Layout::Sharded(axis) => Some(self.range(fact.tensor, axis, rank)),
            _ => None,
        };
        match op {
            Op::Embed => start(1, 0).map_or(0, |rows| rows.start),
            Op::Attention { heads, kv_heads, head_dim, .. } => match (start(0, 1), start(1, 1)) {
                (Some(q), Some(k)) if !q.is_empty() => {
                    (q.start - k.start * (heads / kv_heads) as usize) / head_dim as usize
                }
                _ => 0,
            },
            _ => 0,
        }
    }

    /// The whole out of slices, which agree where they have elements in common; along the last axis or the rows.
    fn assembled(&self, class: usize, family: &Family) -> Dense {
        let fact = self.choices.classes[class].fact;
        let Layout::Sharded(axis) = fact.layout else { panic!("{fact:?} is not cut") };
        let mut whole = Dense::zeros(&self.whole[fact.tensor.index()].axes);
        let columns = whole.columns();
        for (rank, part) in family.iter().enumerate() {
            let range = self.range(fact.tensor, axis, rank);
            if axis == 0 {
                whole.data[range.start * columns..range.end * columns].copy_from_slice(&part.data);
                continue;
            }
            for (row, column) in (0..part.rows()).flat_map(|row| range.clone().map(move |column| (row, column))) {
                whole.data[row * columns + column] = part.at(row, column - range.start);
            }
        }
        whole
    }

    fn part(&self, value: &Dense, fact: crate::analysis::Fact, rank: usize) -> Dense {
        let Layout::Sharded(axis) = fact.layout else { panic!("{fact:?} is not cut") };
        value.slice(usize::from(axis), self.range(fact.tensor, axis, rank))
    }

    /// Makes every class in every way, again until nothing new becomes known.
    fn run(&mut self) {
        loop {
            let before = self.families.iter().flatten().count();
            self.checked = 0;
            for class in 0..self.choices.classes.len() {
                for way in &self.choices.classes[class].ways {
                    if let Some(family) = self.make(class, way) {
                        self.check(class, &family, way);
                        self.checked += 1;
                        self.families[class].get_or_insert(family);
                    }
                }
            }
            if self.families.iter().flatten().count() == before {
                break;
            }
        }
    }
}

fn sum(family: &Family) -> Dense {
    family.iter().skip(1).fold(family[0].clone(), |sum, part| sum.map2(part, |a, b| a + b))
}

/// Concatenation along the last axis.
fn joined(family: &Family) -> Dense {
    let columns: usize = family.iter().map(Dense::columns).sum();
    Dense::build(&[family[0].rows(), columns], |row, mut column| {
        for part in family {
            if column < part.columns() {
                return part.at(row, column);
            }
            column -= part.columns();
        }
        unreachable!("the columns are counted")
    })
}

fn assert_close(ours: &Dense, theirs: &Dense, what: &str) {
    assert_eq!(ours.axes, theirs.axes, "{what}");
    let error = ours.data.iter().zip(&theirs.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error < 1e-12, "{what}: off by {error}");
}

/// A decoder with everything that can go wrong: 8 query heads on 4 KV heads, odd widths, an odd vocabulary.
pub(crate) const DECODER: &str =
    "Decoder(name: \"audit\", hidden: 10, layers: 1, heads: 8, kv_heads: 4, head_dim: 2, ffn: 7,
    vocab: 11, context: 16, norm_epsilon: 1e-5, rope_base: 100.0, tied: false, dtypes: Dtypes(default: F32))";

/// The same with 5 experts 3 wide, of which a token takes 2, and gates that do not add up to 1.
pub(crate) const MIXTURE: &str =
    "Decoder(name: \"audit\", hidden: 10, layers: 1, heads: 8, kv_heads: 4, head_dim: 2, ffn: 7,
    experts: 5, experts_used: 2, expert_ffn: 3, renormalise: false, vocab: 11, context: 16, norm_epsilon: 1e-5,
    rope_base: 100.0, tied: false, dtypes: Dtypes(default: F32))";

/// The same with norms of heads, halves that rotate, a window, a cap of scores and another scale.
pub(crate) const WINDOWED: &str =
    "Decoder(name: \"audit\", hidden: 10, layers: 1, heads: 8, kv_heads: 4, head_dim: 4, ffn: 7,
    vocab: 11, context: 16, norm_epsilon: 1e-5, rope_base: 100.0, rope_pairs: halves, head_norms: true, window: 3,
    score_cap: 0.5, query_scalar: 3.0, tied: false, dtypes: Dtypes(default: F32))";

/// The same with everything around attention and the feed-forward part that a plain decoder has not.
pub(crate) const CAPPED: &str =
    "Decoder(name: \"audit\", hidden: 10, layers: 1, heads: 8, kv_heads: 4, head_dim: 2, ffn: 7,
    vocab: 11, context: 16, norm_epsilon: 1e-5, rope_base: 100.0, logit_cap: 0.5, activation: gelu, post_norms: true,
    scaled_embedding: true, tied: true, dtypes: Dtypes(default: F32))";

const PARALLEL: &str = "Decoder(name: \"audit\", hidden: 10, layers: 1, heads: 8, kv_heads: 4, head_dim: 2, ffn: 7,
    vocab: 11, context: 16, norm_epsilon: 1e-5, rope_base: 100.0, parallel: true, tied: false,
    dtypes: Dtypes(default: F32))";

/// Even shares, shares in proportion to 1, 2, 3 …, and shares that leave the first rank out; every domain in single units.
fn partitions(choices: &Choices, ranks: usize) -> Vec<Vec<Partition>> {
    let domains = &choices.template.domains;
    let rates: [Vec<u64>; 3] =
        [vec![1; ranks], (1..=ranks as u64).collect(), (0..ranks as u64).map(|rank| rank.min(2)).collect()];
    let cut = |rates: &Vec<u64>| {
        domains.partitions(|domain| {
            let units = domains.units(domain);
            let dealt = Partition::proportional(units, 1, rates);
            if dealt.divides() { dealt } else { Partition::balanced(units, 1, ranks) }
        })
    };
    rates.iter().map(cut).collect()
}

fn audit(description: &str, ranks: usize, tokens: u64) -> usize {
    let model = sailplan_models::from_ron("audit.ron", description).unwrap().model;
    let mut checked = 0;
    for class in &model.classes {
        let choices = saturate(&class.template, class.name == "head").unwrap();
        for partitions in partitions(&choices, ranks) {
            let families = vec![None; choices.classes.len()];
            let whole = whole(&class.template, 7 + ranks as u64, tokens);
            let mut audit = Audit { choices: &choices, partitions: &partitions, whole, ranks, families, checked: 0 };
            audit.run();
            let ways: usize = choices.classes.iter().map(|class| class.ways.len()).sum();
            assert_eq!(audit.checked, ways, "{}: some way was never evaluated", class.name);
            checked += ways;
        }
    }
    checked
}

#[test]
fn every_way_of_every_class_computes_the_layer() {
    for ranks in [1, 2, 3, 4, 5, 7] {
        let renormalised = MIXTURE.replace("renormalise: false", "renormalise: true");
        for description in [DECODER, MIXTURE, &renormalised, WINDOWED, CAPPED, PARALLEL] {
            assert!(audit(description, ranks, 3) > 100, "too little was checked");
        }
    }
}

/// No rows for most ranks, one each, and some that have more.
#[test]
fn every_way_computes_steps_of_any_length() {
    for (ranks, tokens) in [(4, 1), (3, 4), (5, 5), (4, 6), (7, 8), (2, 9)] {
        for description in [DECODER, MIXTURE, CAPPED, PARALLEL] {
            audit(description, ranks, tokens);
        }
    }
}
