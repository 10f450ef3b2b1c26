//! One card's thread: it loads its shards, then runs a program for each step that the host asks for. It knows its own
//! script only; what other cards do shows as messages.
#![expect(clippy::disallowed_types, reason = "kernel and link times are measured")]

use crate::ReplayError;
use crate::collectives::Extent;
use crate::device::{Buffer, Device, Step};
use crate::replay::{Command, Event, News};
use crate::resolve::{Action, Load, Script};
use crate::shards::Files;
use crate::transport::{Pulse, Tag, Transport};
use crate::{Fault, SailTime};
use sailplan_ir::Dim;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// A card with all it needs.
pub(crate) struct Sail<D, T> {
    pub(crate) script: Script,
    pub(crate) device: D,
    pub(crate) transport: T,
    pub(crate) host: Sender<Event>,
    pub(crate) pulse: Pulse,
    pub(crate) times: Times,
    pub(crate) files: Arc<Files>,
}

/// Where the time went.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    kernels: Duration,
    links: Duration,
}

impl<D: Device, T: Transport> Sail<D, T> {
    /// Runs until the host hangs up. The host learns of every end, of a panic too; an error cannot be told to a host
    /// that is gone.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        let (sail, host) = (self.script.sail, self.host.clone());
        let body = AssertUnwindSafe(|| self.serve(commands));
        let ended = catch_unwind(body)
            .unwrap_or_else(|panic| Err(ReplayError::Panicked { sail, message: message(panic.as_ref()) }));
        // Peers must see this card end before the host hears why.
        drop(self);
        if let Err(error) = ended {
            let _ = host.send(Event { sail, news: News::Failed(error) });
        }
    }

    fn serve(&mut self, commands: &Receiver<Command>) -> Result<(), ReplayError> {
        self.load()?;
        self.tell(News::Loaded);
        while let Ok(command) = commands.recv() {
            self.step(&command)?;
            let Times { kernels, links } = self.times;
            let time = SailTime {
                sail: self.script.sail,
                kernel_seconds: kernels.as_secs_f64(),
                link_seconds: links.as_secs_f64(),
            };
            self.tell(News::Done { step: command.number, time });
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), ReplayError> {
        self.device.allocate(self.script.arenas).map_err(|fault| self.fault(fault))?;
        for index in 0..self.script.loads.len() {
            self.take(self.script.loads[index])?;
            self.pulse.beat();
        }
        Ok(())
    }

    /// One shard: from the files or from another card, and on to the next.
    fn take(&mut self, Load { shard, from, to }: Load) -> Result<(), ReplayError> {
        let shard = &self.script.shards[shard];
        let runs = || self.files.shard(&shard.entry, shard.cut);
        let bytes = match (from, to) {
            (Some(peer), _) => Some(self.transport.receive_shard(peer, shard.cut.bytes().unwrap_or(0) as usize)?),
            (None, Some(_)) => Some(runs().collect::<Vec<_>>().concat()),
            (None, None) => None,
        };
        let mut offset = shard.weight.offset;
        let mut store = |run: &[u8]| {
            let stored = self.device.load(offset, run);
            offset = offset.saturating_add(run.len() as u64);
            stored.map_err(|source| ReplayError::Device { sail: self.script.sail, source })
        };
        match &bytes {
            Some(bytes) => store(bytes)?,
            None => runs().try_for_each(store)?,
        }
        match bytes.zip(to) {
            Some((bytes, peer)) => self.transport.send_shard(peer, &bytes),
            None => Ok(()),
        }
    }

    fn step(&mut self, command: &Command) -> Result<(), ReplayError> {
        let step = Step { start: command.start, tokens: command.tokens.len() as u64 };
        let Script { prefill, decode, .. } = &self.script;
        let actions = Arc::clone(if command.prefill { prefill } else { decode });
        for action in actions.iter() {
            self.act(action, step, command)?;
            self.pulse.beat();
        }
        Ok(())
    }

    fn act(&mut self, action: &Action, step: Step, command: &Command) -> Result<(), ReplayError> {
        match action {
            Action::Kernel(kernel) => {
                let began = Instant::now();
                self.device.run(kernel, step).map_err(|fault| self.fault(fault))?;
                self.times.kernels += began.elapsed();
            }
            Action::Slice { from, first, into } => {
                let values = self.read(*from, step)?;
                let rows = match into.rows {
                    Dim::Part(share) => share.rows(step.tokens),
                    all => 0..all.size(step.extents()),
                };
                let elements = |row: u64| row.saturating_mul(from.columns) as usize;
                let values = values.get(elements(rows.start)..elements(rows.end)).unwrap_or_default();
                let values = columns(values, from.columns, *first, into.columns as usize);
                self.write(*into, step, &values)?;
            }
            Action::Collective { exchange, from, into, gates } => {
                let operand = self.read(*from, step)?;
                let gates = gates.map(|gates| self.read(gates, step)).transpose()?;
                let began = Instant::now();
                let rows = step.rows(*from).max(step.rows(*into)) as usize;
                let whole = Extent { rows, columns: from.columns.max(into.columns) as usize };
                let result = match gates {
                    Some(gates) => exchange.run_by(whole, &operand, &gates, &mut self.transport)?,
                    None => exchange.run(whole, operand, &mut self.transport)?,
                };
                self.times.links += began.elapsed();
                self.write(*into, step, &result)?;
            }
            Action::Send { peer, tag, from } => {
                let values = self.read(*from, step)?;
                self.transport.send(*peer, Tag::Send(*tag), &values)?;
            }
            Action::Receive { peer, tag, into } => {
                let began = Instant::now();
                let values = self.transport.receive(*peer, Tag::Send(*tag), step.elements(*into) as usize)?;
                self.times.links += began.elapsed();
                self.write(*into, step, &values)?;
            }
            Action::Stream { shard } => self.take(Load { shard: *shard, from: None, to: None })?,
            Action::TakeTokens { into } => {
                self.device.write_tokens(*into, step, &command.tokens).map_err(|fault| self.fault(fault))?;
            }
            Action::GiveLogits { from, first } => {
                let values = self.read(*from, step)?;
                self.tell(News::Logits { step: command.number, first: *first, values });
            }
        }
        Ok(())
    }

    fn read(&self, buffer: Buffer, step: Step) -> Result<Vec<f32>, ReplayError> {
        self.device.read(buffer, step).map_err(|fault| self.fault(fault))
    }

    fn write(&mut self, buffer: Buffer, step: Step, values: &[f32]) -> Result<(), ReplayError> {
        self.device.write(buffer, step, values).map_err(|fault| self.fault(fault))
    }

    fn fault(&self, source: Fault) -> ReplayError {
        ReplayError::Device { sail: self.script.sail, source }
    }

    /// A host that is gone needs no news; this card then ends at its next command.
    fn tell(&self, news: News) {
        self.pulse.beat();
        let _ = self.host.send(Event { sail: self.script.sail, news });
    }
}

/// Columns `first..first + count` of every row.
fn columns(values: &[f32], width: u64, first: usize, count: usize) -> Vec<f32> {
    let rows = values.chunks_exact((width as usize).max(1));
    rows.flat_map(|row| &row[first..first + count]).copied().collect()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
