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

/// Which mixes of points, found by exchanges, are improved by programs of their own. Whether there is a plan does not depend
/// on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mixing {
    /// Those that the best chain depends on.
    #[default]
    Searched,
    /// Those of the chain that is found, to a thousandth.
    Found,
    /// None.
    Never,
}

impl Mixing {
    /// How far from the best an improved mix may be, as a part of its time.
    pub(crate) fn gap(self) -> f32 {
        if self == Self::Searched { 0.0 } else { 1e-3 }
    }
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
    let mut over = room.over(space, group, &at);
    let mut exact = true;
    while over.iter().any(|&over| over > 0) {
        exact = false;
        let (class, point) = room.cheapest(&at)?;
        let to = room.rest((class, point));
        // Where both points are in use already, those follow at once that cannot be enough.
        let most = if at[class][to] > 0 { at[class][point] - 1 } else { 0 };
        match room.in_vain(&over, class, (point, to), most) {
            0 => move_segments(&mut at[class], (point, point + 1), 1),
            many => move_segments(&mut at[class], (point, to), many),
        }
        over = room.over(space, group, &at);
    }
    Some(Mix { counts: at, exact })
}

fn move_segments(counts: &mut [u64], (from, to): (usize, usize), many: u64) {
    counts[from] -= many;
    counts[to] += many;
}
