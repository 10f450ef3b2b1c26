//! Cheapest pairs of paths through a trellis, one for each phase, for the prices of one group: the fastest form, and all
//! forms for which no other one is as fast and as small. Exact in integers: the two phases are walked side by side, and
//! both must read the same weights and caches in the same layouts.

use crate::table::PriceTable;
use crate::trellis::{Made, Sheaf, Step, Trellis};
use sailplan_ir::{Bytes, Picoseconds};
use std::ops::Range;

/// What a form costs: the objective, and what decides between forms of one objective.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Cost {
    /// Weighted picoseconds.
    pub(crate) objective: u64,
    /// Picoseconds of both phases, and one for each instruction: shorter programs win.
    tie: u64,
}

impl Cost {
    /// What the group cannot do.
    pub(crate) const NEVER: Self = Self { objective: u64::MAX, tie: u64::MAX };

    /// Of one instruction, where the group can run it.
    pub(crate) fn of(time: Option<Picoseconds>, weight: u64) -> Self {
        time.map_or(Self::NEVER, |time| Self {
            objective: time.0.saturating_mul(weight),
            tie: time.0.saturating_add(1),
        })
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { objective: self.objective.saturating_add(other.objective), tie: self.tie.saturating_add(other.tie) }
    }

    /// The largest one of an objective.
    pub(crate) fn most(objective: u64) -> Self {
        Self { objective, tie: u64::MAX }
    }

    /// With at least so much of the objective to come.
    fn with(self, ahead: u64) -> Self {
        Self { objective: self.objective.saturating_add(ahead), ..self }
    }

    pub(crate) fn possible(self) -> bool {
        self.objective < u64::MAX
    }
}

/// The ways of each phase.
pub(crate) type Selection = [Vec<Made>; 2];

/// Prices of one group and how often each phase counts.
pub(crate) struct Walk<'a> {
    pub(crate) trellis: &'a Trellis,
    pub(crate) tables: &'a [PriceTable; 2],
    pub(crate) weights: [u64; 2],
}

impl Walk<'_> {
    /// What the makings of a step cost in a phase.
    fn costs(&self, step: &Step, phase: usize) -> Vec<Cost> {
        let one = |&kernel: &usize| Cost::of(self.tables[phase].time(kernel), self.weights[phase]);
        let sum = |kernels: &[usize]| kernels.iter().map(one).fold(Cost::default(), Cost::plus);
        step.makings.iter().map(|making| sum(&making.kernels)).collect()
    }

    /// What every pair of states still takes of the objective at least.
    pub(crate) fn ahead(&self) -> Ahead {
        let mut all = vec![vec![0]];
        for step in self.trellis.steps.iter().rev() {
            let before = self.back(step, &all[all.len() - 1]);
            all.push(before);
        }
        all.reverse();
        Ahead(all)
    }

    /// One step back for both phases: decode's edges first, then prefill's with the same residents. Pairs are numbered
    /// `decode · states + prefill`.
    fn back(&self, step: &Step, after: &[u64]) -> Vec<u64> {
        let (states, next) = (step.states, step.next);
        let mut half = vec![u64::MAX; step.residents.len() * states * next];
        let costs = self.costs(step, 1);
        for (sheaf, _, cost) in step.sheaves.iter().filter_map(|sheaf| cheapest(step, sheaf, &costs)) {
            let half = &mut half[(sheaf.residents * states + sheaf.from) * next..][..next];
            for (half, after) in half.iter_mut().zip(&after[sheaf.to * next..][..next]) {
                *half = (*half).min(after.saturating_add(cost.objective));
            }
        }
        let mut before = vec![u64::MAX; states * states];
        let costs = self.costs(step, 0);
        for (sheaf, _, cost) in step.sheaves.iter().filter_map(|sheaf| cheapest(step, sheaf, &costs)) {
            let half = &half[sheaf.residents * states * next..][..states * next];
            for decode in 0..states {
                let least = &mut before[decode * states + sheaf.from];
                *least = (*least).min(half[decode * next + sheaf.to].saturating_add(cost.objective));
            }
        }
        before
    }

    /// The fastest form that costs less than `most`; `None` when there is none. `ahead` may come from lower prices; the
    /// nearer they are, the fewer states are looked at.
    pub(crate) fn fastest(&self, ahead: &Ahead, most: Cost) -> Option<(Selection, Cost)> {
        let mut marks = vec![Mark { cost: Cost::default(), prefill: 0, decode: 0, parent: 0, edges: [0, 0] }];
        let (mut live, mut places) = (0..1, Vec::new());
        for (step, ahead) in self.trellis.steps.iter().zip(&ahead.0[1..]) {
            places.clear();
            places.resize(step.next * step.next, usize::MAX);
            live = self.onward(step, (ahead, most), live, (&mut marks, &mut places));
        }
        let best = live.min_by_key(|&mark| marks[mark].cost)?;
        Some((self.trace(&marks, best), marks[best].cost))
    }

    /// One step on from the marks `live`: at most one mark for each pair of states that can still cost less than `most`.
    fn onward(
        &self,
        step: &Step,
        (ahead, most): (&[u64], Cost),
        live: Range<usize>,
        (marks, places): (&mut Vec<Mark>, &mut [usize]),
    ) -> Range<usize> {
        let mut cheapest = [0, 1].map(|phase| Cheapest::new(step, self.costs(step, phase)));
        let first = marks.len();
        for parent in live {
            let Mark { cost, prefill, decode, .. } = marks[parent];
            let late = cheapest[1].leaving(decode);
            for early in cheapest[0].leaving(prefill) {
                let early = cheapest[0].found[early];
                let before = cost.plus(early.cost);
                if before >= most {
                    continue;
                }
                let late = &cheapest[1].found[late.clone()];
                let start = late.partition_point(|late| late.residents < early.residents);
                for late in late[start..].iter().take_while(|late| late.residents == early.residents) {
                    let place = late.to * step.next + early.to;
                    let cost = before.plus(late.cost);
                    if cost.with(ahead[place]) >= most {
                        continue;
                    }
                    let edges = [early.edge, late.edge];
                    let mark = Mark { cost, prefill: early.to, decode: late.to, parent, edges };
                    match marks.get_mut(places[place]) {
                        Some(known) if known.cost <= cost => {}
                        Some(known) => *known = mark,
                        None => {
                            places[place] = marks.len();
                            marks.push(mark);
                        }
                    }
                }
            }
        }
        first..marks.len()
    }

    fn trace(&self, marks: &[Mark], last: usize) -> Selection {
        let mut selection = Selection::default();
        let mut at = last;
        for step in self.trellis.steps.iter().rev() {
            for (ways, edge) in selection.iter_mut().zip(marks[at].edges) {
                ways.extend(&step.makings[step.edges[edge].making].ways);
            }
            at = marks[at].parent;
        }
        selection
    }
}

/// The cheapest edge of every sheaf that leaves a state of a step in a phase, found when it is first asked for.
struct Cheapest<'a> {
    step: &'a Step,
    costs: Vec<Cost>,
    /// By state, where its edges stand.
    places: Vec<Option<Range<usize>>>,
    /// Those of a state one after the other, in ascending order of residents.
    found: Vec<Onward>,
}

/// An edge with what it leads to and takes.
#[derive(Clone, Copy)]
struct Onward {
    residents: usize,
    to: usize,
    edge: usize,
    cost: Cost,
}

impl<'a> Cheapest<'a> {
    fn new(step: &'a Step, costs: Vec<Cost>) -> Self {
        Self { step, costs, places: vec![None; step.states], found: Vec::new() }
    }

    /// Where the edges stand that leave a state.
    fn leaving(&mut self, state: usize) -> Range<usize> {
        let Self { step, costs, places, found } = self;
        let place = places[state].get_or_insert_with(|| {
            let first = found.len();
            let sheaves = step.sheaves[step.leaving(state)].iter();
            let onward = |(sheaf, edge, cost): (&Sheaf, usize, Cost)| Onward {
                residents: sheaf.residents,
                to: sheaf.to,
                edge,
                cost,
            };
            found.extend(sheaves.filter_map(|sheaf| cheapest(step, sheaf, costs)).map(onward));
            first..found.len()
        });
        place.clone()
    }
}

/// A sheaf with its cheapest edge, the first of equals, and what that costs, where it is possible.
fn cheapest<'a>(step: &Step, sheaf: &'a Sheaf, costs: &[Cost]) -> Option<(&'a Sheaf, usize, Cost)> {
    let cost = |edge: usize| costs[step.edges[edge].making];
    let (least, edge) = sheaf.edges.iter().map(|&edge| (cost(edge), edge)).min()?;
    least.possible().then_some((sheaf, edge, least))
}

/// The edges of a step that count in a phase, in ascending order, with their costs.
fn open(step: &Step, costs: &[Cost]) -> Vec<(usize, Cost)> {
    let edges = step.sheaves.iter().filter_map(|sheaf| cheapest(step, sheaf, costs));
    let mut edges: Vec<(usize, Cost)> = edges.map(|(_, edge, cost)| (edge, cost)).collect();
    edges.sort_unstable();
    edges
}

/// For every step and after the last, the least objective from each pair of states on.
pub(crate) struct Ahead(Vec<Vec<u64>>);

impl Ahead {
    /// The objective of the fastest form; `u64::MAX` where there is none.
    pub(crate) fn whole(&self) -> u64 {
        self.0[0][0]
    }
}

/// The cheapest way found to a pair of states.
struct Mark {
    cost: Cost,
    prefill: usize,
    decode: usize,
    /// The mark before the step, and the edges of both phases.
    parent: usize,
    edges: [usize; 2],
}

/// A form on the way: what it costs, where what its ranks hold stands, and where it came from.
#[derive(Clone, Copy, Debug)]
struct Label {
    cost: Cost,
    held: usize,
    parent: u32,
    edge: u32,
}

/// Labels of one state, none of which covers another.
type Bag = Vec<u32>;

/// All labels ever kept; states refer to them by number.
struct Labels {
    labels: Vec<Label>,
    /// Bytes by rank, once for labels that hold the same.
    held: Vec<Bytes>,
    ranks: usize,
}

impl Labels {
    fn held(&self, label: Label) -> &[Bytes] {
        &self.held[label.held..][..self.ranks]
    }

    /// Adds a label that holds as much as its parent to a state, unless one there covers it.
    fn offer(&mut self, bag: &mut Bag, label: Label) {
        if !self.covered(bag, label.cost, self.held(label)) {
            self.keep(bag, label);
        }
    }

    /// The same for one that holds this.
    fn offer_more(&mut self, bag: &mut Bag, label: Label, held: &[Bytes]) {
        if !self.covered(bag, label.cost, held) {
            let place = self.held.len();
            self.held.extend_from_slice(held);
            self.keep(bag, Label { held: place, ..label });
        }
    }

    /// Whether a label of the state costs and holds no more.
    fn covered(&self, bag: &Bag, cost: Cost, held: &[Bytes]) -> bool {
        bag.iter().any(|&known| {
            let known = self.labels[known as usize];
            known.cost <= cost && self.held(known).iter().zip(held).all(|(ours, theirs)| ours <= theirs)
        })
    }

    /// Adds a label to a state in place of those that cost and hold no less.
    fn keep(&mut self, bag: &mut Bag, label: Label) {
        let held = self.held(label);
        bag.retain(|&known| {
            let known = self.labels[known as usize];
            label.cost > known.cost || held.iter().zip(self.held(known)).any(|(ours, theirs)| ours > theirs)
        });
        bag.push(self.labels.len() as u32);
        self.labels.push(label);
    }
}

impl Walk<'_> {
    /// All forms for which no other is as cheap and holds as little on every rank, cheapest first, as far as `budget` goes.
    /// `held` are the bytes of a class's resident for each of the ranks that count, `most` what each of them may hold.
    pub(crate) fn front(&self, held: &[Vec<Bytes>], most: &[Bytes], budget: Picoseconds) -> Vec<(Selection, Cost)> {
        let ahead = (budget < Picoseconds::NEVER).then(|| self.ahead());
        let mut labels = Labels { labels: Vec::new(), held: Vec::new(), ranks: most.len() };
        let mut bags: Vec<Bag> = vec![Vec::new()];
        let start = Label { cost: Cost::default(), held: 0, parent: 0, edge: 0 };
        labels.offer_more(&mut bags[0], start, &vec![Bytes(0); most.len()]);
        for (number, step) in self.trellis.steps.iter().enumerate() {
            let half = self.first_half(step, &bags, &mut labels);
            let ahead = ahead.as_ref().map(|ahead| (ahead.0[number + 1].as_slice(), budget.0));
            bags = self.second_half(step, &half, &Held { held, most, ahead }, &mut labels);
        }
        let mut found: Bag = bags.swap_remove(0);
        let cost = |label: u32| labels.labels[label as usize].cost;
        found.sort_by_key(|&label| cost(label));
        found.iter().map(|&label| (self.spell(&labels, label), cost(label))).collect()
    }

    fn first_half(&self, step: &Step, bags: &[Bag], labels: &mut Labels) -> Vec<Bag> {
        let (before, kinds) = (step.states, step.residents.len());
        let mut half: Vec<Bag> = vec![Vec::new(); step.next * before * kinds];
        for (number, more) in open(step, &self.costs(step, 0)) {
            let edge = step.edges[number];
            for decode in 0..before {
                let to = (edge.to * before + decode) * kinds + step.kind(edge);
                for &parent in &bags[edge.from * before + decode] {
                    let known = labels.labels[parent as usize];
                    let cost = known.cost.plus(more);
                    labels.offer(&mut half[to], Label { cost, parent, edge: number as u32, ..known });
                }
            }
        }
        half
    }

    fn second_half(&self, step: &Step, half: &[Bag], held: &Held<'_>, labels: &mut Labels) -> Vec<Bag> {
        let (before, after, kinds) = (step.states, step.next, step.residents.len());
        let more: Vec<Vec<Bytes>> = step.residents.iter().map(|&set| held.sum(set)).collect();
        let mut whole: Vec<Bag> = vec![Vec::new(); after * after];
        let mut sum: Vec<Bytes> = Vec::new();
        for (number, takes) in open(step, &self.costs(step, 1)) {
            let edge = step.edges[number];
            let kind = step.kind(edge);
            for prefill in 0..after {
                for &parent in &half[(prefill * before + edge.from) * kinds + kind] {
                    let known = labels.labels[parent as usize];
                    if held.beyond(known.cost.plus(takes), edge.to * after + prefill) {
                        continue;
                    }
                    sum.clear();
                    sum.extend(labels.held(known).iter().zip(&more[kind]).map(|(&a, &b)| a + b));
                    if sum.iter().zip(held.most).all(|(sum, most)| sum <= most) {
                        let cost = known.cost.plus(takes);
                        let label = Label { cost, parent, edge: number as u32, ..known };
                        labels.offer_more(&mut whole[prefill * after + edge.to], label, &sum);
                    }
                }
            }
        }
        whole
    }

    /// The ways behind a label: two edges for each step, decode's last.
    fn spell(&self, labels: &Labels, label: u32) -> Selection {
        let mut selection = Selection::default();
        let mut at = label;
        for step in self.trellis.steps.iter().rev() {
            for phase in [1, 0] {
                let label = labels.labels[at as usize];
                let edge = step.edges[label.edge as usize];
                selection[phase].extend(&step.makings[edge.making].ways);
                at = label.parent;
            }
        }
        selection
    }
}

/// Bytes of residents and how many each rank may have, and how much of the objective a form may take.
struct Held<'a> {
    held: &'a [Vec<Bytes>],
    most: &'a [Bytes],
    /// The least objective from each pair of states on, and the budget, where there is one.
    ahead: Option<(&'a [u64], u64)>,
}

impl Held<'_> {
    /// Whether a form that costs this up to a pair of states ends beyond the budget.
    fn beyond(&self, cost: Cost, pair: usize) -> bool {
        self.ahead.is_some_and(|(ahead, budget)| cost.objective.saturating_add(ahead[pair]) > budget)
    }

    fn sum(&self, set: crate::trellis::Classes) -> Vec<Bytes> {
        let mut sum = vec![Bytes(0); self.most.len()];
        for class in set.iter() {
            sum.iter_mut().zip(&self.held[class]).for_each(|(sum, &bytes)| *sum += bytes);
        }
        sum
    }
}
