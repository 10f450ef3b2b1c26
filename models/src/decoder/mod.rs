//! A decoder in numbers, and the checks on them that every front end shares. It knows neither files
//! nor keys: a flaw names a [`Field`], the front end says where that field stands.

mod build;
mod experts;
mod variant;

pub(crate) use build::graph;
pub(crate) use experts::{ExpertNumbers, Mixture};
pub(crate) use variant::Variant;

/// Most layers accepted; the deepest published decoder has 126.
pub(crate) const MAX_LAYERS: u64 = 4096;
/// Largest width of any axis. Two of them make 2^48 elements, the most `verify` accepts.
const MAX_WIDTH: u64 = 1 << 24;
const MAX_CONTEXT: u64 = 1 << 40;

/// A number of the model that a user can get wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    Hidden,
    Layers,
    Heads,
    KvHeads,
    HeadDim,
    RotaryDim,
    Ffn,
    Experts,
    ExpertsUsed,
    ExpertFfn,
    Renormalise,
    Vocab,
    Context,
    Epsilon,
    RopeBase,
    Window,
    GlobalEvery,
    ScoreCap,
    LogitCap,
    QueryScalar,
    Activation,
    Parallel,
}

/// What is wrong with a number.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) field: Field,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// A number that all layers share or that each layer has of its own.
#[derive(Clone, Debug)]
pub(crate) enum PerLayer {
    Same(u64),
    Each(Vec<u64>),
}

/// The numbers as a front end read them.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    pub(crate) hidden: u64,
    pub(crate) layers: u64,
    pub(crate) heads: PerLayer,
    pub(crate) kv_heads: PerLayer,
    pub(crate) ffn: PerLayer,
    pub(crate) experts: ExpertNumbers,
    /// Default: hidden / heads.
    pub(crate) head_dim: Option<u64>,
    /// Default: the whole head.
    pub(crate) rotary_dim: Option<u64>,
    pub(crate) vocab: u64,
    pub(crate) context: Option<u64>,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f32,
    pub(crate) variant: Variant,
}

/// Numbers that fit together.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    pub(crate) hidden: u64,
    pub(crate) vocab: u64,
    pub(crate) head_dim: u32,
    pub(crate) rotary_dim: u32,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f32,
    /// Longest context the model was trained for.
    pub(crate) context: Option<u64>,
    /// What all layers have instead of one feed-forward part.
    pub(crate) mixture: Option<Mixture>,
    pub(crate) variant: Variant,
    pub(crate) layers: Vec<LayerNumbers>,
}

/// Numbers of one layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerNumbers {
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    /// Of the feed-forward part, or of one expert.
    pub(crate) ffn: u64,
}

impl PerLayer {
    fn get(&self, layer: usize) -> u64 {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values.get(layer).copied().unwrap_or(0),
        }
    }

    fn values(&self) -> &[u64] {
        match self {
            Self::Same(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }
}

impl Numbers {
    /// The decoder, when the numbers fit together; else every flaw found.
    pub(crate) fn check(&self) -> Result<Decoder, Vec<Flaw>> {
        let mut flaws = Vec::new();
        self.check_ranges(&mut flaws);
        self.check_constants(&mut flaws);
        self.experts.check(&mut flaws);
        self.variant.check(self, &mut flaws);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        self.check_lengths(&mut flaws);
        self.check_heads(&mut flaws);
        match (flaws.is_empty(), self.decoder()) {
            (true, Some(decoder)) => Ok(decoder),
            (true, None) => Err(vec![flaw(Field::Heads, "the heads do not fit the model", "see the other sizes")]),
            (false, _) => Err(flaws),
        }
    }

    fn check_ranges(&self, flaws: &mut Vec<Flaw>) {
        let worst = |numbers: &PerLayer| {
            let mut values = numbers.values().iter().copied();
            values.find(|&value| value == 0 || value > MAX_WIDTH).unwrap_or(1)
        };
        for (field, word, value, most) in [
            (Field::Hidden, "the hidden size", self.hidden, MAX_WIDTH),
            (Field::Layers, "the number of layers", self.layers, MAX_LAYERS),
            (Field::Heads, "the number of heads", worst(&self.heads), MAX_WIDTH),
            (Field::KvHeads, "the number of KV heads", worst(&self.kv_heads), MAX_WIDTH),
            (Field::HeadDim, "the head size", self.head_dim.unwrap_or(1), MAX_WIDTH),
            (Field::RotaryDim, "the rotary size", self.rotary_dim.unwrap_or(1), MAX_WIDTH),
            (Field::Ffn, "the feed-forward size", worst(&self.ffn), MAX_WIDTH),
            (Field::Vocab, "the vocabulary", self.vocab, MAX_WIDTH),
            (Field::Context, "the context", self.context.unwrap_or(1), MAX_CONTEXT),
        ] {
            let hint = "give the number from the model's configuration";
            if value == 0 {
                flaws.push(flaw(field, format!("{word} is 0"), hint));
            } else if value > most {
                flaws.push(flaw(field, format!("{word} is {value}; at most {most} is accepted"), hint));
            }
        }
    }

    fn check_constants(&self, flaws: &mut Vec<Flaw>) {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            let message = format!("the epsilon of the norms is {}", self.epsilon);
            flaws.push(flaw(Field::Epsilon, message, "give a small positive number, such as 1e-5"));
        }
        if !(self.rope_base.is_finite() && self.rope_base > 0.0) {
            let message = format!("the base of the rotary frequencies is {}", self.rope_base);
            flaws.push(flaw(Field::RopeBase, message, "give a positive number, such as 10000.0"));
        }
    }

    fn check_lengths(&self, flaws: &mut Vec<Flaw>) {
        for (field, numbers) in [(Field::Heads, &self.heads), (Field::KvHeads, &self.kv_heads), (Field::Ffn, &self.ffn)]
        {
            if let PerLayer::Each(values) = numbers
                && values.len() as u64 != self.layers
            {
                let message = format!("there are {} numbers for {} layers", values.len(), self.layers);
                flaws.push(flaw(field, message, "give one number, or one for each layer"));
            }
        }
    }

    fn check_heads(&self, flaws: &mut Vec<Flaw>) {
        let (hidden, heads) = (self.hidden, self.heads.get(0).max(1));
        if self.head_dim.is_none() && !hidden.is_multiple_of(heads) {
            let message = format!("the hidden size {hidden} is not a multiple of {heads} heads");
            flaws.push(flaw(Field::Hidden, message, "correct one of them, or give the head size"));
            return;
        }
        let head_dim = self.head_size();
        let rotary_dim = self.rotary_dim.unwrap_or(head_dim);
        if !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
            let field = if self.rotary_dim.is_some() { Field::RotaryDim } else { Field::HeadDim };
            let message = format!("{rotary_dim} elements of a head of {head_dim} cannot rotate in pairs");
            flaws.push(flaw(field, message, "an even number up to the head size is needed"));
        }
        for layer in 0..self.layers as usize {
            if let Err(found) = self.check_layer(layer, head_dim) {
                flaws.push(found);
                return;
            }
        }
    }

    fn check_layer(&self, layer: usize, head_dim: u64) -> Result<(), Flaw> {
        let (heads, kv_heads) = (self.heads.get(layer), self.kv_heads.get(layer));
        if kv_heads > 0 && !heads.is_multiple_of(kv_heads) {
            let message = format!("{heads} heads cannot share {kv_heads} KV heads evenly");
            return Err(flaw(
                Field::KvHeads,
                message,
                "the number of heads must be a multiple of the number of KV heads",
            ));
        }
        if heads.saturating_mul(head_dim) > MAX_WIDTH {
            let message = format!("{heads} heads of {head_dim} are more than {MAX_WIDTH} elements");
            return Err(flaw(Field::Heads, message, "give the numbers from the model's configuration"));
        }
        Ok(())
    }

    fn head_size(&self) -> u64 {
        self.head_dim.unwrap_or_else(|| self.hidden / self.heads.get(0).max(1))
    }

    fn decoder(&self) -> Option<Decoder> {
        let head_dim = self.head_size();
        let layer = |index| {
            let (heads, kv_heads) = (self.heads.get(index), self.kv_heads.get(index));
            let (heads, kv_heads) = (u32::try_from(heads).ok()?, u32::try_from(kv_heads).ok()?);
            let ffn = self.experts.ffn.unwrap_or_else(|| self.ffn.get(index));
            Some(LayerNumbers { heads, kv_heads, ffn })
        };
        Some(Decoder {
            hidden: self.hidden,
            vocab: self.vocab,
            head_dim: u32::try_from(head_dim).ok()?,
            rotary_dim: u32::try_from(self.rotary_dim.unwrap_or(head_dim)).ok()?,
            epsilon: self.epsilon,
            rope_base: self.rope_base,
            context: self.context,
            mixture: self.experts.mixture(),
            variant: self.variant,
            layers: (0..self.layers as usize).map(layer).collect::<Option<_>>()?,
        })
    }
}

fn flaw(field: Field, message: impl Into<String>, hint: &str) -> Flaw {
    Flaw { field, message: message.into(), hint: hint.to_owned() }
}
