//! Everything that can be done with a layer class, whatever the group: its saturated choices, all programs as a trellis,
//! what prices are made of, and the programs that were asked for, checked once.

use crate::extract::linearise;
use crate::paths::Selection;
use crate::pins::Held;
use crate::saturate::{Choices, Way, WayAction};
use crate::table::Rates;
use crate::trellis::{Made, Trellis};
use sailplan_cost_model::CostModel;
use sailplan_ir::{ClassId, DomainId, Form, Partition, Program};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// A layer class and all its programs.
pub(crate) struct Repertoire {
    pub(crate) class: ClassId,
    pub(crate) choices: Choices,
    trellis: Trellis,
    /// With parts of positions, where any group of the fleet may have them.
    by_positions: Option<Trellis>,
    /// What prices on a group are computed from.
    pub(crate) rates: Rates,
    /// For each kernel by number, the domain whose shares it depends on, if any; there is one at most.
    pub(crate) domains: Vec<Option<usize>>,
    /// How pins have its weights held.
    held: Held,
    formed: RefCell<BTreeMap<Selection, Rc<Formed>>>,
}

/// A form, with the ways behind its instructions.
#[derive(Debug)]
pub(crate) struct Formed {
    pub(crate) form: Form,
    /// For each phase, one entry for each instruction.
    ways: [Vec<Made>; 2],
    /// For each phase, the instructions of each kernel: several of a joint one.
    kernels: [Vec<Range<usize>>; 2],
}

impl Formed {
    /// The ways behind each kernel, in order.
    pub(crate) fn kernels(&self, phase: usize) -> impl Iterator<Item = &[Made]> {
        self.kernels[phase].iter().map(move |range| &self.ways[phase][range.clone()])
    }
}

impl Repertoire {
    pub(crate) fn new(class: ClassId, choices: Choices, costs: &CostModel<'_>) -> Result<Self, String> {
        let trellis = Trellis::new(&choices, false)?;
        let wide = choices.by_positions(costs.fleet.size());
        let by_positions = wide.then(|| Trellis::new(&choices, true)).transpose()?;
        let of = |class: usize| {
            let ways = choices.classes[class].ways.iter();
            ways.map(|way| domain(&choices, class, way).map(|domain| domain.index())).collect::<Vec<_>>()
        };
        let rates = Rates::new(&choices, costs);
        let mut domains: Vec<Option<usize>> = (0..choices.classes.len()).flat_map(of).collect();
        for bundle in &rates.joint.bundles {
            let one = bundle.ways.iter().find_map(|&made| domains[rates.joint.number(made)]);
            domains.push(one);
        }
        let (held, formed) = Default::default();
        Ok(Self { class, choices, trellis, by_positions, rates, domains, held, formed })
    }

    /// All programs that a group of so many cards may run.
    pub(crate) fn trellis(&self, ranks: usize) -> &Trellis {
        let wide = self.by_positions.as_ref().filter(|_| self.choices.by_positions(ranks));
        wide.unwrap_or(&self.trellis)
    }

    /// With the cuts that pins demand; the choices know of them already.
    pub(crate) fn holding(self, held: Held) -> Self {
        Self { held, ..self }
    }

    /// Partitions of every domain on a group of so many cards, with those that pins give.
    pub(crate) fn pinned(&self, dealt: &[Partition], ranks: usize) -> Vec<Partition> {
        let pinned = |domain: DomainId| self.held.partition(domain.index(), ranks);
        let domains = &self.choices.template.domains;
        domains.partitions(|domain| pinned(domain).unwrap_or_else(|| dealt[domain.index()].clone()))
    }

    /// Whether a pin gives the partition of a domain, or of what it covers.
    pub(crate) fn is_pinned(&self, domain: usize, ranks: usize) -> bool {
        let lead = self.choices.template.domains.lead(DomainId(domain as u32)).map_or(domain, DomainId::index);
        self.held.partition(lead, ranks).is_some()
    }

    /// How many forms were asked for.
    pub(crate) fn forms(&self) -> usize {
        self.formed.borrow().len()
    }

    /// The form that uses these ways.
    ///
    /// # Errors
    /// They make no legal program: a bug.
    pub(crate) fn form(&self, selection: &Selection) -> Result<Rc<Formed>, String> {
        if let Some(known) = self.formed.borrow().get(selection) {
            return Ok(Rc::clone(known));
        }
        let (prefill, prefill_ways) = linearise(&self.choices, &selection[0])?;
        let (decode, decode_ways) = linearise(&self.choices, &selection[1])?;
        let kernels = [kernels(&self.choices, &prefill)?, kernels(&self.choices, &decode)?];
        let form = Form { class: self.class, prefill, decode };
        let made = Rc::new(Formed { form, ways: [prefill_ways, decode_ways], kernels });
        self.formed.borrow_mut().insert(selection.clone(), Rc::clone(&made));
        Ok(made)
    }
}

/// The instructions of each kernel.
fn kernels(choices: &Choices, program: &Program) -> Result<Vec<Range<usize>>, String> {
    let joint = program.joint(&choices.template.graph, &choices.template.domains);
    let mut kernels = Vec::new();
    let mut next = 0;
    while next < program.instructions.len() {
        let end = match joint.iter().find(|kernel| kernel[0] == next) {
            Some(kernel) if kernel.windows(2).all(|pair| pair[1] == pair[0] + 1) => next + kernel.len(),
            Some(_) => return Err("the products of one kernel stand apart".into()),
            None => next + 1,
        };
        kernels.push(next..end);
        next = end;
    }
    Ok(kernels)
}

/// The domain whose shares a way depends on: of one that covers another, the other. Rows that go to experts and back depend on
/// the experts', because rows are dealt in one way only.
fn domain(choices: &Choices, class: usize, way: &Way) -> Option<DomainId> {
    if matches!(way.action, WayAction::Dispatch | WayAction::Combine) {
        let gates = choices.classes[*way.inputs.get(1)?].fact.tensor;
        return Some(choices.template.domains.domain(gates, 1));
    }
    let cut = std::iter::once(class).chain(way.inputs.iter().copied()).find_map(|class| choices.domain(class))?;
    Some(choices.template.domains.lead(cut).unwrap_or(cut))
}
