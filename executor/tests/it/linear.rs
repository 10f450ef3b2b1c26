//! Products with weights of every type: near the dequantised truth, and with the same bits for any part of the rows.

use crate::kernels::{buffer, device};
use crate::noise;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use sailplan_executor::{Cpu, Device, Kernel, Operand, Step, Weight};
use sailplan_ir::{DType, Op};

const TYPES: [(DType, GgmlDType); 13] = [
    (DType::F32, GgmlDType::F32),
    (DType::F16, GgmlDType::F16),
    (DType::BF16, GgmlDType::BF16),
    (DType::Q4_0, GgmlDType::Q4_0),
    (DType::Q4_1, GgmlDType::Q4_1),
    (DType::Q5_0, GgmlDType::Q5_0),
    (DType::Q5_1, GgmlDType::Q5_1),
    (DType::Q8_0, GgmlDType::Q8_0),
    (DType::Q2_K, GgmlDType::Q2K),
    (DType::Q3_K, GgmlDType::Q3K),
    (DType::Q4_K, GgmlDType::Q4K),
    (DType::Q5_K, GgmlDType::Q5K),
    (DType::Q6_K, GgmlDType::Q6K),
];
const ROWS: usize = 23;
const COLUMNS: usize = 512;
const TOKENS: usize = 19;

/// A random matrix: its bytes and its values after quantisation.
fn matrix(dtype: GgmlDType) -> (Vec<u8>, Vec<f32>) {
    let tensor = Tensor::from_vec(noise(ROWS * COLUMNS, 4), (ROWS, COLUMNS), &Candle::Cpu).expect("a tensor");
    let quantised = QTensor::quantize(&tensor, dtype).expect("whole blocks");
    let values = quantised.dequantize(&Candle::Cpu).and_then(|tensor| tensor.flatten_all()?.to_vec1());
    (quantised.data().expect("bytes").into_owned(), values.expect("values"))
}

fn whole(dtype: DType) -> Weight {
    Weight { offset: 0, rows: ROWS as u64, columns: COLUMNS as u64, first_row: 0, dtype }
}

fn product(cpu: &mut Cpu, x: &[f32], weight: Weight, tokens: usize) -> Vec<f32> {
    let step = Step { start: 0, tokens: tokens as u64 };
    let (input, output) = (buffer(0, weight.columns), buffer(1, weight.rows));
    cpu.write(input, step, x).expect("fits");
    let (inputs, weights) = (vec![Operand::Buffer(input)], vec![weight]);
    cpu.run(&Kernel { op: Op::Linear, skip: 0, inputs, weights, output: Operand::Buffer(output) }, step)
        .expect("a product");
    cpu.read(output, step).expect("fits")
}

#[test]
fn any_part_of_rows_and_tokens_has_the_same_bits() {
    let x = noise(TOKENS * COLUMNS, 5);
    for (dtype, ggml) in TYPES {
        let mut cpu = device();
        cpu.load(0, &matrix(ggml).0).expect("fits");
        let all = product(&mut cpu, &x, whole(dtype), TOKENS);
        let row_bytes = dtype.bytes(COLUMNS as u64).expect("whole blocks").0;
        for (first, rows) in [(0, 1), (5, 2), (3, 7), (22, 1), (4, 0)] {
            for (t, tokens) in [(0, TOKENS), (7, 1), (2, 17)] {
                let part = Weight { offset: first * row_bytes, rows, ..whole(dtype) };
                let found = product(&mut cpu, &x[t * COLUMNS..(t + tokens) * COLUMNS], part, tokens);
                let expected: Vec<f32> = (t..t + tokens)
                    .flat_map(|t| &all[t * ROWS + first as usize..t * ROWS + (first + rows) as usize])
                    .copied()
                    .collect();
                assert_eq!(found, expected, "{dtype} rows {first}+{rows} tokens {t}+{tokens}");
            }
        }
    }
}

#[test]
fn products_are_near_the_truth() {
    let x = noise(TOKENS * COLUMNS, 6);
    for (dtype, ggml) in TYPES {
        let (bytes, values) = matrix(ggml);
        let mut cpu = device();
        cpu.load(0, &bytes).expect("fits");
        // Quantised products round the activations to 8 bits; a sum of 512 has a deviation of about 13.
        let bound = if dtype.block() == 1 { 2e-5 } else { 0.3 };
        for (index, found) in product(&mut cpu, &x, whole(dtype), TOKENS).into_iter().enumerate() {
            let (t, n) = (index / ROWS, index % ROWS);
            let pairs = x[t * COLUMNS..(t + 1) * COLUMNS].iter().zip(&values[n * COLUMNS..(n + 1) * COLUMNS]);
            let truth: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!((f64::from(found) - truth).abs() < bound, "{dtype}: {found} {truth}");
        }
    }
}

#[test]
fn an_empty_contraction_gives_zeros() {
    let mut cpu = device();
    for (dtype, _) in TYPES {
        let weight = Weight { columns: 0, rows: 3, ..whole(dtype) };
        assert_eq!(product(&mut cpu, &[], weight, 2), [0.0; 6]);
    }
}

#[test]
fn a_slice_of_a_table_gives_its_rows_and_zeros() {
    for (dtype, ggml) in TYPES {
        let (bytes, values) = matrix(ggml);
        let mut cpu = device();
        let row_bytes = dtype.bytes(COLUMNS as u64).expect("whole blocks").0 as usize;
        cpu.load(0, &bytes[10 * row_bytes..15 * row_bytes]).expect("fits");
        let weight = Weight { rows: 5, first_row: 10, ..whole(dtype) };
        let (step, tokens) = (Step { start: 0, tokens: 4 }, [14, 9, 10, 15]);
        let (input, output) = (buffer(0, 1), buffer(1, COLUMNS as u64));
        cpu.write_tokens(input, step, &tokens).expect("fits");
        let (inputs, weights) = (vec![Operand::Buffer(input)], vec![weight]);
        cpu.run(&Kernel { op: Op::Embed, skip: 0, inputs, weights, output: Operand::Buffer(output) }, step)
            .expect("rows");
        let row = |row: usize| values[row * COLUMNS..(row + 1) * COLUMNS].to_vec();
        let expected = [row(14), vec![0.0; COLUMNS], row(10), vec![0.0; COLUMNS]].concat();
        assert_eq!(cpu.read(output, step).expect("fits"), expected, "{dtype}");
    }
}
