//! Routing and experts against the same formulas in f64, and the same bits for any part of tokens and rows.

use crate::kernels::{buffer, device};
use crate::noise;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use sailplan_executor::{Cpu, Device, Kernel, Operand, Step, Weight};
use sailplan_ir::{DType, Op};
use std::ops::Range;

const TOKENS: usize = 7;
const EXPERTS: usize = 5;
const HIDDEN: usize = 96;
const WIDTH: usize = 64;

fn step(tokens: usize) -> Step {
    Step { start: 0, tokens: tokens as u64 }
}

fn routed(logits: &[f32], (experts, used): (usize, u32), renormalise: bool) -> Vec<f32> {
    let (mut cpu, step) = (device(), step(logits.len() / experts));
    let (from, into) = (buffer(0, experts as u64), buffer(1, experts as u64));
    cpu.write(from, step, logits).expect("fits");
    let (op, inputs) = (Op::Route { used, renormalise }, vec![Operand::Buffer(from)]);
    cpu.run(
        &Kernel { op, skip: 0, inputs, weights: Vec::new(), output: Operand::Buffer(into), beside: Vec::new() },
        step,
    )
    .expect("gates");
    cpu.read(into, step).expect("fits")
}

/// Logits 0, ln 2, ln 3, ln 2: shares 1/8, 2/8, 3/8, 2/8. Of the two equal ones the first stays.
#[test]
fn the_largest_shares_stay() {
    let logits = [0.0, 2.0_f32.ln(), 3.0_f32.ln(), 2.0_f32.ln()];
    assert_eq!(routed(&logits, (4, 2), false), [0.0, 0.25, 0.375, 0.0]);
    assert_eq!(routed(&logits, (4, 2), true), [0.0, 0.4, 0.6, 0.0]);
    assert_eq!(routed(&logits, (4, 1), true), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(routed(&[1000.0, -1000.0, 999.0], (3, 3), true)[1], 0.0, "no overflow");
    assert_eq!(routed(&[5.0; 8], (4, 2), true), [0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0]);
}

/// Three stacks, gate, up and down, of which a card holds a part.
struct Stacks {
    dtype: DType,
    bytes: [Vec<u8>; 3],
    values: [Vec<f32>; 3],
}

/// The part of the experts that a card holds.
#[derive(Clone)]
struct Part {
    experts: Range<usize>,
    width: Range<usize>,
    rows: Range<usize>,
}

const ALL: Part = Part { experts: 0..EXPERTS, width: 0..WIDTH, rows: 0..HIDDEN };

impl Stacks {
    fn new(dtype: DType, ggml: GgmlDType) -> Self {
        let matrix = |rows: usize, columns: usize, seed: u64| {
            let tensor =
                Tensor::from_vec(noise(rows * columns, seed), (rows, columns), &Candle::Cpu).expect("a tensor");
            let quantised = QTensor::quantize(&tensor, ggml).expect("whole blocks");
            let values = quantised.dequantize(&Candle::Cpu).and_then(|tensor| tensor.flatten_all()?.to_vec1());
            (quantised.data().expect("bytes").into_owned(), values.expect("values"))
        };
        let into = |seed| matrix(EXPERTS * WIDTH, HIDDEN, seed);
        let [gate, up, down] = [into(1), into(2), matrix(EXPERTS * HIDDEN, WIDTH, 3)];
        Self { dtype, bytes: [gate.0, up.0, down.0], values: [gate.1, up.1, down.1] }
    }

    /// Loads a part, row by row.
    fn load(&self, cpu: &mut Cpu, part: &Part) -> Vec<Weight> {
        let all = [
            (WIDTH, HIDDEN, &part.width, 0..HIDDEN),
            (WIDTH, HIDDEN, &part.width, 0..HIDDEN),
            (HIDDEN, WIDTH, &part.rows, part.width.clone()),
        ];
        let mut weights = Vec::new();
        for (index, (rows, columns, kept, within)) in all.into_iter().enumerate() {
            let size = |elements: usize| self.dtype.bytes(elements as u64).expect("whole blocks").0 as usize;
            let row = |expert: usize, row: usize| (expert * rows + row) * size(columns);
            let bytes: Vec<u8> = part
                .experts
                .clone()
                .flat_map(|expert| kept.clone().map(move |kept| (expert, kept)))
                .map(|(expert, kept)| row(expert, kept))
                .flat_map(|start| &self.bytes[index][start + size(within.start)..start + size(within.end)])
                .copied()
                .collect();
            let offset = (index as u64) << 20;
            cpu.load(offset, &bytes).expect("fits");
            let (rows, columns) = ((part.experts.len() * kept.len()) as u64, within.len() as u64);
            weights.push(Weight { offset, rows, columns, first_row: 0, dtype: self.dtype });
        }
        weights
    }

    fn run(&self, x: &[f32], gates: &[f32], part: &Part) -> Vec<f32> {
        let (mut cpu, step) = (device(), step(x.len() / HIDDEN));
        let weights = self.load(&mut cpu, part);
        let (from, shares) = (buffer(0, HIDDEN as u64), buffer(1, part.experts.len() as u64));
        let into = buffer(2, part.rows.len() as u64);
        let held: Vec<f32> = gates.chunks(EXPERTS).flat_map(|row| &row[part.experts.clone()]).copied().collect();
        cpu.write(from, step, x).expect("fits");
        cpu.write(shares, step, &held).expect("fits");
        let op = Op::Experts { experts: EXPERTS as u32, used: 2 };
        let inputs = vec![Operand::Buffer(from), Operand::Buffer(shares)];
        cpu.run(&Kernel { op, skip: 0, inputs, weights, output: Operand::Buffer(into), beside: Vec::new() }, step)
            .expect("a result");
        cpu.read(into, step).expect("fits")
    }

    fn truth(&self, x: &[f32], gates: &[f32]) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f64]| -> f64 { a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum() };
        let mut out = Vec::new();
        for (x, gates) in x.chunks(HIDDEN).zip(gates.chunks(EXPERTS)) {
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let mut sums = vec![0.0; HIDDEN];
            for (expert, &gate) in gates.iter().enumerate() {
                let into = |stack: usize, row: usize| {
                    let start = (expert * WIDTH + row) * HIDDEN;
                    dot(&self.values[stack][start..start + HIDDEN], &x)
                };
                let inner: Vec<f64> = (0..WIDTH)
                    .map(|row| {
                        let gate = into(0, row);
                        gate / (1.0 + (-gate).exp()) * into(1, row)
                    })
                    .collect();
                for (row, sum) in sums.iter_mut().enumerate() {
                    let start = (expert * HIDDEN + row) * WIDTH;
                    *sum += f64::from(gate) * dot(&self.values[2][start..start + WIDTH], &inner);
                }
            }
            out.extend(sums);
        }
        out
    }
}

/// 13 experts' worth of input: tokens that take two, three, one and no expert.
fn gates() -> Vec<f32> {
    let logits = noise(TOKENS * EXPERTS, 9);
    let mut gates = routed(&logits, (EXPERTS, 2), true);
    gates[..EXPERTS].copy_from_slice(&[0.0; EXPERTS]);
    gates[EXPERTS..2 * EXPERTS].copy_from_slice(&[0.0, 0.0, 1.0, 0.0, 0.0]);
    gates
}

const TYPES: [(DType, GgmlDType, f64); 4] = [
    (DType::F32, GgmlDType::F32, 2e-5),
    (DType::F16, GgmlDType::F16, 2e-5),
    (DType::Q8_0, GgmlDType::Q8_0, 0.03),
    (DType::Q4_0, GgmlDType::Q4_0, 0.03),
];

#[test]
fn experts_are_near_the_truth_and_slices_of_rows_and_tokens_have_the_same_bits() {
    let (x, gates) = (noise(TOKENS * HIDDEN, 4), gates());
    for (dtype, ggml, bound) in TYPES {
        let stacks = Stacks::new(dtype, ggml);
        let whole = stacks.run(&x, &gates, &ALL);
        let truth = stacks.truth(&x, &gates);
        let size = truth.iter().map(|value| value.abs()).fold(0.0, f64::max);
        for (found, expected) in whole.iter().zip(&truth) {
            assert!((f64::from(*found) - expected).abs() < bound * size, "{dtype}: {found} {expected} of {size}");
        }
        assert!(whole[..HIDDEN].iter().all(|&value| value == 0.0), "a token without experts");
        for rows in [0..32, 5..6, 40..96, 3..3] {
            let part = stacks.run(&x, &gates, &Part { rows: rows.clone(), ..ALL });
            let expected: Vec<f32> = whole.chunks(HIDDEN).flat_map(|row| &row[rows.clone()]).copied().collect();
            assert_eq!(part, expected, "{dtype} rows {rows:?}");
        }
        let last = stacks.run(&x[5 * HIDDEN..], &gates[5 * EXPERTS..], &ALL);
        assert_eq!(last, whole[5 * HIDDEN..], "{dtype}: two tokens by themselves");
    }
}

/// Contributions of some experts, and of some columns of every expert, add up to the whole; a card without a share adds 0.
#[test]
fn parts_of_the_sums_add_up() {
    let (x, gates) = (noise(TOKENS * HIDDEN, 4), gates());
    for (dtype, ggml, _) in TYPES {
        let stacks = Stacks::new(dtype, ggml);
        let whole = stacks.run(&x, &gates, &ALL);
        let experts = [0..2, 2..2, 2..5].map(|experts| Part { experts, ..ALL });
        let width = [0..32, 32..64, 64..64].map(|width| Part { width, ..ALL });
        for parts in [experts, width] {
            let parts = parts.map(|part| stacks.run(&x, &gates, &part));
            for (index, expected) in whole.iter().enumerate() {
                let sum: f32 = parts.iter().map(|part| part[index]).sum();
                assert!((sum - expected).abs() < 2e-5 * expected.abs().max(1.0), "{dtype}: {sum} {expected}");
            }
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let mut cpu = device();
    let weight = |rows, columns| Weight { offset: 0, rows, columns, first_row: 0, dtype: DType::F32 };
    let operand = |place, columns| Operand::Buffer(buffer(place, columns));
    let good = [weight(20, 8), weight(20, 8), weight(40, 4)];
    for (weights, gates, out) in [
        (good, 5, 8),
        (good, 4, 8),
        (good, 5, 7),
        (good, 0, 8),
        ([weight(20, 8), weight(20, 9), weight(40, 4)], 5, 8),
        ([weight(20, 8), weight(20, 8), weight(39, 4)], 5, 8),
        ([weight(1 << 40, 8), weight(1 << 40, 8), weight(40, 1 << 38)], 4, 10),
    ] {
        cpu.write(buffer(1, gates), step(2), &vec![1.0; 2 * gates as usize]).expect("fits");
        let inputs = vec![operand(0, 8), operand(1, gates)];
        let op = Op::Experts { experts: 5, used: 2 };
        let kernel =
            Kernel { op, skip: 0, inputs, weights: weights.to_vec(), output: operand(2, out), beside: Vec::new() };
        let all_fits = weights == good && (gates, out) == (5, 8);
        assert_eq!(cpu.run(&kernel, step(2)).is_ok(), all_fits, "{gates} {out}");
    }
    for missing in [0, 1] {
        let inputs = vec![operand(0, 8); missing];
        let op = Op::Experts { experts: 5, used: 2 };
        assert!(
            cpu.run(
                &Kernel { op, skip: 0, inputs, weights: good.to_vec(), output: operand(2, 8), beside: Vec::new() },
                step(2)
            )
            .is_err()
        );
    }
}
