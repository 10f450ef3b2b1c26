//! What a replay refuses, one case each.

use super::model::WeightFile;
use super::tiny::{Case, Sizes};
use crate::cpu::Cpu;
use crate::replay::replay_on;
use crate::{ReplayError, Session};
use sailplan_codegen::Plan;
use sailplan_ir::{Bytes, DType, WeightIndex};

fn sizes() -> Sizes {
    Sizes { layers: 1, ..Sizes::default() }
}

/// The error of a session that is nearly right, by what is wrong with it.
fn refusal(name: &str, change: impl Fn(&mut Plan, &mut WeightIndex, &mut Session)) -> ReplayError {
    let file = WeightFile::new(&sizes(), name);
    let (mut plan, mut index) = (Case::alone(sizes()).plan(), file.index.clone());
    let mut session = Session::new(vec![1, 2, 3], 1);
    change(&mut plan, &mut index, &mut session);
    replay_on::<Cpu>(&plan, &index, &session).expect_err(name)
}

#[test]
fn tokens_must_fit() {
    let error = refusal("none", |_, _, session| session.tokens.clear());
    assert!(matches!(error, ReplayError::NoTokens));
    let error = refusal("unknown", |_, _, session| session.tokens[1] = 96);
    assert!(matches!(error, ReplayError::UnknownToken { token: 96, position: 1, vocabulary: 96 }));
    let error = refusal("many", |_, _, session| session.generate = 22);
    assert!(matches!(error, ReplayError::ContextExceeded { given: 3, generate: 22, context: 24 }));
    for prefill in [0, 4] {
        let error = refusal("range", |_, _, session| session.prefill = prefill);
        assert!(matches!(error, ReplayError::PrefillRange { given: 3, .. }));
    }
    let error = refusal("batch", |plan, _, _| plan.request.batch = 2);
    assert!(matches!(error, ReplayError::Batch { batch: 2 }));
}

const Q: &str = "blk.0.attn_q.weight";

#[test]
fn weights_must_be_the_plan_s() {
    let error = refusal("missing", |_, index, _| drop(index.tensors.remove(Q)));
    assert!(error.to_string().starts_with("weight `blk.0.attn_q.weight` is not in "), "{error}");
    let error = refusal("shape", |_, index, _| index.tensors.get_mut(Q).unwrap().dims = vec![256, 255]);
    assert_eq!(error.to_string(), "weight `blk.0.attn_q.weight` is [256, 255] in the file and [256, 256] in the plan");
    let error = refusal("dtype", |_, index, _| index.tensors.get_mut(Q).unwrap().dtype = DType::Q8_0);
    assert_eq!(error.to_string(), "weight `blk.0.attn_q.weight` is Q8_0 in the file and F32 in the plan");
    let error = refusal("unsupported", |plan, index, _| {
        index.tensors.get_mut(Q).unwrap().dtype = DType::IQ4_NL;
        plan.sails[0].weights.iter_mut().find(|weight| weight.name.contains("attn_q")).unwrap().dtype = DType::IQ4_NL;
    });
    assert_eq!(error.to_string(), "`blk.0.attn_q.weight` is IQ4_NL, which the cpu device cannot compute with");
}

#[test]
fn files_must_be_whole() {
    let error = refusal("unreadable", |_, index, _| index.files[0].push_str(".gone"));
    assert!(matches!(error, ReplayError::Unreadable { .. }), "{error}");
    let error = refusal("short", |_, index, _| index.tensors.get_mut(Q).unwrap().offset += 1 << 40);
    assert!(matches!(&error, ReplayError::Shortened { tensor, .. } if tensor == Q), "{error}");
}

#[test]
fn plans_must_fit_themselves() {
    let error = refusal("bytes", |plan, _, _| plan.sails[0].weights[1].bytes = Bytes(7));
    assert!(matches!(error, ReplayError::Malformed { .. }), "{error}");
    let error = refusal("arena", |plan, _, _| plan.sails[0].memory.weights = Bytes(4096));
    assert!(matches!(error, ReplayError::Device { .. }), "{error}");
    let error = refusal("cover", |plan, _, _| {
        plan.sails[0].prefill.instructions.pop();
    });
    assert!(matches!(error, ReplayError::LogitsCover { position: 2, expected: 96, found: 0 }), "{error}");
    let error = refusal("name", |plan, _, _| plan.sails[0].decode.buffers[0].name.push('?'));
    assert_eq!(error.to_string(), "sail0: nothing is called `x`");
}
