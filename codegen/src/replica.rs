//! One replica of a plan as a plan of its own, for those who run or time one chain.

use crate::{Plan, SailPlan, digest};
use sailplan_ir::SailId;
use std::collections::BTreeSet;

impl Plan {
    /// How many replicas it has.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.sails.iter().map(|sail| sail.replica.saturating_add(1)).max().unwrap_or(0)
    }

    /// The plan of one replica by itself; `None` when there is no such replica. What another replica's card would hand on
    /// comes from the host. Predictions stay those of all replicas together.
    #[must_use]
    pub fn replica(&self, number: u32) -> Option<Self> {
        let mut sails: Vec<SailPlan> = self.sails.iter().filter(|sail| sail.replica == number).cloned().collect();
        let first = sails.iter().map(|sail| sail.stage).min()?;
        let own: BTreeSet<SailId> = sails.iter().map(|sail| sail.sail).collect();
        for sail in &mut sails {
            (sail.replica, sail.stage) = (0, sail.stage - first);
            for load in &mut sail.load {
                load.from = load.from.filter(|peer| own.contains(peer));
                load.to = load.to.filter(|peer| own.contains(peer));
            }
        }
        let mut plan = Self { sails, digest: String::new(), ..self.clone() };
        plan.digest = digest::of_plan(&plan);
        Some(plan)
    }
}
