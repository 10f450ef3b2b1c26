//! The small model of the hand-made plans: names, shapes, and a file of random weights.

use super::tiny::Sizes;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as Candle, Tensor};
use sailplan_codegen::{Layers, Link, PlanClass, PlanModel, PlanNode, PlanTensor};
use sailplan_ir::{Bytes, DType, Dim, Op, Role, WeightEntry, WeightIndex};
use std::collections::BTreeMap;

/// Names and shapes only, as far as replay reads them.
pub(super) fn model(sizes: &Sizes, cache: DType) -> PlanModel {
    let tensor =
        |name: &str, dims: &[Dim], dtype, role| PlanTensor { name: name.to_owned(), dims: dims.to_vec(), dtype, role };
    let weight = |(name, dims, dtype): &(String, Vec<u64>, DType)| {
        tensor(name, &dims.iter().map(|&size| Dim::Fixed(size)).collect::<Vec<_>>(), *dtype, Role::Weight)
    };
    let (outer, layer): (Vec<_>, Vec<_>) =
        weights(sizes).iter().map(weight).partition(|tensor| !tensor.name.contains("{layer}"));
    let node = |op, inputs: &[&str], out: &str| PlanNode {
        op,
        inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
        out: out.to_owned(),
    };
    let keys = Dim::Fixed(u64::from(sizes.kv_heads * sizes.head_dim()));
    let caches =
        ["cache_k.{layer}", "cache_v.{layer}"].map(|name| tensor(name, &[Dim::Context, keys], cache, Role::Cache));
    let logits = tensor("logits", &[Dim::Outputs, Dim::Fixed(sizes.vocabulary)], DType::F32, Role::Value);
    let class = |name: &str, tensors, nodes| PlanClass { name: name.to_owned(), tensors, nodes };
    let link = |class: &str, layers| Link { class: class.to_owned(), layers };
    PlanModel {
        name: "tiny".to_owned(),
        digest: String::new(),
        source: "test".to_owned(),
        chain: vec![link("embed", None), link("layer", Some(Layers(0..sizes.layers))), link("head", None)],
        classes: vec![
            class("embed", outer.clone(), vec![node(Op::Embed, &["tokens", "token_embd.weight"], "x")]),
            class("layer", layer.into_iter().chain(caches).collect(), Vec::new()),
            class(
                "head",
                outer.into_iter().chain([logits]).collect(),
                vec![node(Op::Linear, &["n", "output.weight"], "logits")],
            ),
        ],
    }
}

/// Name, extents and type of every weight; `{layer}` stands for each layer.
fn weights(sizes: &Sizes) -> Vec<(String, Vec<u64>, DType)> {
    let (d, f, keys) = (sizes.width, sizes.ffn, u64::from(sizes.kv_heads * sizes.head_dim()));
    let mut all = vec![
        ("token_embd.weight".to_owned(), vec![sizes.vocabulary, d], sizes.dtype),
        ("output_norm.weight".to_owned(), vec![d], DType::F32),
        ("output.weight".to_owned(), vec![sizes.vocabulary, d], sizes.dtype),
    ];
    let layer: [(&str, &[u64]); 9] = [
        ("attn_norm", &[d]),
        ("attn_q", &[d, d]),
        ("attn_k", &[keys, d]),
        ("attn_v", &[keys, d]),
        ("attn_output", &[d, d]),
        ("ffn_norm", &[d]),
        ("ffn_gate", &[f, d]),
        ("ffn_up", &[f, d]),
        ("ffn_down", &[d, f]),
    ];
    for (name, dims) in layer {
        let dtype = if dims.len() == 1 { DType::F32 } else { sizes.dtype };
        all.push((format!("blk.{{layer}}.{name}.weight"), dims.to_vec(), dtype));
    }
    all
}

/// A file of random weights that goes when dropped.
pub(super) struct WeightFile {
    pub(super) index: WeightIndex,
}

impl WeightFile {
    pub(super) fn new(sizes: &Sizes, name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sailplan-replay-{}-{name}", std::process::id()));
        let (mut bytes, mut tensors, mut seed) = (vec![0_u8; 32], BTreeMap::new(), 1);
        for (pattern, dims, dtype) in weights(sizes) {
            let layers = if pattern.contains("{layer}") { sizes.layers } else { 1 };
            for layer in 0..layers {
                let data = random_blocks(&dims, dtype, seed);
                seed += 1;
                let (offset, size) = (bytes.len() as u64, Bytes(data.len() as u64));
                bytes.extend(data);
                let entry = WeightEntry { file: 0, offset, bytes: size, dims: dims.clone(), dtype };
                tensors.insert(sailplan_codegen::in_layer(&pattern, layer), entry);
            }
        }
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&path, bytes).expect("a temporary file");
        Self { index: WeightIndex { files: vec![path.display().to_string()], tensors } }
    }
}

impl Drop for WeightFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.index.files[0]);
    }
}

fn random_blocks(dims: &[u64], dtype: DType, seed: u64) -> Vec<u8> {
    let count: u64 = dims.iter().product();
    let (scale, shift) = if dims.len() == 1 { (0.1, 1.0) } else { (1.5 / (dims[1] as f32).sqrt(), 0.0) };
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        shift + scale * ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
    };
    let values: Vec<f32> = (0..count).map(|_| value()).collect();
    let dims: Vec<usize> = dims.iter().map(|&size| size as usize).collect();
    let tensor = Tensor::from_vec(values, dims, &Candle::Cpu).expect("a tensor");
    let dtype = match dtype {
        DType::F32 => GgmlDType::F32,
        DType::F16 => GgmlDType::F16,
        DType::Q4_0 => GgmlDType::Q4_0,
        DType::Q8_0 => GgmlDType::Q8_0,
        DType::Q4_K => GgmlDType::Q4K,
        other => panic!("no random {other}"),
    };
    QTensor::quantize(&tensor, dtype).expect("whole blocks").data().expect("bytes").into_owned()
}
