//! What a chain of stages has spent of what pins count: stages and cards, as one number, so that the engine has a further
//! state exactly where something is counted.

use crate::space::Space;

/// Stages and cards that may be spent.
pub(crate) struct Budget {
    stages: Counter,
    cards: Counter,
}

/// A count that matters up to a largest value.
struct Counter {
    least: usize,
    /// `None` when any number is allowed.
    most: Option<usize>,
}

impl Budget {
    /// What pins and the space itself count. Limits that no chain can break are not counted.
    pub(crate) fn new(space: &Space<'_>) -> Self {
        let longest = space.cards.min(space.model.segments.len());
        let (least, most) = space.limits.map_or((0, usize::MAX), |limits| limits.stages.clone().into_inner());
        let most = most.min(space.stages);
        let stages = Counter { least: least.min(longest + 1), most: (most < longest).then_some(most) };
        let most = space.limits.map_or(usize::MAX, |limits| limits.sails);
        Self { stages, cards: Counter { least: 0, most: (most < space.cards).then_some(most) } }
    }

    /// Number of states; the first is nothing spent.
    pub(crate) fn states(&self) -> usize {
        self.stages.states() * self.cards.states()
    }

    /// The state after a further stage with so many cards, when that is allowed.
    pub(crate) fn after(&self, spent: usize, cards: usize) -> Option<usize> {
        let width = self.cards.states();
        let (stages, used) = (spent / width, spent % width);
        Some(self.stages.after(stages, 1)? * width + self.cards.after(used, cards)?)
    }

    /// The states in which a chain may end.
    pub(crate) fn enough(&self) -> std::ops::Range<usize> {
        let width = self.cards.states();
        // One stage is always there.
        let least = if self.stages.states() > 1 { self.stages.least } else { 0 };
        least * width..self.states()
    }
}

impl Counter {
    fn states(&self) -> usize {
        match self.most {
            Some(most) => most.max(self.least) + 1,
            None if self.least > 1 => self.least + 1,
            None => 1,
        }
    }

    fn after(&self, count: usize, more: usize) -> Option<usize> {
        let sum = count + more;
        match self.most {
            Some(most) => (sum <= most).then_some(sum),
            None => Some(sum.min(self.states() - 1)),
        }
    }
}
