//! The command line: verbs, flags and their help. It knows no stage.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Plans the placement of a model's tensors on a fleet of accelerator cards, proves the choice, and replays it.
#[derive(Parser, Debug)]
#[command(name = "sailplan", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Example:\n  sailplan compile tinyllama-1.1b --fleet innerjib7ea-x4-ring -o plan.ron\n\n\
    Exit codes: 0 done, 1 a difference, a violation or no plan, 2 an error.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Examples of `compile`, and what it does with an old plan.
const COMPILE_HELP: &str = "\
Examples:
  sailplan compile model.gguf --fleet fleet.ron --prompt 512 --generate 128 -o plan.ron
  sailplan compile tinyllama-1.1b --fleet innerjib7ea-x4-ring --pin pins.ron
  sailplan compile --from plan.ron --without sail2 -o new.ron

Without a plan, it says which demands cannot hold together and what would admit one; exit code 1.

With --from, the model, the fleet, the request and the pins are the old plan's where they are not given; a plan carries all it
takes to plan its model again. A model that is given must be the old plan's. A card of another kind or memory than before is
taken for another card, which holds nothing yet. The time that weights take to move is that of their messages alone; caches are not moved.";

/// Classes and exit codes of `diff`.
const DIFF_HELP: &str = "\
Example:
  sailplan diff old.ron new.ron --fail-if-slower 1 --fail-on unfit,wrong-target

Classes, most serious first:
  unfit          `verify` refuses the new plan
  wrong-target   another model, other cards, other memory or links between them, or another request
  slower         prefill, a decode step or the request takes longer
  tighter        a card has less room left
  moved          layers or slices have another home: weights are sent again
  traffic        other collectives, messages or kernels in a step, or another way to load
  estimate-only  figures of the fleet, predictions and proofs that are no worse in a way named above
  cosmetic       names, addresses, who wrote it

Exit codes: 0 the same, 1 a difference, 2 an error. With --fail-if-slower or --fail-on: 1 when one of them fails, else 0;
a new plan that `verify` refuses always fails.";

/// Parts and exit codes of `explain`.
const EXPLAIN_HELP: &str = "\
Examples:
  sailplan explain plan.ron
  sailplan explain plan.ron stage0
  sailplan explain plan.ron layer
  sailplan explain plan.ron blk.3.ffn_down.weight

Every figure beside the plan's own is found by planning again, with the plan's model, fleet, request and pins and one thing
changed. Figures that move the plan are looked for up and down to 16 times; the number of plans made is shown.

Exit codes: 0 done, 1 this build would choose another plan than the one given, 2 an error.";

/// The verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Find the best placement of a model on a fleet and write the plan.
    #[command(after_help = COMPILE_HELP)]
    Compile(Compile),
    /// Show what a plan holds: stages, memory, predicted times.
    #[command(after_help = "Example:\n  sailplan show plan.ron --json")]
    Show(PlanFile),
    /// Say why a plan is as it is: what binds, the next best plan, and the figures at which another one is better.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainPlan),
    /// Compare two plans by meaning: what they were made from, times, homes, traffic, memory.
    #[command(after_help = DIFF_HELP)]
    Diff(DiffPlans),
    /// Check a plan from scratch: every instruction, every byte, and that its programs compute the model.
    #[command(
        after_help = "Examples:\n  sailplan verify plan.ron --model model.gguf\n  sailplan verify plan.ron --proof\n  \
            sailplan verify plan.ron --proof-out plan.proof\n  sailplan verify plan.ron --check-proof plan.proof\n\n\
            Exit codes: 0 sound and proven, 1 not, 2 an error."
    )]
    Verify(VerifyPlan),
    /// Simulate a plan message by message and compare with its predicted times.
    #[command(after_help = "Example:\n  sailplan simulate plan.ron --trace trace.json   # open it in ui.perfetto.dev")]
    Simulate(Simulate),
    /// Replay a plan with real numbers on the CPU, one thread for each card.
    #[command(after_help = "Example:\n  sailplan run plan.ron --weights model.gguf --tokens 1,17,300 --generate 8")]
    Run(Run),
    /// Show a model: sizes, types, layer classes.
    #[command(after_help = "Example:\n  sailplan model tinyllama-1.1b")]
    Model(ModelArg),
    /// Show a fleet: cards, links, host, and where each figure comes from.
    #[command(after_help = "Example:\n  sailplan fleet innerjib7ea-x4-ring")]
    Fleet(FleetArg),
    /// Show what a fleet's card link carries: payload rate step by step, round trip, saturation, all-reduce times.
    #[command(after_help = "Example:\n  sailplan link innerjib7ea-x4-ring --csv")]
    Link(LinkArg),
    /// Fit a fleet's latencies, overheads and rates to measured times and write a new fleet file beside the old.
    #[command(after_help = "Example:\n  sailplan calibrate measured.csv --fleet innerjib7ea-x4-ring -o mine.ron\n\n\
        The file begins with `operation,bytes,group,topology,seconds`; rows are such as\n  \
        message,64 KiB,\"0,1\",ring,0.000169\n  all-reduce/ring,1048576,4,ring,0.00398\n  \
        kernel,16 MiB,,,0.0085\n  host,1 MiB,,,0.0106")]
    Calibrate(Calibrate),
    /// Compare the best plan with one card and with layer-wise placement, under the same prices.
    #[command(after_help = "Example:\n  sailplan baseline tinyllama-1.1b --fleet innerjib7ea-x4-ring")]
    Baseline(Baseline),
    /// Vary one figure of the fleet or the request and show where the plan's structure changes.
    #[command(
        after_help = "Examples:\n  sailplan sweep tinyllama-1.1b --fleet home-cluster-x5 --vary link.latency=10us..10ms:13\n  \
        sailplan sweep llama-3-70b --fleet innerjib7ea-x16-ring --vary sails=10,12,16,24,32 --csv"
    )]
    Sweep(Sweep),
    /// Print a stage of the compiler as text.
    #[command(after_help = "Example:\n  sailplan dump tinyllama-1.1b --stage forms --fleet innerjib7ea-x4-ring")]
    Dump(Dump),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  sailplan completions bash > /etc/bash_completion.d/sailplan")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// A model and the workload.
#[derive(Args, Debug)]
pub(crate) struct Workload {
    /// A model: a file (.gguf, .ron) or the name of a shipped one.
    pub(crate) model: String,
    /// A fleet: a file (.ron) or the name of a shipped one.
    #[arg(long)]
    pub(crate) fleet: String,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// What is asked of a plan.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    /// Prompt tokens of each sequence [default: 512].
    #[arg(long)]
    pub(crate) prompt: Option<u64>,
    /// Tokens to generate for each sequence [default: 128].
    #[arg(long)]
    pub(crate) generate: Option<u64>,
    /// Sequences side by side [default: 1].
    #[arg(long)]
    pub(crate) batch: Option<u64>,
    /// Positions the caches hold for each sequence [default: prompt + generate, at least 2048].
    #[arg(long)]
    pub(crate) context: Option<u64>,
    /// Prompt tokens that go through the prefill program at once [default: 512].
    #[arg(long)]
    pub(crate) ubatch: Option<u64>,
    /// Type of activations on the links; bf16 halves the bytes and rounds [default: f32].
    #[arg(long, value_enum)]
    pub(crate) wire: Option<WireArg>,
    /// Type of the KV caches; f16 halves them and rounds [default: f32].
    #[arg(long, value_enum)]
    pub(crate) kv: Option<CacheArg>,
    /// Let weights of layers that do not fit stay on the host and come over its link at every step.
    #[arg(long)]
    pub(crate) stream: bool,
    /// A file of named demands that the placement must keep to, such as
    /// [(name: "spare", demand: Never("sail3"))]; docs/pins.md has them all.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Option<PathBuf>,
    /// What to minimise [default: request].
    #[arg(long, value_enum)]
    pub(crate) objective: Option<ObjectiveArg>,
}

#[derive(Args, Debug)]
pub(crate) struct Compile {
    /// A model: a file (.gguf, .ron) or the name of a shipped one; with --from, the old plan's where left out.
    #[arg(required_unless_present = "from")]
    pub(crate) model: Option<String>,
    /// A fleet: a file (.ron) or the name of a shipped one; with --from, the old plan's where left out.
    #[arg(long, required_unless_present = "from")]
    pub(crate) fleet: Option<String>,
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Plan again from this plan: what is not given is as in it, of plans of equal time the one that moves fewer weights
    /// is taken, and what must move is shown.
    #[arg(long, value_name = "OLD")]
    pub(crate) from: Option<PathBuf>,
    /// Cards that are lost: they get no work and pass nothing on; the others keep their names.
    #[arg(long, value_name = "SAIL,...", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Where to write the plan; without it, only the summary is printed.
    #[arg(short, long, value_name = "PLAN")]
    pub(crate) output: Option<PathBuf>,
    /// Plan again and exit 1 when this committed plan would change; nothing is written.
    #[arg(long, value_name = "OLD", conflicts_with = "output")]
    pub(crate) check: Option<PathBuf>,
    /// Solve the integer program whatever its size.
    #[arg(long)]
    pub(crate) prove: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PlanFile {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainPlan {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// A stage (stage0), a layer class (layer) or a weight (blk.3.ffn_down.weight) [default: the whole plan].
    #[arg(value_name = "WHERE")]
    pub(crate) part: Option<String>,
    /// The model, where the plan alone does not tell it: a file or the name of a shipped one.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DiffPlans {
    /// The plan before.
    pub(crate) old: PathBuf,
    /// The plan after.
    pub(crate) new: PathBuf,
    /// Fail only when prefill, a decode step or the request is slower by more than this many percent.
    #[arg(long, value_name = "PCT", value_parser = percent, allow_negative_numbers = true)]
    pub(crate) fail_if_slower: Option<f64>,
    /// Fail only when there are changes of these classes.
    #[arg(long, value_name = "CLASS,...", value_delimiter = ',', value_enum)]
    pub(crate) fail_on: Vec<ClassArg>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of percent from 0 on.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| "expected percent such as 1 or 2.5".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct VerifyPlan {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// The model it must compute: a file or the name of a shipped one.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Prove by the rule table that what the plan runs for each layer class equals the class, and check the proofs.
    #[arg(long)]
    pub(crate) proof: bool,
    /// Write the proofs to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) proof_out: Option<PathBuf>,
    /// Check the proofs in a file instead of making them: no e-graph is built.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proof", "proof_out"])]
    pub(crate) check_proof: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Write what every card and link does in one prefill and one decode step, as Chrome trace JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// The GGUF file with the weights.
    #[arg(long, value_name = "GGUF")]
    pub(crate) weights: PathBuf,
    /// Token ids to feed, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
    /// How many of them go through the prefill program; the rest go one by one through decode [default: all].
    #[arg(long, value_name = "K")]
    pub(crate) prefill: Option<usize>,
    /// Of a plan with replicas, the number of the one to replay.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) replica: u32,
    /// Tokens to generate greedily afterwards; each is fed as well.
    #[arg(long, default_value_t = 0)]
    pub(crate) generate: u32,
    /// Write the logits of every position from K−1 on as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) logits: Option<PathBuf>,
    /// Seconds without progress of any card before the run is given up.
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ModelArg {
    /// A model: a file (.gguf, .ron) or the name of a shipped one.
    pub(crate) model: String,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FleetArg {
    /// A fleet: a file (.ron) or the name of a shipped one.
    pub(crate) fleet: String,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LinkArg {
    /// A fleet: a file (.ron) or the name of a shipped one.
    pub(crate) fleet: String,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print the all-reduce times as CSV.
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Calibrate {
    /// Measured times: CSV with the columns operation, bytes, group, topology, seconds.
    #[arg(value_name = "CSV")]
    pub(crate) measurements: PathBuf,
    /// The fleet whose figures are refitted: a file (.ron) or the name of a shipped one.
    #[arg(long)]
    pub(crate) fleet: String,
    /// Where to write the fleet with the new figures; never over the old one.
    #[arg(short, long, value_name = "NEW")]
    pub(crate) output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Baseline {
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// FIGURE=FROM..TO:N (each value the same factor above the last) or FIGURE=A,B,C. Figures: link.rate, link.latency,
    /// sail.bandwidth, sail.memory, host.rate, host.latency, sails, prompt, generate, context, batch.
    #[arg(long, value_name = "FIGURE=VALUES")]
    pub(crate) vary: String,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV.
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Dump {
    /// A model: a file (.gguf, .ron) or the name of a shipped one.
    pub(crate) model: String,
    /// Which stage.
    #[arg(long, value_enum)]
    pub(crate) stage: StageArg,
    /// A fleet; needed for every stage but `graph` and `rules`.
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    /// A file of demands that the placement must keep to.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum WireArg {
    F32,
    Bf16,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum CacheArg {
    F32,
    F16,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum ObjectiveArg {
    /// Prefill plus all decode steps.
    Request,
    /// One decode step.
    Decode,
    /// The prompt.
    Prefill,
    /// The time between two requests that leave, with as many on their way as there are stages; with several replicas, all
    /// together.
    Throughput,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum ClassArg {
    Unfit,
    WrongTarget,
    Slower,
    Tighter,
    Moved,
    Traffic,
    EstimateOnly,
    Cosmetic,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum StageArg {
    /// Layer classes and their operators.
    Graph,
    /// The rewrite rules generated for each layer class.
    Rules,
    /// The sharded programs that were chosen.
    Forms,
    /// Stages, memory and times.
    Placement,
    /// The plan file.
    Plan,
}
