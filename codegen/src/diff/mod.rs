//! Two plans compared by what they mean: what they were made from, what they are predicted to take, where everything is,
//! what crosses the links. Every difference is in at least one change; differences of text alone are cosmetic.

mod arrangement;
mod budget;
mod change;
mod dealt;
mod fleet;
mod homes;
mod inputs;
mod layers;
mod loads;
mod programs;
mod steps;

pub use change::{Change, Class, Held, Kernels, Part, Phase, StageOf, Tally, What, headroom};

use crate::Plan;
use sailplan_ir::{Diagnostics, Verified};
use std::collections::BTreeSet;

/// What a comparison found: the most serious first, and in a class causes first.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Diff {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Whether there is nothing to report.
    #[must_use]
    pub fn same(&self) -> bool {
        self.changes.is_empty()
    }

    /// The classes of the changes, most serious first.
    #[must_use]
    pub fn classes(&self) -> BTreeSet<Class> {
        self.changes.iter().map(|change| change.class).collect()
    }

    /// By how many percent the phase or the request that lost most is slower; 0 when nothing is.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        let slower = self.changes.iter().filter(|change| change.class == Class::Slower);
        let percent = slower.filter_map(|change| match change.what {
            What::Time { old, new, .. } => Some((new.0 as f64 / old.0 as f64 - 1.0) * 100.0),
            _ => None,
        });
        percent.fold(0.0, f64::max)
    }

    fn sorted(mut self) -> Self {
        self.changes.sort_by_key(|change| change.class);
        self
    }
}

/// Changes in the making.
#[derive(Default)]
pub(crate) struct Found(Vec<Change>);

impl Found {
    fn push(&mut self, class: Class, what: What) {
        self.0.push(Change { class, what });
    }
}

/// Compares two sound plans.
#[must_use]
pub fn diff(old: &Verified<Plan>, new: &Verified<Plan>) -> Diff {
    compare(old, new)
}

/// Compares plans of which at least one is refused by `verify`: what follows from an unsound plan means nothing.
#[must_use]
pub fn diff_refused(old: &Diagnostics, new: &Diagnostics) -> Diff {
    let said = |problems: &Diagnostics| problems.0.iter().map(ToString::to_string).collect();
    let mut found = Found::default();
    if !new.0.is_empty() {
        found.push(Class::Unfit, What::Refused { problems: said(new) });
    } else if !old.0.is_empty() {
        found.push(Class::Moved, What::Mended { problems: said(old) });
    }
    Diff { changes: found.0 }
}

/// The comparison itself. It relies on plans being sound only for its cost.
fn compare(old: &Plan, new: &Plan) -> Diff {
    let mut found = Found::default();
    inputs::compare(old, new, &mut found);
    fleet::compare(&old.fleet, &new.fleet, &mut found);
    budget::compare(old, new, &mut found);
    homes::compare(old, new, &mut found);
    dealt::compare(old, new, &mut found);
    loads::compare(old, new, &mut found);
    programs::compare(old, new, &mut found);
    arrangement::compare(old, new, &mut found);
    Diff { changes: found.0 }.sorted()
}
