//! Matrices that one tensor holds: rows of queries, keys and values, or of gate and up. Whole rows lie one behind the other,
//! so that each matrix is a tensor of its own at an offset of its own.

use super::tensors::TensorInfo;
use crate::decoder::Decoder;
use std::borrow::Cow;

/// The tensors with each fused one replaced by its parts; a tensor of another shape stays, for the shape check to refuse.
pub(crate) fn parts<'a>(tensors: Vec<TensorInfo<'a>>, decoder: &Decoder) -> Vec<TensorInfo<'a>> {
    let mut all = Vec::new();
    for tensor in tensors {
        match split(&tensor, decoder) {
            Some(parts) => all.extend(parts),
            None => all.push(tensor),
        }
    }
    all
}

fn split<'a>(tensor: &TensorInfo<'a>, decoder: &Decoder) -> Option<Vec<TensorInfo<'a>>> {
    let (layer, part) = tensor.name.strip_prefix("blk.")?.split_once('.')?;
    let numbers = decoder.layers.get(layer.parse::<usize>().ok()?)?;
    let head_dim = u64::from(decoder.head_dim);
    let (queries, keys) = (u64::from(numbers.heads) * head_dim, u64::from(numbers.kv_heads) * head_dim);
    let parts = match part {
        "attn_qkv.weight" => vec![("attn_q", queries), ("attn_k", keys), ("attn_v", keys)],
        "ffn_up.weight" => vec![("ffn_gate", numbers.ffn), ("ffn_up", numbers.ffn)],
        _ => return None,
    };
    let &[rows, columns] = tensor.dims.as_slice() else { return None };
    let dtype = tensor.dtype?;
    if parts.iter().map(|(_, rows)| rows).sum::<u64>() != rows {
        return None;
    }
    let mut offset = tensor.offset;
    let mut made = Vec::new();
    for (name, rows) in parts {
        let bytes = dtype.bytes(rows.checked_mul(columns)?)?.0;
        let name = Cow::Owned(format!("blk.{layer}.{name}.weight"));
        let dims = vec![rows, columns];
        made.push(TensorInfo { name, entry: tensor.entry, dims, dtype: Some(dtype), offset, bytes });
        offset = offset.checked_add(bytes)?;
    }
    Some(made)
}
