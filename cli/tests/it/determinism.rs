//! The same input gives the same bytes: twenty processes, two directories, different thread settings.

use std::path::Path;
use std::process::Command;

fn compile(directory: &Path, threads: &str) -> Vec<u8> {
    std::fs::create_dir_all(directory).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_sailplan"))
        .args(["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring", "-o", "plan.ron"])
        .current_dir(directory)
        .env("RAYON_NUM_THREADS", threads)
        .env("OMP_NUM_THREADS", threads)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    std::fs::read(directory.join("plan.ron")).unwrap()
}

#[test]
fn twenty_compilations_give_the_same_bytes() {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let first = compile(&here.join("one"), "1");
    for round in 1..20 {
        let directory = here.join(if round % 2 == 0 { "one" } else { "another place" });
        let threads = ["1", "2", "7"][round % 3];
        assert!(compile(&directory, threads) == first, "round {round} differs");
    }
}
