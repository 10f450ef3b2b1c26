//! What attention through a window reads: the exact mean over the tokens that are generated, and over the chunks of a prompt.

use sailplan_cost_model::{CostModel, Local, Phase, parse_fleet, shipped_fleet, work};
use sailplan_ir::{Constant, DType, Op, Request, Scores, Verify};

fn attention(window: Option<u32>, softcap: Option<Constant>) -> Op {
    Op::Attention { heads: 4, kv_heads: 2, head_dim: 8, scores: Scores { window, softcap, scale: None } }
}

/// Positions read per step, by adding up every step and every chunk.
fn counted(request: &Request, window: u64) -> (u64, u64) {
    let steps = (1..=request.generate).map(|step| (request.prompt + step).min(window));
    let chunks = request.chunks();
    let tokens = request.prompt.div_ceil(chunks);
    // Ends are kept as multiples of 1 / chunks.
    let ends = (1..=chunks).map(|chunk| (chunk * request.prompt).min((window + tokens - 1) * chunks));
    (steps.sum::<u64>().div_ceil(request.generate), ends.sum::<u64>().div_ceil(chunks * chunks))
}

#[test]
fn windows_read_the_exact_mean_of_positions() {
    let fleet = parse_fleet("fleet", shipped_fleet("innerjib7ea-x1").unwrap()).unwrap();
    for (prompt, generate, chunk) in [(512, 128, 512), (100, 400, 512), (1000, 3, 300), (5, 1, 1), (4096, 700, 512)] {
        let request = Request { prompt, generate, chunk, context: 8192, ..Request::default() }.verify().unwrap();
        let costs = CostModel::new(&fleet, &request);
        let plain = [Phase::Decode, Phase::Prefill].map(|phase| costs.extents(phase));
        for window in [1_u32, 2, 64, 100, 513, 576, 640, 4096, 1 << 20, u32::MAX] {
            let seen =
                [Phase::Decode, Phase::Prefill].map(|phase| costs.extents_of(phase, attention(Some(window), None)));
            let case = format!("{prompt} {generate} {chunk} {window}");
            assert_eq!((seen[0].context, seen[1].context), counted(&request, window.into()), "{case}");
            assert_eq!((seen[0].tokens, seen[1].tokens), (plain[0].tokens, plain[1].tokens), "{case}");
            if u64::from(window) >= prompt + generate {
                assert_eq!(seen, plain, "{case}: a window over everything is none");
            }
        }
        assert_eq!(costs.extents_of(Phase::Decode, attention(None, None)), plain[0]);
    }
}

/// Contexts of all sequences count.
#[test]
fn windows_are_of_each_sequence() {
    let fleet = parse_fleet("fleet", shipped_fleet("innerjib7ea-x1").unwrap()).unwrap();
    let request = Request { batch: 3, ..Request::default() }.verify().unwrap();
    let costs = CostModel::new(&fleet, &request);
    assert_eq!(costs.extents_of(Phase::Decode, attention(Some(100), None)).context, 300);
}

/// 32 elements and 10 positions: 4 · 32 · 10 for the products; a cap takes 3 for each of 4 · 10 scores.
#[test]
fn caps_are_computed() {
    let local = |rows: u64, columns: u64| Local { axes: vec![rows, columns], dtype: DType::F32 };
    let flops = |cap| {
        let inputs = [local(1, 32), local(10, 16), local(10, 16)];
        work(attention(None, cap), &inputs, &local(1, 32)).flops
    };
    assert_eq!((flops(None), flops(Some(Constant(50.0)))), (1280, 1280 + 120));
    let x = local(2, 8);
    assert_eq!(work(Op::SoftCap { cap: Constant(1.0) }, std::slice::from_ref(&x), &x).flops, 48);
    assert_eq!(work(Op::Scale { factor: Constant(1.0) }, std::slice::from_ref(&x), &x).flops, 16);
    assert_eq!(work(Op::GeGlu, &[x.clone(), x.clone()], &x).flops, 160);
    let norm = Op::HeadNorm { head_dim: 4, epsilon: Constant(0.0) };
    assert_eq!(work(norm, &[x.clone(), local(1, 4)], &x).flops, 64);
}
