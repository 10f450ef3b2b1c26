//! Files on disk: what cannot be opened, what is not a model, and a header longer than the first read.
#![expect(clippy::disallowed_methods, reason = "tests write the files they load")]

use crate::writer::{Meta, tiny};
use sailplan_models::load;
use std::path::PathBuf;

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("models-source");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn check(name: &str, bytes: &[u8], expected: &str) {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("a file");
    let problems = load(&path).expect_err(name);
    let first = &problems.0[0];
    assert!(first.message.contains(expected), "{name}: {first}");
    assert!(first.hint.is_some(), "{name}: {first}");
    assert!(first.place.as_ref().is_some_and(|place| place.file.ends_with(name)), "{name}: {first}");
}

#[test]
fn files_that_are_no_models() {
    check("empty.gguf", b"", "the file is empty");
    check("short.gguf", b"GG", "the file ends inside the magic number");
    check("text.gguf", b"hello, world", "not with `GGUF`");
    check("model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "`.safetensors` files are not supported yet");
    check("model.onnx", b"\x08\x07", "`.onnx` files are not supported yet");
    check("old.bin", b"tjgg\x03\0\0\0", "from before GGUF");
    check("model.bin", b"12345678", "not a model file that sailplan knows");
    check("latin.ron", b"Decoder(name: \"\xff\")", "byte 15 is not UTF-8");
    check("blank.ron", b"  // nothing\n", "the description is empty");
}

#[test]
fn paths_that_are_no_files() {
    let directory = load(&folder()).expect_err("a directory").0.remove(0);
    assert!(directory.message.contains("directory") && directory.hint.is_some());
    let missing = load(&folder().join("missing.gguf")).expect_err("no file").0.remove(0);
    assert!(missing.message.contains("no such file") && missing.hint.is_some());
}

/// The header is read in steps; data after it need not be there to plan, but the file's size must allow it.
#[test]
fn a_header_longer_than_one_read() {
    let merges = (0..200_000).map(|index| format!("merge number {index}")).collect();
    let gguf = tiny().with("tokenizer.ggml.merges", Meta::Texts(merges));
    let path = folder().join("long.gguf");
    std::fs::write(&path, gguf.bytes()).expect("a file");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
    file.set_len(gguf.size()).expect("its size");
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.model.digest, tiny().load().expect("valid").model.digest);
    file.set_len(gguf.size() - 1).expect("its size");
    let problems = load(&path).expect_err("truncated").to_string();
    assert!(problems.contains("output.weight") && problems.contains("ends at byte"), "{problems}");
    file.set_len(1_500_000).expect("its size");
    let problems = load(&path).expect_err("truncated").to_string();
    assert!(problems.contains("the file ends inside") || problems.contains("the file has"), "{problems}");
}

#[test]
fn a_description_on_disk() {
    let path = folder().join("tinyllama.ron");
    std::fs::write(&path, crate::zoo::text("tinyllama-1.1b")).expect("a file");
    assert_eq!(load(&path).expect("valid").model.name, "tinyllama-1.1b");
}
