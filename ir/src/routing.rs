//! Where the rows of a mixture of experts go: which gates say it, which product makes them, and how many rows a card gets on
//! average.

use crate::{Graph, Node, Op, Share, TensorId};

/// How tokens are dealt to experts: each takes so many of all, any set of them with the same chance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Routing {
    /// All experts.
    pub experts: u32,
    /// Experts that a token takes.
    pub used: u32,
}

impl Routing {
    /// The chance that a token takes at least one of `local` experts: 1 − C(E − m, k) / C(E, k), which is the product of
    /// (E − m − i) / (E − i) over the k draws. Rounded up.
    #[must_use]
    pub fn chance(self, local: u64) -> Share {
        let (experts, used) = (u64::from(self.experts), u64::from(self.used.min(self.experts)));
        let missed = |left: Share, drawn: u64| {
            let (others, all) = ((experts - drawn).saturating_sub(local), experts - drawn);
            Share((u128::from(left.0) * u128::from(others) / u128::from(all)) as u64)
        };
        (0..used).fold(Share::ONE, missed).rest()
    }

    /// How many of `rows` take at least one of `local` experts on average, rounded up.
    #[must_use]
    pub fn rows(self, rows: u64, local: u64) -> u64 {
        rows - self.chance(local).rest().of(rows)
    }
}

impl Graph {
    /// The gates by which the rows of a value are sent to experts: those of all mixtures that read it. `None` where none does,
    /// or where they differ, because rows then would have to go by two.
    #[must_use]
    pub fn dispatched_by(&self, tensor: TensorId) -> Option<TensorId> {
        let mut gates = self.mixtures().filter(|node| node.inputs[0] == tensor).map(|node| node.inputs[1]);
        let first = gates.next()?;
        gates.all(|other| other == first).then_some(first)
    }

    /// The gates by which what experts make goes back to the cards whose rows they are; `None` of what experts do not make.
    #[must_use]
    pub fn combined_by(&self, tensor: TensorId) -> Option<TensorId> {
        self.mixtures().find(|node| node.output == tensor).map(|node| node.inputs[1])
    }

    /// How the gates of a mixture deal tokens.
    #[must_use]
    pub fn routing(&self, gates: TensorId) -> Option<Routing> {
        let node = self.mixtures().find(|node| node.inputs[1] == gates)?;
        let Op::Experts { experts, used } = node.op else { return None };
        Some(Routing { experts, used })
    }

    /// Whether an application is the product whose rows a router reads, which may be cut along its rows. Its weight has a row
    /// for each expert: cards that read all of it for a part of the tokens read little.
    #[must_use]
    pub fn routes(&self, node: &Node) -> bool {
        let read = |reader: &Node| matches!(reader.op, Op::Route { .. }) && reader.inputs.first() == Some(&node.output);
        node.op == Op::Linear && self.nodes.iter().any(read)
    }

    fn mixtures(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| matches!(node.op, Op::Experts { .. }) && node.inputs.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of `used` of `experts`, counted.
    #[test]
    fn the_chance_is_that_of_all_sets() {
        for (experts, used) in [(8_u32, 2_u32), (6, 1), (7, 3), (5, 5)] {
            let sets: Vec<u32> = (0..1_u32 << experts).filter(|set| set.count_ones() == used).collect();
            for local in 0..=experts {
                let hit = sets.iter().filter(|set| *set & ((1 << local) - 1) != 0).count();
                let chance = Routing { experts, used }.chance(u64::from(local)).probability();
                assert!((chance - hit as f64 / sets.len() as f64).abs() < 1e-15, "{local} of {experts}");
            }
        }
        // Mixtral: one card of eight with one expert each gets a quarter of all rows.
        let eight = Routing { experts: 8, used: 2 };
        assert_eq!([0, 1, 4, 7, 8].map(|local| eight.rows(512, local)), [0, 128, 403, 512, 512]);
        assert_eq!(Routing { experts: 128, used: 8 }.rows(1000, 8), 413);
    }
}
