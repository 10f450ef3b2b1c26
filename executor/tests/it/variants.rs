//! Kernels of models that are not Llama's against the same formulas in f64, through the device.

use crate::kernels::{attended, close, device, run, wide};
use crate::noise;
use sailplan_executor::{Buffer, Device, Kernel, Operand, Step, Weight};
use sailplan_ir::{Constant, DType, Dim, Op, Pairs, Scores};

const STEP: Step = Step { start: 5, tokens: 3 };

#[test]
fn head_norm() {
    let (x, gain) = (noise(3 * 40, 1), noise(8, 2));
    let expected: Vec<f64> = wide(&x)
        .chunks(8)
        .flat_map(|head| {
            let scale = 1.0 / (head.iter().map(|x| x * x).sum::<f64>() / 8.0 + f64::from(1e-5_f32)).sqrt();
            head.iter().zip(wide(&gain)).map(|(x, gain)| x * scale * gain).collect::<Vec<_>>()
        })
        .collect();
    close(&run(Op::HeadNorm { head_dim: 8, epsilon: Constant(1e-5) }, STEP, &[&x], &[&gain], 40), &expected);
}

/// GELU of ±1 by its definition, x·Φ(x), is 0.84134 and −0.15866; the approximation differs in the fourth place.
#[test]
fn geglu() {
    let (a, b) = (noise(3 * 10, 1), noise(3 * 10, 2));
    let gelu = |x: f64| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    let expected: Vec<f64> = wide(&a).into_iter().zip(wide(&b)).map(|(a, b)| gelu(a) * b).collect();
    close(&run(Op::GeGlu, STEP, &[&a, &b], &[], 10), &expected);
    assert!((gelu(1.0) - 0.841_34).abs() < 5e-4 && (gelu(-1.0) + 0.158_66).abs() < 5e-4);
}

#[test]
fn constants() {
    let x = noise(3 * 10, 1);
    let expected = |f: fn(f64) -> f64| wide(&x).into_iter().map(f).collect::<Vec<_>>();
    close(&run(Op::Scale { factor: Constant(2.5) }, STEP, &[&x], &[], 10), &expected(|x| x * 2.5));
    close(&run(Op::SoftCap { cap: Constant(0.5) }, STEP, &[&x], &[], 10), &expected(|x| (x / 0.5).tanh() * 0.5));
}

#[test]
fn rope_turns_halves_of_the_leading_part() {
    let x = noise(3 * 24, 1);
    let op = Op::Rope { head_dim: 8, rotary_dim: 6, base: Constant(1e4), pairs: Pairs::Halves };
    let mut expected = wide(&x);
    for (index, head) in expected.chunks_mut(8).enumerate() {
        for i in 0..3 {
            let angle = (5 + index / 3) as f64 * 1e4_f64.powf(-2.0 * i as f64 / 6.0);
            let (a, b) = (head[i], head[i + 3]);
            (head[i], head[i + 3]) = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos());
        }
    }
    close(&run(op, STEP, &[&x], &[], 24), &expected);
}

/// Attention of 6 query heads on 3 KV heads of 8 with a scale, a cap and a window, in f64.
fn attention(q: &[f64], k: &[f64], v: &[f64], (scale, cap, window): (f64, f64, usize)) -> Vec<f64> {
    let mut out = Vec::new();
    for (t, row) in q.chunks(48).enumerate() {
        for (head, query) in row.chunks(8).enumerate() {
            let at = |cache: &[f64], s: usize, i: usize| cache[s * 24 + head / 2 * 8 + i];
            let score = |s: usize| (0..8).map(|i| query[i] * at(k, s, i)).sum::<f64>() * scale;
            let seen: Vec<usize> = (0..=t).filter(|s| t - s < window).collect();
            let weights: Vec<f64> = seen.iter().map(|&s| ((score(s) / cap).tanh() * cap).exp()).collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..8).map(|i| seen.iter().zip(&weights).map(|(&s, w)| w * at(v, s, i)).sum::<f64>() / total));
        }
    }
    out
}

#[test]
fn attention_through_windows_with_caps_by_chunks_and_by_tokens() {
    let (q, k, v) = (noise(7 * 48, 1), noise(7 * 24, 2), noise(7 * 24, 3));
    for window in [1, 2, 3, 6, 7, 100] {
        let (scale, softcap) = (Some(Constant(0.75)), Some(Constant(0.5)));
        let scores = Scores { scale, softcap, window: Some(window) };
        let all = Step { start: 0, tokens: 7 };
        let whole = attended(&mut device(), (DType::F32, scores), all, [&q, &k, &v], 24);
        close(&whole, &attention(&wide(&q), &wide(&k), &wide(&v), (0.75, 0.5, window as usize)));
        let mut cpu = device();
        for t in 0..7_usize {
            let row = |values: &'_ [f32], width: usize| values[t * width..(t + 1) * width].to_vec();
            let rows = [&row(&q, 48)[..], &row(&k, 24), &row(&v, 24)];
            let one = attended(&mut cpu, (DType::F32, scores), Step { start: t as u64, tokens: 1 }, rows, 24);
            assert_eq!(one, whole[t * 48..(t + 1) * 48], "window {window}");
        }
    }
}

#[test]
fn a_gain_that_is_no_head_is_an_error() {
    let operand = |columns| Operand::Buffer(Buffer { offset: 0, rows: Dim::Tokens, columns });
    let weight = Weight { offset: 0, rows: 1, columns: 12, first_row: 0, dtype: DType::F32 };
    let op = Op::HeadNorm { head_dim: 8, epsilon: Constant(1e-5) };
    for (columns, weights) in [(16, vec![weight]), (16, vec![Weight { columns: 0, ..weight }]), (24, Vec::new())] {
        let kernel = Kernel {
            op,
            skip: 0,
            inputs: vec![operand(columns)],
            weights,
            output: operand(columns),
            beside: Vec::new(),
        };
        assert!(device().run(&kernel, STEP).is_err(), "{columns}");
    }
}
