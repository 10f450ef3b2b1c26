//! Metadata values. Arrays and strings stay where they are in the file: a value holds a slice, so a tokenizer of
//! many megabytes costs nothing but the walk over it.

use super::cursor::{Cursor, Stop};

/// Most elements of an array; vocabularies and merge lists are below 2^20.
const MOST_ELEMENTS: u64 = 1 << 26;
/// Arrays inside arrays are refused below this depth.
const DEEPEST: u32 = 8;

/// A metadata value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a [u8]),
    Array(Array<'a>),
}

/// An array: its elements as they stand in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array<'a> {
    element: Kind,
    length: u64,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Text,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let start = cursor.position();
        let id = cursor.u32("a value type")?;
        let unknown = || cursor.problem_at(start, format!("value type {id} is unknown"), "types 0 to 12 exist");
        usize::try_from(id).ok().and_then(|id| Self::ALL.get(id)).copied().ok_or_else(unknown)
    }

    /// Bytes of a scalar; `None` for strings and arrays.
    const fn width(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }

    /// Least bytes of one element.
    fn least(self) -> u64 {
        self.width().unwrap_or(if self == Self::Text { 8 } else { 12 })
    }
}

impl<'a> Value<'a> {
    /// The next value with its type.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Stop> {
        match Kind::read(cursor)? {
            Kind::Text => cursor.string("a metadata string").map(Self::Text),
            Kind::Array => Array::read(cursor, 0).map(Self::Array),
            kind => {
                let start = cursor.position();
                let bytes = cursor.take(kind.width().unwrap_or(0), "a metadata value")?;
                let broken = || cursor.problem_at(start, "a boolean is neither 0 nor 1", "the file is damaged");
                scalar(kind, bytes).ok_or_else(broken)
            }
        }
    }

    /// As a whole number that is not negative.
    pub(crate) fn integer(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// What a value is, for people.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => format!("the number {value:?}"),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => format!("the string \"{}\"", crate::report::shown(&String::from_utf8_lossy(text))),
            Self::Array(array) => format!("an array of {}", array.length),
        }
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, depth: u32) -> Result<Self, Stop> {
        let start = cursor.position();
        if depth > DEEPEST {
            return Err(cursor.problem_at(start, "arrays are nested too deeply", "the file is damaged"));
        }
        let element = Kind::read(cursor)?;
        let length = cursor.u64("an array's length")?;
        let fits = cursor.remaining() / element.least();
        if length > fits || length > MOST_ELEMENTS {
            let message = format!("an array claims {length} elements; the file has room for {fits} at most");
            return Err(cursor.problem_at(start, message, "the file is truncated or damaged; fetch it again"));
        }
        let mut after = cursor.clone();
        match element.width() {
            Some(width) => drop(after.take(width.saturating_mul(length), "an array")?),
            None => skip(&mut after, element, (length, depth))?,
        }
        let bytes = cursor.take(after.position() - cursor.position(), "an array")?;
        Ok(Self { element, length, bytes })
    }

    /// Number of elements.
    pub(crate) fn len(self) -> u64 {
        self.length
    }

    /// The elements as whole numbers; `None` when one is not.
    pub(crate) fn integers(self) -> Option<Vec<u64>> {
        let width = usize::try_from(self.element.width()?).ok()?;
        self.bytes.chunks_exact(width).map(|bytes| scalar(self.element, bytes)?.integer()).collect()
    }
}

fn skip(cursor: &mut Cursor<'_>, element: Kind, (length, depth): (u64, u32)) -> Result<(), Stop> {
    for _ in 0..length {
        match element {
            Kind::Text => drop(cursor.string("a string of an array")?),
            _ => drop(Array::read(cursor, depth + 1)?),
        }
    }
    Ok(())
}

fn scalar(kind: Kind, bytes: &[u8]) -> Option<Value<'static>> {
    Some(match kind {
        Kind::U8 => Value::Unsigned(u8::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::I8 => Value::Signed(i8::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::U16 => Value::Unsigned(u16::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::I16 => Value::Signed(i16::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::U32 => Value::Unsigned(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::I32 => Value::Signed(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::F32 => Value::Float(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::U64 => Value::Unsigned(u64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::I64 => Value::Signed(i64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::F64 => Value::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Bool => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return None,
        },
        Kind::Text | Kind::Array => return None,
    })
}
