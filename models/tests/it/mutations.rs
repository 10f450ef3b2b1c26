//! Random bytes and random changes of valid input never panic; what is accepted is a checked model.

use crate::writer::tiny;
use proptest::prelude::*;
use sailplan_ir::Verify;
use sailplan_models::{Loaded, from_gguf, from_ron, zoo};

/// A change of some bytes, with positions as fractions of the length.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let special = prop_oneof![Just(0_u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    prop_oneof![
        6 => (index(), special).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        1 => index().prop_map(Mutation::Truncate),
        2 => (index(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (index(), 1..12_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => (index(), index(), 1..40_usize).prop_map(|(from, to, count)| Mutation::Copy(from, to, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let end = |at: usize, count: usize| (at + count).min(length);
    match mutation {
        Mutation::Flip(at, bits) => bytes[at.index(length)] ^= bits,
        Mutation::Truncate(at) => bytes.truncate(at.index(length)),
        Mutation::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new.iter().copied())),
        Mutation::Remove(at, count) => drop(bytes.drain(at.index(length)..end(at.index(length), *count))),
        Mutation::Copy(from, to, count) => {
            let part = bytes[from.index(length)..end(from.index(length), *count)].to_vec();
            drop(bytes.splice(to.index(length)..to.index(length), part));
        }
    }
}

/// An accepted model holds its invariants; a refusal says something.
fn sound(result: Result<Loaded, sailplan_ir::Diagnostics>) {
    match result {
        Ok(loaded) => assert!(loaded.model.problems().0.is_empty()),
        Err(problems) => {
            assert!(!problems.0.is_empty());
            assert!(problems.0.iter().all(|problem| problem.place.is_some()), "{problems}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), size in any::<u64>()) {
        sound(from_gguf("x.gguf", &bytes, size));
        let mut framed = b"GGUF\x03\0\0\0".to_vec();
        framed.extend(&bytes);
        sound(from_gguf("x.gguf", &framed, size));
        sound(from_ron("x.ron", &String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn changed_headers(changes in prop::collection::vec(mutation(), 1..4)) {
        let gguf = tiny();
        let (mut bytes, size) = (gguf.bytes(), gguf.size());
        for change in &changes {
            apply(&mut bytes, change);
        }
        sound(from_gguf("x.gguf", &bytes, size));
        sound(from_gguf("x.gguf", &bytes, u64::MAX));
    }

    #[test]
    fn changed_descriptions(which in 0..zoo().len(), changes in prop::collection::vec(mutation(), 1..4)) {
        let mut bytes = zoo()[which].text.as_bytes().to_vec();
        for change in &changes {
            apply(&mut bytes, change);
        }
        sound(from_ron("x.ron", &String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn random_text_in_a_description(middle in "[ -~\n]{0,60}", at in any::<prop::sample::Index>()) {
        let mut text = zoo()[0].text.to_owned();
        text.insert_str(at.index(text.len()), &middle);
        sound(from_ron("x.ron", &text));
    }
}

/// Every byte of the header set to each of a few values: the reader sees every field broken once.
#[test]
fn every_byte_broken() {
    let gguf = tiny();
    let (bytes, size) = (gguf.bytes(), gguf.size());
    for index in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = bytes.clone();
            broken[index] = value;
            sound(from_gguf("x.gguf", &broken, size));
        }
    }
}
