//! One stage: the points for given numbers of segments of each class on one group, cheapest that fits.

use crate::space::{Interval, Space};

/// For each class, how many of its segments use each point.
pub(crate) type Counts = Vec<Vec<u64>>;

/// How many segments of each class use which point.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) counts: Counts,
    /// Whether no other mix can be cheaper.
    pub(crate) exact: bool,
}

/// The cheapest mix found: all fastest when that fits (exact); else layers move to smaller points, the best exchange of
/// time for bytes first, until it fits. `None` when not even the smallest points fit.
pub(crate) fn mix(space: &Space<'_>, group: &Interval, wanted: &[u64]) -> Option<Mix> {
    let front = space.front(group);
    if wanted.iter().zip(front).any(|(&count, points)| count > 0 && points.is_empty()) {
        return None;
    }
    let mut at: Counts = front.iter().map(|points| vec![0; points.len()]).collect();
    for (counts, &count) in at.iter_mut().zip(wanted) {
        if let Some(first) = counts.first_mut() {
            *first = count;
        }
    }
    if space.relaxed {
        return Some(Mix { counts: at, exact: true });
    }
    let room = space.room_on(group);
    let mut once = room.once(space, group, &at);
    let mut exact = true;
    while !room.holds(&at, &once) {
        exact = false;
        let (class, point) = best_exchange(space, group, &at)?;
        at[class][point] -= 1;
        at[class][point + 1] += 1;
        if at[class][point] == 0 || at[class][point + 1] == 1 {
            once = room.once(space, group, &at);
        }
    }
    Some(Mix { counts: at, exact })
}

/// The move of one segment to the next smaller point that costs least per byte; ties to the first class.
fn best_exchange(space: &Space<'_>, group: &Interval, at: &Counts) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (class, (points, counts)) in space.front(group).iter().zip(at).enumerate() {
        for point in 0..points.len().saturating_sub(1) {
            if counts[point] == 0 {
                continue;
            }
            let saved = points[point].resident(0).total() - points[point + 1].resident(0).total();
            let slower = points[point + 1].objective - points[point].objective;
            let price = slower.0 as f64 / (saved.0.max(1)) as f64;
            if best.is_none_or(|known| price < known.0) {
                best = Some((price, class, point));
            }
        }
    }
    best.map(|(_, class, point)| (class, point))
}
