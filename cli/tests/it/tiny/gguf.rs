//! GGUF version 3, little-endian, as gguf-py lays it out. Must not know what the tensors hold.

/// Bytes at whose multiples the tensor data and each tensor in it start: GGUF's default.
const ALIGNMENT: usize = 32;

/// A metadata value.
pub(super) enum Value {
    Number(u32),
    Float(f32),
    Text(String),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

/// Collects metadata and tensors in the order in which they come.
#[derive(Default)]
pub(super) struct Writer {
    pair_count: u64,
    pairs: Vec<u8>,
    tensor_count: u64,
    infos: Vec<u8>,
    data: Vec<u8>,
}

impl Writer {
    pub(super) fn pair(&mut self, key: &str, value: &Value) {
        self.pair_count += 1;
        put_text(&mut self.pairs, key);
        put_value(&mut self.pairs, value);
    }

    /// `shape` has the contiguous dimension first; `code` is ggml's number of the type that `bytes` are of.
    pub(super) fn tensor(&mut self, name: &str, shape: &[u32], code: u32, bytes: &[u8]) {
        self.tensor_count += 1;
        put_text(&mut self.infos, name);
        put_number(&mut self.infos, shape.len() as u32);
        for &size in shape {
            put_long(&mut self.infos, size.into());
        }
        put_number(&mut self.infos, code);
        put_long(&mut self.infos, self.data.len() as u64);
        self.data.extend(bytes);
        pad(&mut self.data);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        put_number(&mut file, 3);
        put_long(&mut file, self.tensor_count);
        put_long(&mut file, self.pair_count);
        file.extend(self.pairs);
        file.extend(self.infos);
        pad(&mut file);
        file.extend(self.data);
        file
    }
}

/// The number of the value's type, then the value.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            put_number(out, NUMBER);
            put_number(out, *number);
        }
        Value::Float(float) => {
            put_number(out, FLOAT);
            out.extend(float.to_le_bytes());
        }
        Value::Text(text) => {
            put_number(out, TEXT);
            put_text(out, text);
        }
        Value::Texts(texts) => put_array(out, TEXT, texts, |out, text| put_text(out, text)),
        Value::Floats(floats) => put_array(out, FLOAT, floats, |out, float| out.extend(float.to_le_bytes())),
        Value::Integers(integers) => {
            put_array(out, INTEGER, integers, |out, integer| out.extend(integer.to_le_bytes()))
        }
    }
}

const NUMBER: u32 = 4;
const INTEGER: u32 = 5;
const FLOAT: u32 = 6;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

fn put_array<T>(out: &mut Vec<u8>, code: u32, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_number(out, ARRAY);
    put_number(out, code);
    put_long(out, items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_le_bytes());
}

fn put_long(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}
