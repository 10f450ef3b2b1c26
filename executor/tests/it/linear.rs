//! Products with weights of every type: near the dequantised truth, and with the same bits for any part of the rows.

use crate::kernels::{buffer, device};
use crate::noise;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use sailplan_executor::{Buffer, Cpu, Device, Kernel, Operand, Step, Weight};
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
    cpu.run(
        &Kernel { op: Op::Linear, skip: 0, inputs, weights, output: Operand::Buffer(output), beside: Vec::new() },
        step,
    )
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
        cpu.run(
            &Kernel { op: Op::Embed, skip: 0, inputs, weights, output: Operand::Buffer(output), beside: Vec::new() },
            step,
        )
        .expect("rows");
        let row = |row: usize| values[row * COLUMNS..(row + 1) * COLUMNS].to_vec();
        let expected = [row(14), vec![0.0; COLUMNS], row(10), vec![0.0; COLUMNS]].concat();
        assert_eq!(cpu.read(output, step).expect("fits"), expected, "{dtype}");
    }
}

fn kernel(cpu: &mut Cpu, op: Op, inputs: &[Buffer], weights: &[Weight], output: Buffer) {
    let inputs = inputs.iter().copied().map(Operand::Buffer).collect();
    let step = Step { start: 0, tokens: TOKENS as u64 };
    let kernel =
        Kernel { op, skip: 0, inputs, weights: weights.to_vec(), output: Operand::Buffer(output), beside: Vec::new() };
    cpu.run(&kernel, step).expect("a result");
}

#[test]
fn a_fused_kernel_has_the_bits_of_the_three_it_replaces() {
    let (x, step) = (noise(TOKENS * COLUMNS, 7), Step { start: 0, tokens: TOKENS as u64 });
    let rows = 9;
    let wide = |place| buffer(place, rows);
    for (dtype, ggml) in TYPES {
        let mut cpu = device();
        cpu.load(0, &matrix(ggml).0).expect("fits");
        cpu.write(buffer(0, COLUMNS as u64), step, &x).expect("fits");
        let row_bytes = dtype.bytes(COLUMNS as u64).expect("whole blocks").0;
        let pair = [0, 11].map(|first| Weight { offset: first * row_bytes, rows, ..whole(dtype) });
        for (fused, outer) in [(Op::LinearSwiGlu, Op::SwiGlu), (Op::LinearGeGlu, Op::GeGlu)] {
            let input = buffer(0, COLUMNS as u64);
            kernel(&mut cpu, Op::Linear, &[input], &pair[..1], wide(1));
            kernel(&mut cpu, Op::Linear, &[input], &pair[1..], wide(2));
            kernel(&mut cpu, outer, &[wide(1), wide(2)], &[], wide(3));
            kernel(&mut cpu, fused, &[input], &pair, wide(4));
            let bits =
                |place| cpu.read(wide(place), step).expect("fits").iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(3), bits(4), "{dtype} {fused:?}");
            assert!(bits(4).iter().any(|&bits| bits != 0));
        }
    }
}

/// Products of one value with weights of several types and sizes, over tokens that fill no tile.
#[test]
fn a_joint_kernel_has_the_bits_of_its_products() {
    let (x, step) = (noise(TOKENS * COLUMNS, 8), Step { start: 0, tokens: TOKENS as u64 });
    let input = buffer(0, COLUMNS as u64);
    for (place, (dtype, ggml)) in TYPES.into_iter().enumerate() {
        let (other, other_ggml) = TYPES[(place + 5) % TYPES.len()];
        let mut cpu = device();
        let bytes = matrix(ggml).0;
        cpu.load(0, &bytes).expect("fits");
        cpu.load(bytes.len() as u64, &matrix(other_ggml).0).expect("fits");
        cpu.write(input, step, &x).expect("fits");
        let row_bytes = dtype.bytes(COLUMNS as u64).expect("whole blocks").0;
        let part = |first: u64, rows| Weight { offset: first * row_bytes, rows, ..whole(dtype) };
        let third = Weight { offset: bytes.len() as u64, rows: 7, ..whole(other) };
        let weights = [part(0, 9), part(11, 4), third];
        for (place, weight) in weights.iter().enumerate() {
            kernel(&mut cpu, Op::Linear, &[input], &[*weight], buffer(1 + place as u64, weight.rows));
        }
        let beside = [4, 5, 6].map(|place| buffer(place, weights[place as usize - 4].rows));
        let joint = Kernel {
            op: Op::Linear,
            skip: 0,
            inputs: vec![Operand::Buffer(input)],
            weights: vec![weights[0]],
            output: Operand::Buffer(beside[0]),
            beside: vec![(weights[1], beside[1]), (weights[2], beside[2])],
        };
        cpu.run(&joint, step).expect("three results");
        for (place, out) in beside.into_iter().enumerate() {
            let bits = |buffer| cpu.read(buffer, step).expect("fits").iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(buffer(1 + place as u64, out.columns)), bits(out), "{dtype} {other} {place}");
            assert!(bits(out).iter().any(|&bits| bits != 0));
        }
    }
}

#[test]
fn products_that_are_none_are_refused() {
    let weight = Weight { columns: 32, rows: 4, ..whole(DType::F32) };
    let refused = |op: Op, other: Weight| {
        let (inputs, output) = (vec![Operand::Buffer(buffer(0, 32))], Operand::Buffer(buffer(1, 4)));
        let beside = vec![(other, buffer(2, 4))];
        let kernel = Kernel { op, skip: 0, inputs, weights: vec![weight], output, beside };
        device().run(&kernel, Step { start: 0, tokens: 1 }).unwrap_err().to_string()
    };
    let long = Weight { columns: 64, ..weight };
    assert!(refused(Op::Linear, long).contains("the rows of the weight and of the input differ in length"));
    assert!(refused(Op::Bias, weight).contains("only a product has others beside it"));
    let unknown = Weight { dtype: DType::IQ4_NL, ..weight };
    assert!(refused(Op::Linear, unknown).contains("no kernel for this type of weight"));
}

#[test]
fn a_fused_kernel_of_no_columns_gives_zeros() {
    for (dtype, _) in TYPES {
        let weight = Weight { columns: 0, rows: 3, ..whole(dtype) };
        let mut cpu = device();
        kernel(&mut cpu, Op::LinearSwiGlu, &[buffer(0, 0)], &[weight; 2], buffer(1, 3));
        let step = Step { start: 0, tokens: TOKENS as u64 };
        assert!(cpu.read(buffer(1, 3), step).expect("fits").iter().all(|&value| value == 0.0), "{dtype}");
    }
}

#[test]
fn weights_that_are_no_pair_are_refused() {
    let weight = Weight { columns: 32, rows: 4, ..whole(DType::F32) };
    let refused = |columns: u64, weights: Vec<Weight>| {
        let (inputs, output) = (vec![Operand::Buffer(buffer(0, columns))], Operand::Buffer(buffer(1, 4)));
        let kernel = Kernel { op: Op::LinearSwiGlu, skip: 0, inputs, weights, output, beside: Vec::new() };
        device().run(&kernel, Step { start: 0, tokens: 1 }).unwrap_err().to_string()
    };
    let unlike = "the two weights differ in shape or type";
    for (columns, other, reason) in [
        (32, Some(Weight { rows: 5, ..weight }), unlike),
        (32, Some(Weight { dtype: DType::F16, ..weight }), unlike),
        (16, Some(weight), "the rows of the weight and of the input differ in length"),
        (32, None, "a weight is missing"),
    ] {
        let weights = std::iter::once(weight).chain(other).collect();
        assert!(refused(columns, weights).contains(reason), "{reason}");
    }
    let unknown = Weight { dtype: DType::IQ4_NL, ..weight };
    assert!(refused(32, vec![unknown; 2]).contains("no kernel for this type of weight"));
}
