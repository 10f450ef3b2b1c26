//! The host's side of a replay: it starts a thread for each card, hands out tokens, puts the logits together and
//! decides why a run failed. It knows no kernels and no collectives.
#![expect(clippy::disallowed_types, reason = "steps are measured")]

use crate::cpu::Cpu;
use crate::device::Device;
use crate::resolve::{Script, resolve};
use crate::sail::{Sail, Times};
use crate::session::{greedy, logits_width};
use crate::shards::Files;
use crate::transport::{Pulse, Silence, Threads, wait};
use crate::{Measured, Progress, ReplayError, Report, SailTime, Session};
use sailplan_codegen::Plan;
use sailplan_ir::{SailId, Verified, WeightIndex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Replays a plan on the `cpu` device with one thread for each card.
///
/// # Errors
/// The session does not fit the plan, the files do not hold its weights, or a card ended or stood still.
pub fn replay(plan: &Verified<Plan>, weights: &WeightIndex, session: &Session) -> Result<Report, ReplayError> {
    replay_on::<Cpu>(plan, weights, session)
}

/// What a card is asked to do.
pub(crate) struct Command {
    pub(crate) number: usize,
    pub(crate) prefill: bool,
    pub(crate) start: u64,
    pub(crate) tokens: Arc<[u32]>,
}

/// What a card tells the host.
pub(crate) struct Event {
    pub(crate) sail: SailId,
    pub(crate) news: News,
}

pub(crate) enum News {
    Loaded,
    Logits { step: usize, first: u64, values: Vec<f32> },
    Done { step: usize, time: SailTime },
    Failed(ReplayError),
}

pub(crate) fn replay_on<D: Device + Default + Send + 'static>(
    plan: &Plan,
    weights: &WeightIndex,
    session: &Session,
) -> Result<Report, ReplayError> {
    session.check(plan)?;
    let scripts = resolve::<D>(plan, weights)?;
    let shards = scripts.iter().flat_map(|script| &script.shards);
    let tensors = shards.map(|shard| (shard.tensor.clone(), shard.entry.clone())).collect();
    let files = Arc::new(Files::open(weights, &tensors)?);
    let began = Instant::now();
    let mut host = Host::start::<D>(plan, session, scripts, &files)?;
    host.wait_until_loaded()?;
    host.measured.load_seconds = began.elapsed().as_secs_f64();
    host.measured.loaded = files.read();
    session.tell(Progress::Loaded { seconds: host.measured.load_seconds });
    host.feed(plan, session)
}

struct Host {
    commands: BTreeMap<SailId, Sender<Command>>,
    events: Receiver<Event>,
    pulse: Pulse,
    limit: Duration,
    /// Columns of a row of logits.
    width: u64,
    steps: usize,
    /// Pieces of the logits by step.
    pieces: BTreeMap<usize, Vec<(u64, Vec<f32>)>>,
    measured: Measured,
}

impl Host {
    fn start<D: Device + Default + Send + 'static>(
        plan: &Plan,
        session: &Session,
        scripts: Vec<Script>,
        files: &Arc<Files>,
    ) -> Result<Self, ReplayError> {
        let pulse = Pulse::default();
        let ids: Vec<SailId> = scripts.iter().map(|script| script.sail).collect();
        let ends = Threads::connect(&ids, plan.request.wire, session.timeout, &pulse);
        let (host, events) = channel();
        let mut commands = BTreeMap::new();
        for (script, transport) in scripts.into_iter().zip(ends) {
            let (id, times) = (script.sail, Times::default());
            let (host, pulse, files) = (host.clone(), pulse.clone(), Arc::clone(files));
            let sail = Sail { script, device: D::default(), transport, host, pulse, times, files };
            let (sender, receiver) = channel();
            let thread = std::thread::Builder::new().name(id.to_string());
            // Not joined: a thread that hangs must not keep the run from ending.
            let started = thread.spawn(move || sail.run(&receiver));
            started.map_err(|source| ReplayError::NoThread { sail: id, source })?;
            commands.insert(id, sender);
        }
        let (limit, width) = (session.timeout, logits_width(plan));
        let (pieces, measured) = (BTreeMap::new(), Measured::default());
        Ok(Self { commands, events, pulse, limit, width, steps: 0, pieces, measured })
    }

    fn feed(mut self, plan: &Plan, session: &Session) -> Result<Report, ReplayError> {
        let (mut tokens, mut generated) = (session.tokens.clone(), Vec::new());
        let mut logits = vec![self.prefill(plan, session)?];
        let whole = tokens.len() + session.generate as usize;
        let began = Instant::now();
        for position in session.prefill..whole {
            if position == tokens.len() {
                let next = greedy(&logits[logits.len() - 1]);
                tokens.push(next);
                generated.push(next);
            }
            self.send(false, position, &tokens[position..=position]);
            self.wait_until_done()?;
            logits.push(self.row(position)?);
            session.tell(Progress::Decoded { position, of: whole });
        }
        let decoded = whole - session.prefill;
        if decoded > 0 {
            self.measured.decode_seconds_per_token = Some(began.elapsed().as_secs_f64() / decoded as f64);
        }
        Ok(Report { first: session.prefill - 1, tokens, generated, logits, measured: self.measured })
    }

    /// All chunks are handed out at once, so that stages overlap.
    fn prefill(&mut self, plan: &Plan, session: &Session) -> Result<Vec<f32>, ReplayError> {
        let began = Instant::now();
        let most = usize::try_from(plan.request.chunk_tokens()).unwrap_or(usize::MAX);
        // Even chunks, as they are priced.
        let chunk = session.prefill.div_ceil(session.prefill.div_ceil(most).max(1)).max(1);
        for (index, tokens) in session.tokens[..session.prefill].chunks(chunk).enumerate() {
            self.send(true, index * chunk, tokens);
        }
        self.wait_until_done()?;
        let row = self.row(session.prefill - 1)?;
        self.measured.prefill_seconds = began.elapsed().as_secs_f64();
        let seconds = self.measured.prefill_seconds;
        session.tell(Progress::Prefilled { tokens: session.prefill, seconds });
        Ok(row)
    }

    /// A card that is gone has told why, or will; the next wait hears it.
    fn send(&mut self, prefill: bool, start: usize, tokens: &[u32]) {
        let tokens: Arc<[u32]> = tokens.into();
        for sender in self.commands.values() {
            let tokens = Arc::clone(&tokens);
            let _ = sender.send(Command { number: self.steps, prefill, start: start as u64, tokens });
        }
        self.steps += 1;
    }

    fn wait_until_loaded(&mut self) -> Result<(), ReplayError> {
        let mut waiting: Vec<SailId> = self.commands.keys().copied().collect();
        while !waiting.is_empty() {
            let Event { sail, news } = self.next(&waiting)?;
            match news {
                News::Failed(error) => return Err(self.cause(sail, error)),
                _ => waiting.retain(|&other| other != sail),
            }
        }
        Ok(())
    }

    /// Waits until every card has done the last step handed out.
    fn wait_until_done(&mut self) -> Result<(), ReplayError> {
        let mut waiting: Vec<SailId> = self.commands.keys().copied().collect();
        let mut times = BTreeMap::new();
        while !waiting.is_empty() {
            let Event { sail, news } = self.next(&waiting)?;
            match news {
                News::Failed(error) => return Err(self.cause(sail, error)),
                News::Logits { step, first, values } => self.pieces.entry(step).or_default().push((first, values)),
                News::Done { step, time } if step + 1 == self.steps => {
                    times.insert(sail, time);
                    waiting.retain(|&other| other != sail);
                }
                News::Done { .. } | News::Loaded => {}
            }
        }
        self.measured.sails = times.into_values().collect();
        Ok(())
    }

    /// The next event. Cards that wait for each other notice a standstill themselves and name the peer; the host
    /// gives them some time more than they take.
    fn next(&self, waiting: &[SailId]) -> Result<Event, ReplayError> {
        let limit = self.limit + self.limit / 4 + Duration::from_millis(50);
        wait(&self.events, &self.pulse, limit).map_err(|silence| match silence {
            Silence::Closed | Silence::Still => {
                ReplayError::SailTimedOut { sail: waiting.first().copied().unwrap_or(SailId(0)), timeout: self.limit }
            }
        })
    }

    /// Of the failures that one failure causes, the first cause: an error that names no peer, else one whose peer
    /// told nothing itself.
    fn cause(&self, sail: SailId, error: ReplayError) -> ReplayError {
        let mut failures = BTreeMap::from([(sail, error)]);
        let grace = (self.limit / 4).clamp(Duration::from_millis(20), Duration::from_millis(500));
        while failures.len() < self.commands.len() {
            match self.events.recv_timeout(grace) {
                Ok(Event { sail, news: News::Failed(error) }) => {
                    failures.entry(sail).or_insert(error);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let own = failures.iter().find(|(_, error)| blamed(error).is_none());
        let silent =
            || failures.iter().find(|(_, error)| blamed(error).is_some_and(|peer| !failures.contains_key(&peer)));
        let first = own.or_else(silent).map_or(sail, |(&first, _)| first);
        failures.remove(&first).unwrap_or(ReplayError::SailTimedOut { sail, timeout: self.limit })
    }

    /// The logits of the last step, put together; other steps' pieces are dropped.
    fn row(&mut self, position: usize) -> Result<Vec<f32>, ReplayError> {
        let mut pieces = std::mem::take(&mut self.pieces).remove(&(self.steps - 1)).unwrap_or_default();
        pieces.sort_by_key(|piece| piece.0);
        let mut row = Vec::with_capacity(self.width as usize);
        for (first, values) in pieces {
            if first == row.len() as u64 {
                row.extend(values);
            }
        }
        let found = row.len() as u64;
        if found == self.width && found > 0 {
            return Ok(row);
        }
        Err(ReplayError::LogitsCover { position, expected: self.width, found })
    }
}

/// The peer that an error names as its cause.
fn blamed(error: &ReplayError) -> Option<SailId> {
    match error {
        ReplayError::PeerDied { peer, .. } | ReplayError::PeerTimedOut { peer, .. } => Some(*peer),
        _ => None,
    }
}

impl Session {
    fn tell(&self, progress: Progress) {
        if let Some(listener) = &self.progress {
            listener(progress);
        }
    }
}
