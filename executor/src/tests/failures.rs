//! A card that dies or hangs ends the run in time and is named.
#![expect(clippy::disallowed_types, reason = "time limits are tested")]

use super::model::WeightFile;
use super::tiny::{Case, Group, Share, Sizes};
use crate::cpu::Cpu;
use crate::device::{Arenas, Buffer, Device, Kernel, Step};
use crate::replay::replay_on;
use crate::{Fault, ReplayError, Session};
use sailplan_ir::{DType, Op};
use std::time::{Duration, Instant};

/// What the device does instead of `SwiGlu`.
trait Misdeed {
    /// How long the run waits for a card that makes no progress. Long where the card says itself what is wrong: printing a
    /// backtrace may take seconds on a busy machine.
    const LIMIT: Duration = Duration::from_secs(60);
    fn happen() -> Fault;
}

/// A card that works until its first `SwiGlu` with a narrow FFN share.
struct Bad<M> {
    cpu: Cpu,
    misdeed: std::marker::PhantomData<M>,
}

impl<M> Default for Bad<M> {
    fn default() -> Self {
        Self { cpu: Cpu::default(), misdeed: std::marker::PhantomData }
    }
}

impl<M: Misdeed> Device for Bad<M> {
    const NAME: &'static str = "bad";

    fn computes(dtype: DType) -> bool {
        Cpu::computes(dtype)
    }
    fn allocate(&mut self, arenas: Arenas) -> Result<(), Fault> {
        self.cpu.allocate(arenas)
    }
    fn load(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.cpu.load(offset, bytes)
    }
    fn run(&mut self, kernel: &Kernel, step: Step) -> Result<(), Fault> {
        let narrow = matches!(kernel.inputs.first(), Some(crate::Operand::Buffer(buffer)) if buffer.columns == 64);
        if kernel.op == Op::SwiGlu && narrow { Err(M::happen()) } else { self.cpu.run(kernel, step) }
    }
    fn read(&self, buffer: Buffer, step: Step) -> Result<Vec<f32>, Fault> {
        self.cpu.read(buffer, step)
    }
    fn write(&mut self, buffer: Buffer, step: Step, values: &[f32]) -> Result<(), Fault> {
        self.cpu.write(buffer, step, values)
    }
    fn write_tokens(&mut self, buffer: Buffer, step: Step, tokens: &[u32]) -> Result<(), Fault> {
        self.cpu.write_tokens(buffer, step, tokens)
    }
}

/// Runs on four cards, of which sail2 misbehaves.
fn ended<M: Misdeed + Send + 'static>(name: &str) -> ReplayError {
    let sizes = Sizes { layers: 1, ..Sizes::default() };
    let file = WeightFile::new(&sizes, name);
    let bounds = [0, 128, 256, 320, 512];
    let share = |rank: u64| Share {
        kv_heads: rank..rank + 1,
        ffn: bounds[rank as usize]..bounds[rank as usize + 1],
        vocabulary: rank * 24..rank * 24 + 24,
    };
    let groups = vec![Group { layers: 0..1, shares: (0..4).map(share).collect() }];
    let case = Case { groups, ..Case::alone(sizes) };
    let session = Session { timeout: M::LIMIT, ..Session::new(vec![1, 2, 3], 1) };
    let began = Instant::now();
    let error = replay_on::<Bad<M>>(&case.plan(), &file.index, &session).expect_err(name);
    assert!(began.elapsed() < Duration::from_secs(50), "{error}");
    error
}

struct Fails;
impl Misdeed for Fails {
    fn happen() -> Fault {
        Fault::Operands { operator: "swiglu", problem: "of course not" }
    }
}

struct Panics;
impl Misdeed for Panics {
    fn happen() -> Fault {
        panic!("on purpose")
    }
}

struct Hangs;
impl Misdeed for Hangs {
    const LIMIT: Duration = Duration::from_millis(400);

    fn happen() -> Fault {
        std::thread::sleep(Duration::from_secs(3600));
        Fault::Operands { operator: "swiglu", problem: "too late" }
    }
}

#[test]
fn the_first_cause_is_told() {
    assert_eq!(ended::<Fails>("fails").to_string(), "sail2: swiglu: of course not");
}

#[test]
fn a_panic_is_told() {
    assert_eq!(ended::<Panics>("panics").to_string(), "the thread of sail2 panicked: on purpose");
}

#[test]
fn a_hang_is_told_in_time() {
    let error = ended::<Hangs>("hangs");
    assert!(error.to_string().contains("waited for sail2 in step 0 of all-reduce"), "{error}");
}
