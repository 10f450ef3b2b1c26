//! The closed list of operators and its table of facts. Sharding rules, prices, printing, checking and the plan
//! verifier read the same row; a new operator is one row here, one kernel and one case.

use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// A finite constant of the model that is compared bit for bit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Constant(pub f32);

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for Constant {}
impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// Which elements of a head rotate together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Pairs {
    /// 2i and 2i + 1, as Su et al. 2021.
    #[default]
    Adjacent,
    /// i and i + rotary_dim / 2, as GPT-NeoX (Black et al. 2022).
    Halves,
}

impl Pairs {
    /// Whether they are the paper's; such an operator's text does not name them.
    #[must_use]
    pub fn adjacent(&self) -> bool {
        *self == Self::Adjacent
    }
}

/// How attention makes its scores where they are not `q·kᵀ/√head_dim` over every position so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// What `q·kᵀ` is multiplied by instead of `1/√head_dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Constant>,
    /// A scaled score s becomes `cap · tanh(s / cap)` (Gemma Team 2024, arXiv 2408.00118).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<Constant>,
    /// Positions that a token sees, itself included (Beltagy et al. 2020, sliding window).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

impl Scores {
    /// The scores of Vaswani et al. 2017.
    pub const PLAIN: Self = Self { scale: None, softcap: None, window: None };

    /// Whether they are plain; such an operator's text does not name them.
    #[must_use]
    pub fn plain(&self) -> bool {
        *self == Self::PLAIN
    }
}

/// An operator with the attributes that every shard of it keeps. Axes are positional; the letters in each comment
/// are the *domains* of the table row: equal letters are cut alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Rows of a table: tokens `t`, table `vd` → `td`.
    Embed,
    /// `x / sqrt(mean(x²) + epsilon) · gain` over the last axis: `td`, gain `d` → `td`. (Zhang & Sennrich 2019.)
    RmsNorm {
        /// Added to the mean square.
        epsilon: Constant,
    },
    /// Matrix product with a weight stored by output rows: `tk`, `nk` → `tn`.
    Linear,
    /// Adds a vector to each row: `tn`, `n` → `tn`.
    Bias,
    /// [`Self::RmsNorm`] of each head by itself, one gain for all heads: `th`, gain `r` → `th`.
    HeadNorm {
        /// Elements of a head.
        head_dim: u32,
        /// Added to the mean square.
        epsilon: Constant,
    },
    /// Rotary position embedding on pairs of each head's elements (Su et al. 2021): `th` → `th`; an optional second
    /// operand divides each pair's frequency.
    Rope {
        /// Elements of a head.
        head_dim: u32,
        /// Leading elements of each head that rotate.
        rotary_dim: u32,
        /// Base of the frequencies, 10000 in the paper.
        base: Constant,
        /// Which elements are a pair.
        #[serde(default, skip_serializing_if = "Pairs::adjacent")]
        pairs: Pairs,
    },
    /// Appends the new tokens' rows to a cache: `sh`, `th` → `sh`.
    KvAppend {
        /// Elements of a head.
        head_dim: u32,
    },
    /// Causal grouped-query attention, `softmax(q·kᵀ/√head_dim)·v`: `th`, `sg`, `sg` → `th`. The query axis holds
    /// `heads × head_dim` elements, the others `kv_heads × head_dim`; `heads / kv_heads` query heads read one KV head.
    Attention {
        /// Query heads of the whole layer.
        heads: u32,
        /// Key-value heads of the whole layer.
        kv_heads: u32,
        /// Elements of a head.
        head_dim: u32,
        /// How the scores are made.
        #[serde(default, skip_serializing_if = "Scores::plain")]
        scores: Scores,
    },
    /// `silu(gate) · up` (Shazeer 2020): `tf`, `tf` → `tf`.
    SwiGlu,
    /// `gelu(gate) · up` with `gelu(x) = x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))` (Hendrycks & Gimpel 2016; Shazeer
    /// 2020): `tf`, `tf` → `tf`.
    GeGlu,
    /// [`Self::SwiGlu`] of two products with one x, neither of which is written: x `tk`, then `nk`, `nk` → `tn`.
    LinearSwiGlu,
    /// [`Self::GeGlu`] of two products in the same way: x `tk`, then `nk`, `nk` → `tn`.
    LinearGeGlu,
    /// Multiplies by a constant: `td` → `td`.
    Scale {
        /// The constant.
        factor: Constant,
    },
    /// `cap · tanh(x / cap)`: `tn` → `tn`.
    SoftCap {
        /// What no result exceeds.
        cap: Constant,
    },
    /// Sum of two equal shapes: `td`, `td` → `td`.
    Add,
    /// How much of each expert a token takes, from the router's logits: `te` → `te`. The softmax over all experts; the
    /// `used` largest stay (of equals the lower expert), the others become 0. As `build_moe_ffn` of llama.cpp, which
    /// renormalises for `llama` and `qwen3moe`; that equals the softmax of the chosen logits (Jiang et al. 2024).
    Route {
        /// Experts that a token takes.
        used: u32,
        /// Whether those that stay are divided by their sum.
        renormalise: bool,
    },
    /// A gated feed-forward part of many experts, `Σ_e gates[t,e] · down_e(silu(gate_e·x) ∘ up_e·x)` (Shazeer et al. 2017;
    /// 2020): x `tk`, gates `te`, then the experts' matrices one behind the other, `efk`, `efk`, `edf` → `td`.
    Experts {
        /// Experts of the whole layer.
        experts: u32,
        /// Experts that a token takes: all other gates are 0.
        used: u32,
    },
    /// The rows whose logits are wanted (the last token of each sequence): `td` → `od`.
    LastToken,
}

/// What stands behind the elements of each head of a softmax over some positions: the highest score, and the sum of the weights
/// (Milakov & Gimelshein 2018, arXiv 1805.02867).
pub const SOFTMAX_FIGURES: u64 = 2;

/// One row of the operator table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name in text forms and in rules.
    pub name: &'static str,
    /// Domain letters, one per axis: `inputs->output`; an input after `?` is optional.
    pub signature: &'static str,
    /// Output letters along which the operator may be cut: each part needs only its part of the operands. Rows, the letter `t`,
    /// stand here where each is worked out by itself, wherever it stands, and cutting them has a use.
    pub split: &'static str,
    /// Summed letters: a part over a slice of them is a partial sum.
    pub contract: &'static str,
    /// A pair `(s, h)`: a part over a slice of the summed letter `s` is, for each atom of `h`, the softmax over that slice, from
    /// which that over all is merged.
    pub merge: Option<(char, char)>,
    /// Pairs `(g, h)`: a part over a slice of `h` needs of `g` only what covers it, which parts may have in common.
    pub covers: Option<(char, char)>,
    /// Inputs in which the operator is linear, taken together: of partial sums it makes a partial sum.
    pub linear: &'static [usize],
}

impl Op {
    /// The facts about this operator.
    #[must_use]
    pub const fn row(self) -> Row {
        let (name, signature, split, contract) = match self {
            Self::Embed => ("embed", "t,vd->td", "d", "v"),
            Self::RmsNorm { .. } => ("rms_norm", "td,d->td", "t", ""),
            Self::Linear => ("linear", "tk,nk->tn", "n", "k"),
            Self::Bias => ("bias", "tn,n->tn", "n", ""),
            Self::HeadNorm { .. } => ("head_norm", "th,r->th", "h", ""),
            Self::Rope { .. } => ("rope", "th,?r->th", "h", ""),
            Self::KvAppend { .. } => ("kv_append", "sh,th->sh", "hs", ""),
            Self::Attention { .. } => ("attention", "th,sg,sg->th", "h", ""),
            Self::SwiGlu => ("swiglu", "tf,tf->tf", "f", ""),
            Self::GeGlu => ("geglu", "tf,tf->tf", "f", ""),
            Self::LinearSwiGlu => ("linear_swiglu", "tk,nk,nk->tn", "n", ""),
            Self::LinearGeGlu => ("linear_geglu", "tk,nk,nk->tn", "n", ""),
            Self::Scale { .. } => ("scale", "td->td", "d", ""),
            Self::SoftCap { .. } => ("soft_cap", "tn->tn", "n", ""),
            Self::Add => ("add", "td,td->td", "td", ""),
            Self::Route { .. } => ("route", "te->te", "", ""),
            Self::Experts { .. } => ("experts", "tk,te,efk,efk,edf->td", "d", "ef"),
            Self::LastToken => ("last_token", "td->od", "d", ""),
        };
        let attends = matches!(self, Self::Attention { .. });
        let covers = if attends { Some(('g', 'h')) } else { None };
        let merge = if attends { Some(('s', 'h')) } else { None };
        let linear: &[usize] = match self {
            Self::Add => &[0, 1],
            Self::Linear | Self::Scale { .. } | Self::LastToken => &[0],
            _ => &[],
        };
        Row { name, signature, split, contract, merge, covers, linear }
    }

    /// Elements that must stay together along an axis that carries letter `h` or `g`: a head. 1 for every other letter.
    #[must_use]
    pub fn atom(self, letter: char) -> u64 {
        match self {
            Self::HeadNorm { head_dim, .. } | Self::Rope { head_dim, .. } | Self::KvAppend { head_dim }
                if letter == 'h' =>
            {
                u64::from(head_dim)
            }
            Self::Attention { head_dim, .. } if matches!(letter, 'g' | 'h') => u64::from(head_dim),
            _ => 1,
        }
    }

    /// Atoms of the covered letter for each atom of the one that covers it: query heads that read one KV head.
    #[must_use]
    pub fn covered_by_each(self) -> u64 {
        match self {
            Self::Attention { heads, kv_heads, .. } => u64::from(heads / kv_heads.max(1)).max(1),
            _ => 1,
        }
    }

    /// Columns of a part over a slice of a merged letter, where the result has so many: beside the elements of each head, its
    /// highest score and the sum of its weights.
    #[must_use]
    pub fn unmerged(self, columns: u64) -> u64 {
        match self {
            Self::Attention { head_dim, .. } => {
                let heads = columns / u64::from(head_dim.max(1));
                columns.saturating_add(heads.saturating_mul(SOFTMAX_FIGURES))
            }
            _ => columns,
        }
    }

    /// Positions that a token sees at most, where they are not all.
    #[must_use]
    pub const fn window(self) -> Option<u32> {
        match self {
            Self::Attention { scores, .. } => scores.window,
            _ => None,
        }
    }

    /// Whether the cache operand of this operator is read in full and written by one row a token.
    #[must_use]
    pub const fn appends(self) -> bool {
        matches!(self, Self::KvAppend { .. })
    }
}

/// Which tensor of an operator application is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// The input with this position.
    Input(usize),
    /// The one output.
    Output,
}

impl Row {
    /// Letters of each input, with whether it is optional.
    pub fn inputs(self) -> impl Iterator<Item = (&'static str, bool)> {
        let (inputs, _) = self.signature.split_once("->").unwrap_or((self.signature, ""));
        inputs.split(',').map(|letters| match letters.strip_prefix('?') {
            Some(rest) => (rest, true),
            None => (letters, false),
        })
    }

    /// Letters of the output.
    #[must_use]
    pub fn output(self) -> &'static str {
        self.signature.split_once("->").map_or("", |parts| parts.1)
    }

    /// Letters of one operand; empty when it does not exist.
    #[must_use]
    pub fn letters(self, operand: Operand) -> &'static str {
        match operand {
            Operand::Input(index) => self.inputs().nth(index).map_or("", |input| input.0),
            Operand::Output => self.output(),
        }
    }

    /// The axis of an operand that is cut when a letter is: the letter's own, or that of one that covers it.
    #[must_use]
    pub fn cut_axis(self, operand: Operand, letter: char) -> Option<usize> {
        let cover = self.covers.filter(|&(_, covered)| covered == letter).map(|(cover, _)| cover);
        self.letters(operand).chars().position(|other| other == letter || Some(other) == cover)
    }

    /// Least and greatest number of inputs.
    #[must_use]
    pub fn arity(self) -> (usize, usize) {
        (self.inputs().filter(|input| !input.1).count(), self.inputs().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Op = Op::Attention { heads: 8, kv_heads: 2, head_dim: 4, scores: Scores::PLAIN };

    #[test]
    fn rows_parse() {
        let row = Op::Rope { head_dim: 4, rotary_dim: 4, base: Constant(1e4), pairs: Pairs::Adjacent }.row();
        assert_eq!(row.arity(), (1, 2));
        assert_eq!(row.letters(Operand::Input(1)), "r");
        assert_eq!(HEADS.row().letters(Operand::Output), "th");
    }

    #[test]
    fn split_and_contract_letters_stand_in_the_signature() {
        let experts = Op::Experts { experts: 8, used: 2 };
        let route = Op::Route { used: 2, renormalise: true };
        let norm = Op::HeadNorm { head_dim: 4, epsilon: Constant(0.0) };
        let (scale, cap) = (Op::Scale { factor: Constant(2.0) }, Op::SoftCap { cap: Constant(2.0) });
        let plain = [Op::Embed, Op::Linear, Op::Bias, HEADS, Op::SwiGlu, Op::GeGlu, Op::Add, Op::LastToken];
        let fused = [Op::LinearSwiGlu, Op::LinearGeGlu];
        for op in plain.into_iter().chain([route, experts, norm, scale, cap]).chain(fused) {
            let row = op.row();
            assert!(row.split.chars().all(|letter| row.output().contains(letter)), "{}", row.name);
            assert!(row.contract.chars().all(|letter| !row.output().contains(letter)), "{}", row.name);
            let merges = |(summed, each)| !row.output().contains(summed) && row.split.contains::<char>(each);
            assert!(row.merge.is_none_or(merges), "{}", row.name);
        }
    }

    #[test]
    fn an_atom_is_a_head() {
        assert_eq!((HEADS.atom('h'), HEADS.atom('g'), HEADS.atom('t')), (4, 4, 1));
        assert_eq!(HEADS.covered_by_each(), 4);
        assert_eq!((HEADS.unmerged(32), Op::Add.unmerged(32)), (48, 32));
    }
}
