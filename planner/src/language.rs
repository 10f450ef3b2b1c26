//! The e-graph's terms. A term denotes a family of local tensors, one per rank: operators act on each rank's tensors,
//! and slices and collectives are operators of their own. Axes stand in the operator's name, so that patterns are
//! ground in them and every rule has a name.

use egg::{Id, define_language};
use std::fmt;
use std::str::FromStr;

define_language! {
    /// A family of local tensors.
    pub(crate) enum Term {
        Leaf(LeafName),
        Slice(Slice, [Id; 1]),
        Gather(Gather, [Id; 1]),
        Scatter(Scatter, [Id; 1]),
        Merge(Merge, [Id; 1]),
        Collect(Collect, [Id; 1]),
        "all-reduce" = AllReduce([Id; 1]),
        "dispatch" = Dispatch([Id; 2]),
        "combine" = Combine([Id; 2]),
        Op(OpName, Vec<Id>),
    }
}

macro_rules! axis_name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) struct $name(pub(crate) u8);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                text.strip_prefix($prefix).and_then(|axis| axis.parse().ok()).map(Self).ok_or(())
            }
        }
    };
}
axis_name!(
    /// Each rank keeps its slice along an axis.
    Slice, "slice."
);
axis_name!(
    /// Concatenation of all ranks' tensors along an axis.
    Gather, "all-gather."
);
axis_name!(
    /// Sum over all ranks, each keeps its slice along an axis.
    Scatter, "reduce-scatter."
);

axis_name!(
    /// What all ranks' softmaxes merge to, each keeps its slice along an axis.
    Merge, "merge-scatter."
);

/// The value on the host: from one rank, or concatenated along an axis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Collect(pub(crate) Option<u8>);

impl fmt::Display for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(axis) => write!(f, "collect.{axis}"),
            None => f.write_str("collect"),
        }
    }
}
impl FromStr for Collect {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("collect").ok_or(())? {
            "" => Ok(Self(None)),
            axis => axis.strip_prefix('.').and_then(|axis| axis.parse().ok()).map(|axis| Self(Some(axis))).ok_or(()),
        }
    }
}

/// A leaf of the template; ordered by number, so that e-nodes have the same order on every machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LeafName(pub(crate) u32);

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}
impl FromStr for LeafName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix('%').and_then(|id| id.parse().ok()).map(Self).ok_or(())
    }
}

/// An operator of the template with its attributes: an index into the class's distinct operators.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct OpName(pub(crate) u16);

impl fmt::Display for OpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op@{}", self.0)
    }
}
impl FromStr for OpName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("op@").and_then(|id| id.parse().ok()).map(Self).ok_or(())
    }
}
