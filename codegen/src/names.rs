//! What names of tensors say: the layer that they stand for, and which slice of a tensor a resident is.

/// The name of a tensor in one layer.
#[must_use]
pub fn in_layer(name: &str, layer: u32) -> String {
    name.replace("{layer}", &layer.to_string())
}

/// The logical tensor that a resident is a slice of: its name without the `#2` that tells slices apart.
#[must_use]
pub fn tensor_name(resident: &str) -> &str {
    match resident.rsplit_once('#') {
        Some((tensor, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => tensor,
        _ => resident,
    }
}
