//! The values of a group of cards as families: what every rank makes in the same step is one value of a sharded program, in the
//! layout that the ranks' parts have together.

use crate::verify::{Known, Source, Target, Trace};
use sailplan_ir::{Action, Layout};
use std::collections::BTreeSet;

/// An operand of a family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Read {
    pub(super) from: From,
    /// Segment and tensor.
    pub(super) of: (u32, u32),
    pub(super) layout: Layout,
}

/// Where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum From {
    /// The family with this number.
    Made(u32),
    /// The host, or another stage.
    Arrived,
    /// Every rank's memory.
    Held,
}

/// What all ranks make in one step.
pub(super) struct Family {
    pub(super) action: Action,
    pub(super) reads: Vec<Read>,
    pub(super) of: (u32, u32),
    pub(super) layout: Layout,
}

/// The families of one stage in one phase, and those that leave it.
pub(super) struct Families {
    pub(super) made: Vec<Family>,
    pub(super) leaves: BTreeSet<(Read, Target)>,
}

/// The traces of a group's cards, in order of rank, taken together.
///
/// # Errors
/// The ranks do not run the same program.
pub(super) fn families(ranks: &[&Trace]) -> Result<Families, String> {
    let first = ranks.first().ok_or("a stage of no cards")?;
    if let Some(rank) = ranks.iter().position(|rank| rank.events.len() != first.events.len()) {
        return Err(format!("rank {rank} makes {} values, rank 0 {}", ranks[rank].events.len(), first.events.len()));
    }
    let mut families = Families { made: Vec::new(), leaves: BTreeSet::new() };
    // A copy is what it copies.
    let mut stands_for: Vec<u32> = Vec::new();
    for (index, event) in first.events.iter().enumerate() {
        let alike = |other: &&Trace| {
            let other = &other.events[index];
            (other.action, other.of, other.reads.len()) == (event.action, event.of, event.reads.len())
        };
        if let Some(rank) = ranks.iter().position(|other| !alike(other)) {
            return Err(format!("rank {rank} makes another value than rank 0 in step {index}"));
        }
        let layout = together(ranks.iter().map(|rank| rank.events[index].layout))?;
        let read = |place: usize| read(ranks.iter().map(|rank| rank.events[index].reads[place]), &stands_for);
        let reads: Vec<Read> = (0..event.reads.len()).map(read).collect::<Result<_, String>>()?;
        let copied = match reads.as_slice() {
            [Read { from: From::Made(from), layout: was, .. }] if event.action == Action::Slice && *was == layout => {
                Some(*from)
            }
            _ => None,
        };
        stands_for.push(copied.unwrap_or(families.made.len() as u32));
        if copied.is_none() {
            families.made.push(Family { action: event.action, reads, of: event.of, layout });
        }
    }
    families.leaves = leaves(ranks, &stands_for, &families.made)?;
    Ok(families)
}

/// What leaves the group, once for each value and target; the ranks that give it are those that have some of it.
fn leaves(ranks: &[&Trace], stands_for: &[u32], made: &[Family]) -> Result<BTreeSet<(Read, Target)>, String> {
    let mut leaves = BTreeSet::new();
    for (known, target) in ranks.iter().flat_map(|rank| &rank.leaves) {
        let mut one = read(std::iter::once(*known), stands_for)?;
        if let From::Made(number) = one.from {
            one.layout = made[number as usize].layout;
        }
        leaves.insert((one, *target));
    }
    Ok(leaves)
}

/// One operand, as every rank knows it.
fn read(ranks: impl Iterator<Item = Known> + Clone, stands_for: &[u32]) -> Result<Read, String> {
    let first = ranks.clone().next().ok_or("a stage of no cards")?;
    if ranks.clone().any(|known| (known.source, known.of) != (first.source, first.of)) {
        return Err("the ranks read different values in one step".to_owned());
    }
    let from = match first.source {
        Source::Made(number) => From::Made(*stands_for.get(number as usize).ok_or("a value is read too early")?),
        Source::Arrived => From::Arrived,
        Source::Held => From::Held,
    };
    Ok(Read { from, of: first.of, layout: together(ranks.map(|known| known.layout))? })
}

/// How parts in these layouts stand for one tensor: a rank whose share is everything has it whole.
fn together(mut ranks: impl Iterator<Item = Layout>) -> Result<Layout, String> {
    let first = ranks.next().ok_or("a stage of no cards")?;
    ranks.try_fold(first, |known, layout| match (known, layout) {
        (known, layout) if known == layout => Ok(known),
        (Layout::Whole, other) | (other, Layout::Whole) => Ok(other),
        (known, layout) => Err(format!("one rank holds a value {known}, another {layout}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Event;

    const KNOWN: Known = Known { source: Source::Arrived, of: (0, 0), layout: Layout::Whole };

    fn trace(layouts: &[Layout], read: Known) -> Trace {
        let mut trace = Trace::default();
        for &layout in layouts {
            trace.events.push(Event { action: Action::Slice, reads: vec![read], of: (0, 0), layout });
        }
        trace
    }

    fn refused(one: &Trace, other: &Trace) -> String {
        families(&[one, other]).err().unwrap()
    }

    #[test]
    fn a_rank_with_everything_has_its_part_whole() {
        let (all, none) = (trace(&[Layout::Whole], KNOWN), trace(&[Layout::Sharded(1)], KNOWN));
        assert_eq!(families(&[&all, &none]).unwrap().made[0].layout, Layout::Sharded(1));
        assert!(families(&[&all, &all]).unwrap().made.len() == 1, "a copy of what arrived is a value of its own");
    }

    #[test]
    fn ranks_that_run_different_programs_are_refused() {
        let one = trace(&[Layout::Whole], KNOWN);
        assert_eq!(families(&[]).err().unwrap(), "a stage of no cards");
        assert_eq!(refused(&one, &trace(&[], KNOWN)), "rank 1 makes 0 values, rank 0 1");
        let mut other = trace(&[Layout::Whole], KNOWN);
        other.events[0].action = Action::AllReduce;
        assert_eq!(refused(&one, &other), "rank 1 makes another value than rank 0 in step 0");
        let held = trace(&[Layout::Whole], Known { source: Source::Held, ..KNOWN });
        assert_eq!(refused(&one, &held), "the ranks read different values in one step");
        let (cut, sum) = (trace(&[Layout::Sharded(1)], KNOWN), trace(&[Layout::Partial], KNOWN));
        assert_eq!(refused(&cut, &sum), "one rank holds a value sharded(1), another partial");
        let early = trace(&[Layout::Whole], Known { source: Source::Made(4), ..KNOWN });
        assert_eq!(refused(&early, &early), "a value is read too early");
    }
}
