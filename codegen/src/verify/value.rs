//! What a buffer holds: a logical tensor of one segment, whole, cut along its columns or its rows, as a partial sum, or
//! as a softmax over some positions.

use sailplan_ir::{PositionShare, RowShare};
use std::fmt;

/// A value of the abstract machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    /// Place in the chain. What a segment takes from the one before belongs to the one before.
    pub(crate) segment: u32,
    /// Tensor of the segment's class.
    pub(crate) tensor: u32,
    pub(crate) held: Held,
}

/// Which part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// All of it.
    Whole,
    /// These columns.
    Cut(Span),
    /// These rows of every step, with all columns.
    Rows(RowShare),
    /// A contribution to sums that make it.
    Partial(Sums),
    /// The rows of every step that take one of these experts; the others are nothing.
    Dispatched(Taken),
    /// What these experts made of the rows that were sent to them: a contribution to its sum over all experts, zero in rows that
    /// take none of them.
    Routed(Taken),
    /// Of a cache, these positions.
    Positions(PositionShare),
    /// The softmax over these positions, from which it is merged.
    Unmerged(PositionShare),
}

/// Rows that take some of a mixture's experts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// The segment and the tensor of the gates.
    pub(crate) gates: (u32, u32),
    /// The experts.
    pub(crate) span: Span,
    /// Of so many.
    pub(crate) size: u64,
}

/// Some terms of each of several sums that are added up. An all-reduce adds up all of them at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sums([Option<Terms>; MOST_SUMS]);

/// More partial sums than this are not added up before they are reduced.
const MOST_SUMS: usize = 4;

/// Some terms of the sum over one letter of an operator. An operator may sum over several; terms of different sums do not
/// add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// The segment and the tensor that the sum makes.
    pub(crate) of: (u32, u32),
    pub(crate) letter: char,
    pub(crate) span: Span,
    pub(crate) size: u64,
}

impl Sums {
    pub(crate) fn one(terms: Terms) -> Self {
        let mut sums = Self([None; MOST_SUMS]);
        sums.0[0] = Some(terms);
        sums
    }

    pub(crate) fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.0.iter().flatten()
    }

    /// The sums of both; `None` when one is in both, or they are too many.
    pub(crate) fn with(mut self, other: Self) -> Option<Self> {
        for terms in other.terms() {
            if self.terms().any(|known| known.of == terms.of) {
                return None;
            }
            *self.0.iter_mut().find(|place| place.is_none())? = Some(*terms);
        }
        Some(self)
    }

    /// The same of a later segment.
    fn later(self, by: u32) -> Self {
        let later = |terms: Terms| Terms { of: (terms.of.0 + by, terms.of.1), ..terms };
        Self(self.0.map(|terms| terms.map(later)))
    }

    /// Whether these contributions, one of each card, add up.
    pub(crate) fn complete(all: &[Self]) -> bool {
        let Some(first) = all.first() else { return false };
        let number = |sums: &Self| sums.terms().count();
        let adds_up = |terms: &Terms| {
            let alike = |other: &&Terms| (other.of, other.letter, other.size) == (terms.of, terms.letter, terms.size);
            let same: Option<Vec<Span>> =
                all.iter().map(|sums| sums.terms().find(alike).map(|terms| terms.span)).collect();
            same.is_some_and(|spans| tile(spans, terms.size))
        };
        all.iter().all(|sums| number(sums) == number(first)) && first.terms().all(adds_up)
    }
}

/// Elements `start..end`; a copyable range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    pub(crate) fn of(size: u64) -> Self {
        Self { start: 0, end: size }
    }

    pub(crate) fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// In units of `atom`; `None` when it cuts one.
    pub(crate) fn in_atoms(self, atom: u64) -> Option<Self> {
        let whole = atom > 0 && self.start.is_multiple_of(atom) && self.end.is_multiple_of(atom);
        whole.then(|| Self { start: self.start / atom, end: self.end / atom })
    }

    /// Empty spans are alike wherever they stand.
    pub(crate) fn alike(self, other: Self) -> bool {
        self == other || (self.len() == 0 && other.len() == 0)
    }
}

impl Held {
    /// All columns are no cut.
    pub(crate) fn columns(span: Span, size: u64) -> Self {
        if span == Span::of(size) { Self::Whole } else { Self::Cut(span) }
    }

    /// The columns held of `size`; `None` for a part of the rows or the positions, and for what is to be added up or merged.
    pub(crate) fn span(self, size: u64) -> Option<Span> {
        match self {
            Self::Whole => Some(Span::of(size)),
            Self::Cut(span) => Some(span),
            Self::Rows(_)
            | Self::Partial(_)
            | Self::Dispatched(_)
            | Self::Routed(_)
            | Self::Positions(_)
            | Self::Unmerged(_) => None,
        }
    }

    /// Whether it means something by itself, so that a card that is not of its group can be given it.
    pub(crate) fn stands_alone(self) -> bool {
        !matches!(self, Self::Partial(_) | Self::Unmerged(_) | Self::Dispatched(_) | Self::Routed(_))
    }
}

impl Taken {
    /// The same of a later segment.
    fn later(self, by: u32) -> Self {
        Self { gates: (self.gates.0 + by, self.gates.1), ..self }
    }
}

impl Value {
    pub(crate) fn whole(segment: u32, tensor: u32) -> Self {
        Self { segment, tensor, held: Held::Whole }
    }

    pub(crate) fn with(self, held: Held) -> Self {
        Self { held, ..self }
    }

    /// The same of a later segment.
    pub(crate) fn later(self, by: u32) -> Self {
        let held = match self.held {
            Held::Partial(sums) => Held::Partial(sums.later(by)),
            Held::Dispatched(taken) => Held::Dispatched(taken.later(by)),
            Held::Routed(taken) => Held::Routed(taken.later(by)),
            held => held,
        };
        Self { segment: self.segment + by, held, ..self }
    }

    pub(crate) fn same_tensor(self, other: Self) -> bool {
        (self.segment, self.tensor) == (other.segment, other.tensor)
    }
}

/// Whether the spans are `0..size` cut in this order, empty ones anywhere.
pub(crate) fn tile_in_order(spans: impl IntoIterator<Item = Span>, size: u64) -> bool {
    let mut next = 0;
    for span in spans.into_iter().filter(|span| span.len() > 0) {
        if span.start != next {
            return false;
        }
        next = span.end;
    }
    next == size
}

/// Whether the spans cover `0..size` exactly once.
pub(crate) fn tile(spans: impl IntoIterator<Item = Span>, size: u64) -> bool {
    let mut sorted: Vec<Span> = spans.into_iter().collect();
    sorted.sort_unstable();
    tile_in_order(sorted, size)
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "experts {}..{} of {}", self.span.start, self.span.end, self.size)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("all of"),
            Self::Cut(span) => write!(f, "columns {}..{} of", span.start, span.end),
            Self::Rows(share) => write!(f, "rows {share} of"),
            Self::Dispatched(taken) => write!(f, "the rows for {taken} of"),
            Self::Routed(taken) => write!(f, "what {taken} add to"),
            Self::Positions(share) => write!(f, "positions {share} of"),
            Self::Unmerged(share) => write!(f, "the softmax over positions {share} of"),
            Self::Partial(sums) => {
                let terms = |terms: &Terms| format!("{}..{} of {}", terms.span.start, terms.span.end, terms.size);
                write!(f, "terms {} of", sums.terms().map(terms).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}
