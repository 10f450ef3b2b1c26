//! Checked values: `Verified<T>` is made only here, and the next stage accepts only that.

mod fleet;
mod graph;
mod layout;
mod model;
mod request;

pub use layout::{check_layouts, layout_after};

use crate::Diagnostics;
use std::ops::Deref;

/// A value whose invariants hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A noun with invariants.
pub trait Verify: Sized {
    /// Every broken invariant.
    fn problems(&self) -> Diagnostics;

    /// The checked value.
    ///
    /// # Errors
    /// All broken invariants.
    fn verify(self) -> Result<Verified<Self>, Diagnostics> {
        self.problems().into_result(()).map(|()| Verified(self))
    }
}
