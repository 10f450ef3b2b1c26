//! One test binary: placements of whole models.

mod agree;
