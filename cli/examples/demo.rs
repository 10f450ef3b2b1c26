//! What `./x demo` needs beside the `sailplan` command: `write NAME FILE` writes one of the tiny models whose logits
//! llama.cpp gave, `compare NAME LOGITS` says how far a replay is from them.
#![expect(clippy::disallowed_methods, reason = "writes and reads the files it is told to")]

#[path = "../tests/it/tiny/mod.rs"]
#[expect(dead_code, reason = "the demonstration uses a part of the test data")]
mod tiny;

use serde::Deserialize;
use std::process::ExitCode;

/// llama.cpp's logits for a prompt and greedy steps.
#[derive(Deserialize)]
struct Golden {
    source: String,
    logits: Vec<Vec<f32>>,
}

/// The file that `sailplan run --logits` writes.
#[derive(Deserialize)]
struct Replayed {
    first: usize,
    logits: Vec<Vec<f32>>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", name, file] => write(name, file),
        ["compare", name, logits] => compare(name, logits),
        _ => Err("usage: demo write NAME FILE | demo compare NAME LOGITS".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("demo: {reason}");
            ExitCode::from(2)
        }
    }
}

fn write(name: &str, file: &str) -> Result<(), String> {
    let tiny = tiny::golden(name).ok_or_else(|| format!("there is no golden model {name}"))?;
    std::fs::write(file, tiny.gguf()).map_err(|error| format!("{file}: {error}"))
}

fn compare(name: &str, logits: &str) -> Result<(), String> {
    let golden = format!("{}/tests/data/{name}.logits.json", env!("CARGO_MANIFEST_DIR"));
    let golden: Golden = read(&golden)?;
    let replayed: Replayed = read(logits)?;
    let expected = golden.logits.get(replayed.first..).unwrap_or(&[]);
    let pairs = replayed.logits.iter().flatten().zip(expected.iter().flatten());
    let (count, largest) = pairs.fold((0, 0f32), |(count, most), (a, b)| (count + 1, most.max((a - b).abs())));
    println!("{count} logits at {} positions: largest difference from llama.cpp {largest:.1e}", replayed.logits.len());
    println!("(reference: {})", golden.source);
    if largest <= 2e-5 { Ok(()) } else { Err("further than 2e-5".to_owned()) }
}

fn read<T: for<'de> Deserialize<'de>>(file: &str) -> Result<T, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))
}
