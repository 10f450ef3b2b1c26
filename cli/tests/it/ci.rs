//! The recipe for pipelines does what its page says, in a repository of its own.

use crate::commands::{sailplan, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ci/check-plans.sh");

/// A repository with one plan for a ring of two cards.
struct Repository(PathBuf);

impl Repository {
    fn new() -> Self {
        let here = Self(scratch("ci"));
        for folder in ["fleets", "plans"] {
            std::fs::create_dir_all(here.0.join(folder)).unwrap();
        }
        here.fleet("\"5 us\"");
        here.flags("");
        here.compile("");
        here.git(&["init", "--quiet"]);
        here.commit();
        here
    }

    fn fleet(&self, latency: &str) {
        let text = sailplan_cost_model::shipped_fleet("innerjib7ea-x2-ring").unwrap();
        std::fs::write(
            self.0.join("fleets/rack.ron"),
            text.replace("latency: \"5 us\"", &format!("latency: {latency}")),
        )
        .unwrap();
    }

    fn flags(&self, more: &str) {
        let line = format!("# all plans\n\nplans/rack.ron tinyllama-1.1b --fleet fleets/rack.ron {more}\n");
        std::fs::write(self.0.join("plans.txt"), line).unwrap();
    }

    fn compile(&self, more: &str) {
        let (fleet, plan) = (self.0.join("fleets/rack.ron"), self.0.join("plans/rack.ron"));
        let (fleet, plan) = (fleet.display().to_string(), plan.display().to_string());
        let flags: Vec<&str> = more.split_whitespace().collect();
        assert!(
            sailplan(&[&["compile", "tinyllama-1.1b", "--fleet", &fleet, "-o", &plan][..], &flags].concat())
                .status
                .success()
        );
    }

    fn git(&self, arguments: &[&str]) {
        let who = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ];
        let output = Command::new("git").current_dir(&self.0).args(who).args(arguments).output().expect("git is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "plans"]);
    }

    /// Exit code, and all that was printed.
    fn check(&self, gates: Option<&str>) -> (i32, String) {
        let tools = Path::new(env!("CARGO_BIN_EXE_sailplan")).parent().unwrap().display().to_string();
        let mut command = Command::new("sh");
        command.current_dir(&self.0).args([SCRIPT, "HEAD"]);
        command.env("PATH", format!("{tools}:{}", std::env::var("PATH").unwrap_or_default()));
        gates.map(|gates| command.env("GATES", gates));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), said)
    }
}

#[test]
fn the_recipe_passes_what_it_may_and_fails_what_it_must() {
    let repository = Repository::new();
    let expect = |gates, code, words: &[&str]| {
        let (ended, said) = repository.check(gates);
        assert_eq!(ended, code, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "`{word}` is not said:\n{said}"));
    };
    expect(None, 0, &["== plans/rack.ron", "verdict   the same"]);
    repository.fleet("\"500 us\"");
    expect(None, 1, &["the plan would change"]);
    repository.compile("");
    expect(None, 1, &["5 us → 500 us", "failed    slower by"]);
    expect(Some("--fail-on unfit"), 0, &["slower: request"]);
    repository.fleet("\"1 us\"");
    repository.compile("");
    expect(None, 0, &["faster: request"]);
    repository.flags("--context 4096");
    repository.compile("--context 4096");
    expect(None, 1, &["failed    there are changes of class wrong-target"]);
    repository.commit();
    expect(None, 0, &["verdict   the same"]);
    let plan = repository.0.join("plans/rack.ron");
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replacen("columns: 2048", "columns: 2047", 1)).unwrap();
    expect(None, 1, &["the digest is not that of the text", "unfit: the new plan is refused"]);
}

#[test]
fn the_page_shows_the_script() {
    let page = include_str!("../../../docs/ci.md");
    assert!(page.contains(include_str!("../../../docs/ci/check-plans.sh")), "docs/ci.md shows another script");
    for class in sailplan_codegen::Class::ALL {
        assert!(page.contains(&format!("| `{class}` |")), "docs/ci.md does not explain {class}");
    }
}
