//! What is sent so that cards come to hold other weights than before.

use crate::{Bytes, SailId};

/// A piece of a weight, the same one of several layers, on its way from the host or from a card that has it to one card
/// and from there on to the next.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Delivery {
    /// The weight; `{layer}` stands for the number of each of its layers.
    pub weight: String,
    /// The card that has it; without one, the host.
    pub from: Option<SailId>,
    /// Who needs it, in the order in which it is handed on.
    pub to: Vec<SailId>,
    /// What each of them gets.
    pub bytes: Bytes,
}

impl Delivery {
    /// Each receiver with the card that it takes the piece from; from the host without one.
    pub fn steps(&self) -> impl Iterator<Item = (SailId, Option<SailId>)> {
        let before = std::iter::once(self.from).chain(self.to.iter().copied().map(Some));
        self.to.iter().copied().zip(before)
    }
}
