//! Kernels without large weights against the same formulas in f64, through the device.

use crate::noise;
use sailplan_executor::{Arenas, Buffer, Cache, Cpu, Device, Kernel, Operand, Step, Weight};
use sailplan_ir::{Bytes, Constant, DType, Dim, Op, Pairs, PositionShare, Scores};

/// A device with room for everything these tests do.
pub(crate) fn device() -> Cpu {
    let mut cpu = Cpu::default();
    let size = Bytes(1 << 22);
    cpu.allocate(Arenas { weights: size, kv: size, activations: size }).expect("memory");
    cpu
}

/// A buffer of its own for each `place`.
pub(crate) fn buffer(place: u64, columns: u64) -> Buffer {
    Buffer { offset: place << 16, rows: Dim::Tokens, columns }
}

/// Runs `op` on buffers with these values, `tokens` rows each, and vectors as weights.
pub(crate) fn run(op: Op, step: Step, inputs: &[&[f32]], vectors: &[&[f32]], columns: u64) -> Vec<f32> {
    let mut cpu = device();
    let rows = if op == Op::LastToken { Dim::Outputs } else { Dim::Tokens };
    let output = Buffer { rows, ..buffer(0, columns) };
    let mut kernel = Kernel {
        op,
        skip: 0,
        inputs: Vec::new(),
        weights: Vec::new(),
        output: Operand::Buffer(output),
        beside: Vec::new(),
    };
    for (place, values) in (1..).zip(inputs) {
        let operand = buffer(place, values.len() as u64 / step.tokens);
        cpu.write(operand, step, values).expect("fits");
        kernel.inputs.push(Operand::Buffer(operand));
    }
    for (place, values) in (0..).zip(vectors) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns = values.len() as u64;
        cpu.load(place << 16, &bytes).expect("fits");
        kernel.weights.push(Weight { offset: place << 16, rows: 1, columns, first_row: 0, dtype: DType::F32 });
    }
    cpu.run(&kernel, step).expect("a result");
    cpu.read(output, step).expect("fits")
}

pub(crate) fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 2e-6 * expected.abs().max(1.0), "{found} {expected}");
    }
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

const STEP: Step = Step { start: 5, tokens: 3 };

#[test]
fn rms_norm() {
    let (x, gain) = (noise(3 * 40, 1), noise(40, 2));
    let expected: Vec<f64> = wide(&x)
        .chunks(40)
        .flat_map(|row| {
            let scale = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / 40.0 + f64::from(1e-5_f32)).sqrt();
            row.iter().zip(wide(&gain)).map(|(x, gain)| x * scale * gain).collect::<Vec<_>>()
        })
        .collect();
    close(&run(Op::RmsNorm { epsilon: Constant(1e-5) }, STEP, &[&x], &[&gain], 40), &expected);
}

#[test]
fn elementwise() {
    let (a, b, vector) = (noise(3 * 10, 1), noise(3 * 10, 2), noise(10, 3));
    let pairs = |f: fn(f64, f64) -> f64| wide(&a).into_iter().zip(wide(&b)).map(|(a, b)| f(a, b)).collect::<Vec<_>>();
    close(&run(Op::Add, STEP, &[&a, &b], &[], 10), &pairs(|a, b| a + b));
    close(&run(Op::SwiGlu, STEP, &[&a, &b], &[], 10), &pairs(|a, b| a / (1.0 + (-a).exp()) * b));
    let biased: Vec<f64> = wide(&a).into_iter().enumerate().map(|(i, a)| a + f64::from(vector[i % 10])).collect();
    close(&run(Op::Bias, STEP, &[&a], &[&vector], 10), &biased);
    close(&run(Op::LastToken, STEP, &[&a], &[], 10), &wide(&a[20..]));
}

#[test]
fn rope_turns_adjacent_pairs_of_the_leading_part() {
    let (x, divisors) = (noise(3 * 24, 1), [1.0, 2.0, 8.0]);
    let op = Op::Rope { head_dim: 8, rotary_dim: 6, base: Constant(1e4), pairs: Pairs::Adjacent };
    let mut expected = wide(&x);
    for (index, pair) in expected.chunks_mut(2).enumerate().filter(|(index, _)| index % 4 < 3) {
        let (position, i) = (5 + index / 12, index % 4);
        let angle = position as f64 * 1e4_f64.powf(-2.0 * i as f64 / 6.0) / f64::from(divisors[i]);
        (pair[0], pair[1]) =
            (pair[0] * angle.cos() - pair[1] * angle.sin(), pair[0] * angle.sin() + pair[1] * angle.cos());
    }
    close(&run(op, STEP, &[&x], &[&divisors], 24), &expected);
}

/// Feeds `tokens` rows of keys and values from `step.start` on, then attends.
pub(crate) fn attended(
    cpu: &mut Cpu,
    (dtype, scores): (DType, Scores),
    step: Step,
    rows: [&[f32]; 3],
    kv_columns: u64,
) -> Vec<f32> {
    let columns = kv_columns * 2;
    let cache = |place: u64| {
        Operand::Cache(Cache { offset: place << 16, rows: 16, share: PositionShare::ALL, columns: kv_columns, dtype })
    };
    let (q, kv, out) = (buffer(0, columns), buffer(1, kv_columns), buffer(2, columns));
    for place in [0, 1] {
        cpu.write(kv, step, rows[1 + place as usize]).expect("fits");
        let inputs = vec![cache(place), Operand::Buffer(kv)];
        let append = Kernel {
            op: Op::KvAppend { head_dim: 8 },
            skip: 0,
            inputs,
            weights: Vec::new(),
            output: cache(place),
            beside: Vec::new(),
        };
        cpu.run(&append, step).expect("appended");
    }
    cpu.write(q, step, rows[0]).expect("fits");
    let op = Op::Attention { heads: 6, kv_heads: 3, head_dim: 8, scores };
    let inputs = vec![Operand::Buffer(q), cache(0), cache(1)];
    cpu.run(
        &Kernel { op, skip: 0, inputs, weights: Vec::new(), output: Operand::Buffer(out), beside: Vec::new() },
        step,
    )
    .expect("attended");
    cpu.read(out, step).expect("fits")
}

/// Causal attention of 6 query heads on 3 KV heads of 8, in f64.
fn attention(q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for (t, row) in q.chunks(48).enumerate() {
        for (head, query) in row.chunks(8).enumerate() {
            let at = |cache: &[f64], s: usize, i: usize| cache[s * 24 + head / 2 * 8 + i];
            let score = |s: usize| (0..8).map(|i| query[i] * at(k, s, i)).sum::<f64>() / 8_f64.sqrt();
            let weights: Vec<f64> = (0..=t).map(|s| score(s).exp()).collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..8).map(|i| (0..=t).map(|s| weights[s] * at(v, s, i)).sum::<f64>() / total));
        }
    }
    out
}

#[test]
fn attention_by_chunks_by_tokens_and_by_heads() {
    let (q, k, v) = (noise(7 * 48, 1), noise(7 * 24, 2), noise(7 * 24, 3));
    let whole = attended(&mut device(), (DType::F32, Scores::PLAIN), Step { start: 0, tokens: 7 }, [&q, &k, &v], 24);
    close(&whole, &attention(&wide(&q), &wide(&k), &wide(&v)));
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let whole = attended(&mut device(), (dtype, Scores::PLAIN), Step { start: 0, tokens: 7 }, [&q, &k, &v], 24);
        let mut cpu = device();
        for t in 0..7_usize {
            let row = |values: &'_ [f32], width: usize| values[t * width..(t + 1) * width].to_vec();
            let rows = [&row(&q, 48)[..], &row(&k, 24), &row(&v, 24)];
            let one = attended(&mut cpu, (dtype, Scores::PLAIN), Step { start: t as u64, tokens: 1 }, rows, 24);
            assert_eq!(one, whole[t * 48..(t + 1) * 48], "{dtype}");
        }
        let half = |values: &[f32], width: usize| -> Vec<f32> {
            values.chunks(width).flat_map(|row| &row[width / 3..]).copied().collect()
        };
        let rows = [&half(&q, 48)[..], &half(&k, 24), &half(&v, 24)];
        let two = attended(&mut device(), (dtype, Scores::PLAIN), Step { start: 0, tokens: 7 }, rows, 16);
        assert_eq!(two, half(&whole, 48), "{dtype}");
    }
    assert!(
        attended(&mut device(), (DType::F32, Scores::PLAIN), Step { start: 0, tokens: 7 }, [&[], &[], &[]], 0)
            .is_empty()
    );
}

#[test]
fn misfits_are_errors() {
    let mut cpu = device();
    let operand = |columns| Operand::Buffer(buffer(0, columns));
    let none = Vec::new;
    let rope = Op::Rope { head_dim: 8, rotary_dim: 8, base: Constant(1e4), pairs: Pairs::Adjacent };
    let attention = Op::Attention { heads: 4, kv_heads: 2, head_dim: 8, scores: Scores::PLAIN };
    let weight = Weight { offset: 0, rows: 4, columns: 32, first_row: 0, dtype: DType::F32 };
    let far = Operand::Buffer(Buffer { offset: 1 << 40, rows: Dim::Tokens, columns: 4 });
    let odd = Operand::Buffer(Buffer { offset: 2, rows: Dim::Tokens, columns: 4 });
    for (op, inputs, weights, output) in [
        (rope, vec![operand(12)], none(), operand(12)),
        (attention, vec![operand(32), operand(16), operand(16)], none(), operand(32)),
        (Op::Linear, vec![operand(16)], vec![weight], operand(4)),
        (Op::Linear, vec![operand(32)], vec![weight], operand(5)),
        (Op::Linear, vec![operand(32)], vec![Weight { rows: 1 << 40, ..weight }], operand(4)),
        (Op::Linear, vec![operand(32)], vec![Weight { dtype: DType::IQ4_NL, ..weight }], operand(4)),
        (Op::Bias, vec![operand(16)], vec![weight], operand(16)),
        (Op::Add, vec![operand(4)], Vec::new(), operand(4)),
        (Op::Add, vec![far, operand(4)], Vec::new(), operand(4)),
        (Op::Add, vec![odd, operand(4)], Vec::new(), operand(4)),
    ] {
        assert!(cpu.run(&Kernel { op, skip: 0, inputs, weights, output, beside: Vec::new() }, STEP).is_err(), "{op:?}");
    }
}
