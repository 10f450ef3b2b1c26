//! Typed ids, so that no bare number crosses a function boundary. They print as the text form writes them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The dense index of this id.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// One accelerator card of a fleet, counted from 0 in the fleet's link order.
    SailId, u16, "sail"
);
id!(
    /// One tensor of a graph.
    TensorId, u32, "%"
);
id!(
    /// One operator application of a graph.
    NodeId, u32, "n"
);
id!(
    /// One set of segments with the same structure and sizes.
    ClassId, u32, "class"
);
id!(
    /// One partitionable extent inside a layer class: KV-head groups, FFN columns, vocabulary, hidden width.
    DomainId, u32, "dom"
);
id!(
    /// One value (a family of local tensors) of a sharded program.
    ValueId, u32, "v"
);
