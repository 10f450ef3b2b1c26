//! The numbers of a mixture of experts, and what can be wrong with them.

use super::{Field, Flaw, MAX_WIDTH, flaw};

/// Most experts of a layer; llama.cpp accepts 512.
const MAX_EXPERTS: u64 = 1024;

/// The numbers as a front end read them; none of them for a dense model.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExpertNumbers {
    pub(crate) count: Option<u64>,
    pub(crate) used: Option<u64>,
    /// Width of one expert. Default: the model's feed-forward width.
    pub(crate) ffn: Option<u64>,
    /// Whether the gates of the chosen experts are made to add up to 1. Default: they are.
    pub(crate) renormalise: Option<bool>,
}

/// Experts that fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mixture {
    pub(crate) experts: u32,
    pub(crate) used: u32,
    pub(crate) renormalise: bool,
}

impl ExpertNumbers {
    pub(crate) fn check(&self, flaws: &mut Vec<Flaw>) {
        match (self.count, self.used) {
            (None, _) => self.check_dense(flaws),
            (Some(count), _) if count == 0 || count > MAX_EXPERTS => {
                let message = format!("the number of experts is {count}; 1 to {MAX_EXPERTS} are accepted");
                flaws.push(flaw(Field::Experts, message, "give the number from the model's configuration"));
            }
            (Some(count), None) => {
                let message = format!("there are {count} experts, and nothing says how many a token takes");
                flaws.push(flaw(Field::Experts, message, "give the number of experts used as well"));
            }
            (Some(count), Some(used)) if used == 0 || used > count => {
                let message = format!("a token cannot take {used} of {count} experts");
                flaws.push(flaw(Field::ExpertsUsed, message, "give a number from 1 to the number of experts"));
            }
            _ => {}
        }
        if let Some(ffn) = self.ffn.filter(|&ffn| ffn == 0 || ffn > MAX_WIDTH) {
            let message = format!("the width of an expert is {ffn}; 1 to {MAX_WIDTH} are accepted");
            flaws.push(flaw(Field::ExpertFfn, message, "give the number from the model's configuration"));
        }
    }

    /// A dense model says nothing of experts.
    fn check_dense(&self, flaws: &mut Vec<Flaw>) {
        for (field, given, what) in [
            (Field::ExpertsUsed, self.used.is_some(), "how many experts a token takes"),
            (Field::ExpertFfn, self.ffn.is_some(), "how wide an expert is"),
            (Field::Renormalise, self.renormalise.is_some(), "how the gates of experts are made"),
        ] {
            if given {
                let message = format!("the model says {what}, and not that it has experts");
                flaws.push(flaw(field, message, "give the number of experts, or remove this"));
            }
        }
    }

    pub(crate) fn mixture(&self) -> Option<Mixture> {
        let (experts, used) = (u32::try_from(self.count?).ok()?, u32::try_from(self.used?).ok()?);
        Some(Mixture { experts, used, renormalise: self.renormalise.unwrap_or(true) })
    }
}
