//! Element types: the GGML type table with elements and bytes per block. Ids, blocks and sizes are those of
//! ggml's `ggml_blck_size` / `ggml_type_size`.

use crate::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! dtypes {
    ($($id:literal $name:ident $block:literal $bytes:literal)*) => {
        /// An element type as GGML stores it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[allow(non_camel_case_types)]
        pub enum DType {
            $(#[doc = concat!("ggml type ", $id, ": ", $block, " elements in ", $bytes, " bytes.")] $name,)*
        }

        impl DType {
            /// Every type, in the order of the ids.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type with this GGML id; `None` for removed and unknown ids.
            #[must_use]
            pub const fn from_ggml(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$name),)* _ => None }
            }

            /// The GGML id of this type.
            #[must_use]
            pub const fn ggml(self) -> u32 {
                match self { $(Self::$name => $id,)* }
            }

            /// Elements in one block.
            #[must_use]
            pub const fn block(self) -> u64 {
                match self { $(Self::$name => $block,)* }
            }

            /// Bytes of one block.
            #[must_use]
            pub const fn block_bytes(self) -> u64 {
                match self { $(Self::$name => $bytes,)* }
            }

            const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

dtypes! {
    0 F32 1 4          1 F16 1 2          2 Q4_0 32 18       3 Q4_1 32 20       6 Q5_0 32 22
    7 Q5_1 32 24       8 Q8_0 32 34       9 Q8_1 32 36       10 Q2_K 256 84     11 Q3_K 256 110
    12 Q4_K 256 144    13 Q5_K 256 176    14 Q6_K 256 210    15 Q8_K 256 292    16 IQ2_XXS 256 66
    17 IQ2_XS 256 74   18 IQ3_XXS 256 98  19 IQ1_S 256 50    20 IQ4_NL 32 18    21 IQ3_S 256 110
    22 IQ2_S 256 82    23 IQ4_XS 256 136  24 I8 1 1          25 I16 1 2         26 I32 1 4
    27 I64 1 8         28 F64 1 8         29 IQ1_M 256 56    30 BF16 1 2        34 TQ1_0 256 54
    35 TQ2_0 256 66    39 MXFP4 32 17     40 NVFP4 64 36     41 Q1_0 128 18     42 Q2_0 64 18
}

impl DType {
    /// Bytes of `elements` consecutive elements of one row; `None` when they are not whole blocks or overflow.
    #[must_use]
    pub fn bytes(self, elements: u64) -> Option<Bytes> {
        if !elements.is_multiple_of(self.block()) {
            return None;
        }
        (elements / self.block()).checked_mul(self.block_bytes()).map(Bytes)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_bijection_and_removed_ids_are_unknown() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_ggml(dtype.ggml()), Some(dtype));
        }
        for removed in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert_eq!(DType::from_ggml(removed), None);
        }
    }

    #[test]
    fn bytes_count_whole_blocks_only() {
        assert_eq!(DType::Q4_0.bytes(64), Some(Bytes(36)));
        assert_eq!(DType::Q4_K.bytes(128), None);
        assert_eq!(DType::F64.bytes(u64::MAX), None);
    }
}
