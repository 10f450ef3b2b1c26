//! Schedules as prices see them: the steps of a ring stand once with how often they are taken, and a step in which every rank
//! sends as much to every other is no list of messages. A ring over n ranks is one step of n messages instead of n·(n − 1).

use crate::collective::{Algorithm, CollectiveKind, Pattern, Step};
use crate::schedule::ring_step;

/// Equal steps of a schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// How many there are.
    pub steps: u64,
    /// What each of them sends.
    pub traffic: Traffic,
}

/// What a step sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// So many chunks from every rank to every other.
    Exchange(usize),
    /// These messages; which chunks they carry differs from step to step, how many does not.
    Messages(Step),
}

impl Round {
    fn once(step: Step) -> Self {
        Self { steps: 1, traffic: Traffic::Messages(step) }
    }
}

impl Pattern {
    /// What [`Self::schedule`] sends, in order.
    #[must_use]
    pub fn rounds(self, algorithm: Algorithm, ranks: usize) -> Option<Vec<Round>> {
        use CollectiveKind::{AllGather, AllReduce, Combine, Dispatch, ReduceScatter};
        let around = |steps: usize| {
            let traffic = Traffic::Messages(ring_step(ranks));
            vec![Round { steps: steps as u64, traffic }]
        };
        let exchange = |steps: u64, chunks: usize| vec![Round { steps, traffic: Traffic::Exchange(chunks) }];
        Some(match (self, algorithm) {
            _ if ranks < 2 => Vec::new(),
            (Self::Collective(AllReduce), Algorithm::Ring) => around(2 * (ranks - 1)),
            (Self::Collective(ReduceScatter | AllGather), Algorithm::Ring) => around(ranks - 1),
            (Self::Collective(AllReduce), Algorithm::Direct) => exchange(2, 1),
            (Self::Collective(AllReduce), Algorithm::OneShot) => exchange(1, ranks),
            (Self::Collective(ReduceScatter | AllGather | Dispatch | Combine) | Self::AllToAll, Algorithm::Direct) => {
                exchange(1, 1)
            }
            _ => self.schedule(algorithm, ranks)?.into_iter().map(Round::once).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sender, receiver and chunks of every message, step by step.
    type Sent = Vec<Vec<(usize, usize, usize)>>;

    fn expanded(rounds: &[Round], ranks: usize) -> Sent {
        let step = |traffic: &Traffic| -> Vec<(usize, usize, usize)> {
            match traffic {
                Traffic::Messages(step) => {
                    step.iter().map(|message| (message.from, message.to, message.chunks.count())).collect()
                }
                Traffic::Exchange(chunks) => {
                    let pairs = (0..ranks).flat_map(|from| (0..ranks).map(move |to| (from, to)));
                    pairs.filter(|(from, to)| from != to).map(|(from, to)| (from, to, *chunks)).collect()
                }
            }
        };
        rounds.iter().flat_map(|round| (0..round.steps).map(|_| step(&round.traffic))).collect()
    }

    #[test]
    fn rounds_send_what_schedules_send() {
        for pattern in Pattern::ALL.into_iter().chain(CollectiveKind::ROUTED.map(Pattern::from)) {
            for (&algorithm, ranks) in pattern.algorithms().iter().flat_map(|a| (1..=17).map(move |n| (a, n))) {
                let rounds = pattern.rounds(algorithm, ranks).expect("it is one of its algorithms");
                let schedule = pattern.schedule(algorithm, ranks).expect("it is one of its algorithms");
                let listed = schedule.iter().map(|step| {
                    step.iter().map(|message| (message.from, message.to, message.chunks.count())).collect()
                });
                assert_eq!(expanded(&rounds, ranks), listed.collect::<Sent>(), "{pattern} {algorithm} over {ranks}");
            }
        }
        assert_eq!(Pattern::PointToPoint.rounds(Algorithm::Tree, 4), None);
    }
}
