//! Typed access to metadata: absent, as wanted, or a problem that names the key.

use super::value::Value;
use crate::decoder::PerLayer;
use sailplan_ir::{At, Diagnostic};
use std::collections::BTreeMap;

/// The metadata of a file, and what was wrong with what was asked of it.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    file: &'a str,
    values: &'a BTreeMap<&'a str, Value<'a>>,
    pub(crate) problems: Vec<Diagnostic>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(file: &'a str, values: &'a BTreeMap<&'a str, Value<'a>>) -> Self {
        Self { file, values, problems: Vec::new() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.values.get(key).copied()
    }

    /// Notes a problem with a key.
    pub(crate) fn problem(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        let problem = Diagnostic::new(message).hint(hint).at(self.file, At::Name(key.to_owned()));
        self.problems.push(problem);
    }

    /// A whole number of any width.
    pub(crate) fn integer(&mut self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        let integer = value.integer();
        if integer.is_none() {
            self.wrong(key, value, "a whole number that is not negative");
        }
        integer
    }

    /// A whole number, or one for each layer.
    pub(crate) fn per_layer(&mut self, key: &str) -> Option<PerLayer> {
        let Some(Value::Array(array)) = self.get(key) else {
            return self.integer(key).map(PerLayer::Same);
        };
        let most = crate::decoder::MAX_LAYERS;
        let integers = if array.len() <= most { array.integers() } else { None };
        if integers.is_none() {
            self.wrong(key, Value::Array(array), "a whole number, or one for each layer");
        }
        integers.map(PerLayer::Each)
    }

    /// A number.
    pub(crate) fn float(&mut self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::Float(value) => Some(value as f32),
            value => {
                self.wrong(key, value, "a number of type f32");
                None
            }
        }
    }

    /// A string; what is not UTF-8 in it is replaced.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            value => {
                self.wrong(key, value, "a string");
                None
            }
        }
    }

    /// A value that must be there.
    pub(crate) fn required<T>(&mut self, key: &str, read: impl Fn(&mut Self, &str) -> Option<T>) -> Option<T> {
        if self.get(key).is_none() {
            self.problem(key, format!("the key `{key}` is missing"), "the file is no complete model; convert it again");
        }
        read(self, key)
    }

    fn wrong(&mut self, key: &str, value: Value<'_>, expected: &str) {
        let message = format!("`{key}` is {}, expected {expected}", value.describe());
        self.problem(key, message, "the file's writer is at fault; convert it with a current llama.cpp");
    }
}
