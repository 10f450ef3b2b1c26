//! The nouns of sailplan: what every stage passes on. Values in, values out; no files, no clocks, no devices.
//!
//! Reading order: [`Op`] and its table, [`Graph`], [`Model`]; [`Fleet`] and [`Request`]; [`Domains`] and [`Form`];
//! [`Placement`]; [`Verified`].

mod activations;
mod arena;
mod collective;
mod delivery;
mod diagnostic;
mod domain;
mod dtype;
mod estimate;
mod fleet;
mod frame;
mod fused;
mod graph;
mod id;
mod joint;
mod model;
mod op;
mod pin;
mod placement;
mod positions;
mod program;
mod proof;
mod rate;
mod request;
mod rounds;
mod route;
mod routing;
mod row_share;
mod schedule;
mod service;
mod shards;
mod share;
mod text;
mod units;
mod verify;
mod weights;

pub use activations::{
    ActivationNeed, Activations, Home, LocalBuffer, RankView, StageActivations, arriving, stage_activations,
};
pub use arena::{Lifetime, assign};
pub use collective::{Algorithm, Chunks, CollectiveKind, Message, Pattern, Step, Use, even_chunk};
pub use delivery::Delivery;
pub use diagnostic::{At, Diagnostic, Diagnostics, Place};
pub use domain::{Domains, Partition, lcm};
pub use dtype::DType;
pub use estimate::{Certificate, Estimate, MemoryUse, Resources, Status, Sustain};
pub use fleet::{
    Attachment, Coding, Compute, Duplex, Edge, Fleet, Host, Link, LinkState, Links, SailKind, SailRun,
    Wire as FleetWire,
};
pub use frame::{Celsius, Derivation, Frame, Heat, Replay};
pub use graph::{Dim, Extents, Graph, Node, Role, Tensor};
pub use id::{ClassId, DomainId, NodeId, SailId, TensorId, ValueId};
pub use model::{LayerClass, Model, Segment};
pub use op::{Constant, Op, Operand, Pairs, Row, SOFTMAX_FIGURES, Scores};
pub use pin::{Demand, Part, Pin, matches_pattern};
pub use placement::{Choice, Hop, Load, Placement, Price, Stage, Streamed};
pub use positions::{PositionShare, PositionShareError};
pub use program::{Action, Form, Instruction, Layout, Program, block_granule};
pub use proof::{Chain, Head, PROOF_HEADER, Proof, Step as ProofStep, Term};
pub use rate::Rate;
pub use request::{Objective, Request, Wire};
pub use rounds::{Round, Traffic};
pub use route::Routes;
pub use routing::Routing;
pub use row_share::{RowShare, RowShareError};
pub use shards::{Shard, shards};
pub use share::{Share, ShareError};
pub use text::{class_text, form_text, model_text, placement_text};
pub use units::{BitsPerSecond, Bytes, BytesPerSecond, FlopsPerSecond, Picoseconds, QuantityError};
pub use verify::{Verified, Verify, check_layouts, layout_after};
pub use weights::{WeightEntry, WeightIndex};
