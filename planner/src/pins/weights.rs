//! How pins have the weights of a layer class held: choices are taken away before any program is listed.

use crate::saturate::{Choices, Way};
use sailplan_ir::{DomainId, Layout, Partition, TensorId};

/// Demands on the weights of one layer class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Weights that every rank holds whole.
    pub(crate) whole: Vec<TensorId>,
    /// Weights that are cut.
    pub(crate) cuts: Vec<Cut>,
}

/// One weight and its cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) tensor: TensorId,
    pub(crate) axis: u8,
    pub(crate) domain: DomainId,
    /// Units of the domain for each rank.
    pub(crate) shares: Vec<u64>,
}

impl Held {
    /// Whether nothing is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.cuts.is_empty()
    }

    /// Choices without what is forbidden and without what nothing can be made of; `None` when no program is left.
    pub(crate) fn restrict(&self, mut choices: Choices) -> Option<Choices> {
        if self.is_empty() {
            return Some(choices);
        }
        let classes = 0..choices.classes.len();
        let mut dead: Vec<bool> = classes.map(|class| !self.allows(&choices, class)).collect();
        loop {
            let mut changed = false;
            for (class, gone) in dead.clone().into_iter().enumerate() {
                let kept = |way: &Way| !gone && way.inputs.iter().all(|&input| !dead[input]);
                choices.classes[class].ways.retain(kept);
                if !gone && choices.classes[class].ways.is_empty() {
                    dead[class] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        (!dead[choices.root]).then_some(choices)
    }

    /// Whether a weight may be held as a class says.
    fn allows(&self, choices: &Choices, class: usize) -> bool {
        let fact = choices.classes[class].fact;
        let whole = !self.whole.contains(&fact.tensor) || fact.layout == Layout::Whole;
        let cuts = self.cuts.iter().filter(|cut| cut.tensor == fact.tensor);
        let mut cuts =
            cuts.map(|cut| fact.layout == Layout::Sharded(cut.axis) && self.shares(cut.domain) == cut.shares);
        whole && cuts.all(|allowed| allowed)
    }

    /// The shares of a domain that is cut; the first pin's.
    fn shares(&self, domain: DomainId) -> &[u64] {
        self.cuts.iter().find(|cut| cut.domain == domain).map_or(&[], |cut| &cut.shares)
    }

    /// The partition that pins give a domain on a group of so many cards.
    pub(crate) fn partition(&self, domain: usize, ranks: usize) -> Option<Partition> {
        let cut = self.cuts.iter().find(|cut| cut.domain.index() == domain && cut.shares.len() == ranks)?;
        // Shares as rates deal the same shares again.
        Some(Partition::proportional(cut.shares.iter().sum(), 1, &cut.shares))
    }
}
