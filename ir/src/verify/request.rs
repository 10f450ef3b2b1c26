//! Invariants of a request.

use crate::{DType, Diagnostic, Diagnostics, Objective, Request, Verify};

/// Largest count a request may name: beyond it products of sizes lose meaning.
const LIMIT: u64 = 1 << 32;

impl Verify for Request {
    fn problems(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let counts = [
            ("prompt", self.prompt, 1),
            ("generate", self.generate, 0),
            ("batch", self.batch, 1),
            ("context", self.context, 1),
            ("ubatch", self.chunk, 1),
            ("in-flight", self.in_flight, 1),
        ];
        for (name, value, least) in counts {
            if !(least..=LIMIT).contains(&value) {
                let message = format!("--{name} is {value}, expected {least} to {LIMIT}");
                problems.push(Diagnostic::new(message));
            }
        }
        let needed = self.prompt.saturating_add(self.generate);
        if problems.0.is_empty() && needed > self.context {
            let message =
                format!("prompt {} + generate {} exceed the context of {}", self.prompt, self.generate, self.context);
            problems.push(Diagnostic::new(message).hint(format!("--context {needed}")));
        }
        if self.in_flight > 1 && self.objective != Objective::Throughput {
            let message = format!("{} requests in flight, and the objective is {}", self.in_flight, self.objective);
            problems.push(Diagnostic::new(message).hint("--objective throughput"));
        }
        if !matches!(self.cache, DType::F32 | DType::F16) {
            problems.push(
                Diagnostic::new(format!("caches of type {} are not supported", self.cache)).hint("--kv f32 or f16"),
            );
        }
        problems
    }
}
