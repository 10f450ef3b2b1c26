//! A proof that a layer and a sharded program of it are equal: terms, and chains of steps from one term to the next. Types
//! and text only; who makes a proof and who checks it know nothing of each other.

use crate::TensorId;
use std::fmt;

/// The first line of a file of proofs.
pub const PROOF_HEADER: &str = "sailplan-proof 1";

/// What a term does with its operands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Head {
    /// An input, a weight or a cache of the template, whole on every rank.
    Leaf(TensorId),
    /// An operator of the template with its attributes.
    Op {
        /// Its name in the operator table.
        name: String,
        /// Its place among the template's distinct operators, in order of first use.
        index: u16,
    },
    /// Each rank keeps its slice along an axis.
    Slice(u8),
    /// All ranks' slices along an axis.
    AllGather(u8),
    /// The sum of all ranks' partial sums.
    AllReduce,
    /// The same, of which each rank keeps its slice along an axis.
    ReduceScatter(u8),
    /// The rows of all ranks' slices at the ranks with an expert that they take; the gates are the second operand.
    Dispatch,
    /// Each rank's slice of the rows of what all experts made together; the gates are the second operand.
    Combine,
    /// What all ranks' softmaxes merge to, of which each rank keeps its slice along an axis.
    MergeScatter(u8),
    /// The value on the host: from one rank, or all ranks' slices along an axis.
    Collect(Option<u8>),
}

/// A term over terms with smaller numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// What it does.
    pub head: Head,
    /// With which terms.
    pub operands: Vec<u32>,
}

/// One step from a term to an equal one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// An equation of the rule table, at the root of the term.
    Rule {
        /// Which one.
        name: String,
        /// Whether the term before is its left side; otherwise the term after is.
        forward: bool,
        /// The term after.
        gives: u32,
    },
    /// One operand is replaced by what a chain with a smaller number makes of it.
    Inside {
        /// Its position.
        operand: u32,
        /// The chain.
        chain: u32,
        /// The term after.
        gives: u32,
    },
}

impl Step {
    /// The term after.
    #[must_use]
    pub const fn gives(&self) -> u32 {
        match self {
            Self::Rule { gives, .. } | Self::Inside { gives, .. } => *gives,
        }
    }
}

/// Steps from one term to another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Chain {
    /// The first term.
    pub from: u32,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Chain {
    /// The last term.
    #[must_use]
    pub fn to(&self) -> u32 {
        self.steps.last().map_or(self.from, Step::gives)
    }
}

/// A proof: its last chain leads from the layer to the sharded program. What is used twice stands once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proof {
    /// Name of the layer class.
    pub class: String,
    /// The terms by number.
    pub terms: Vec<Term>,
    /// The chains by number.
    pub chains: Vec<Chain>,
}

impl Proof {
    /// The proof as one entry of a file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("class {:?}\n", self.class);
        for (number, term) in self.terms.iter().enumerate() {
            text.push_str(&format!("t{number} = {term}\n"));
        }
        for (number, chain) in self.chains.iter().enumerate() {
            text.push_str(&format!("c{number} from t{}\n", chain.from));
            chain.steps.iter().for_each(|step| text.push_str(&format!("  {step}\n")));
        }
        text
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(tensor) => write!(f, "%{}", tensor.0),
            Self::Op { name, index } => write!(f, "{name}@{index}"),
            Self::Slice(axis) => write!(f, "slice.{axis}"),
            Self::AllGather(axis) => write!(f, "all-gather.{axis}"),
            Self::AllReduce => f.write_str("all-reduce"),
            Self::ReduceScatter(axis) => write!(f, "reduce-scatter.{axis}"),
            Self::Dispatch => f.write_str("dispatch"),
            Self::Combine => f.write_str("combine"),
            Self::MergeScatter(axis) => write!(f, "merge-scatter.{axis}"),
            Self::Collect(None) => f.write_str("collect"),
            Self::Collect(Some(axis)) => write!(f, "collect.{axis}"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        self.operands.iter().try_for_each(|operand| write!(f, " t{operand}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { name, forward: true, gives } => write!(f, "{name} -> t{gives}"),
            Self::Rule { name, forward: false, gives } => write!(f, "{name} <- t{gives}"),
            Self::Inside { operand, chain, gives } => write!(f, "operand {operand} by c{chain} -> t{gives}"),
        }
    }
}
