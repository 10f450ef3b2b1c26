//! What an operator makes of caches of which a card has some positions. Every operand with the letter of the positions must have
//! the same of them, the others must be whole. An append keeps them; attention over them is a softmax that is yet to be merged
//! with those over the other positions.

use super::kernel::Part;
use super::value::Held;
use sailplan_ir::{Node, Operand, PositionShare};

/// How the result is held, of operands of which one has these positions at least.
pub(crate) fn result(node: &Node, skip: u64, (share, parts): (PositionShare, &[Part])) -> Result<Held, String> {
    let row = node.op.row();
    let first = |index: usize| row.letters(Operand::Input(index)).chars().next();
    let letter = parts.iter().position(|part| matches!(part, Part::Positions(_))).and_then(first);
    let merges = letter.is_some() && row.merge.map(|(letter, _)| letter) == letter;
    let keeps = node.op.appends() && letter.is_some_and(|letter| row.split.contains(letter));
    if !merges && !keeps || skip > 0 {
        return Err(format!("{} needs all positions", row.name));
    }
    for (index, part) in parts.iter().enumerate() {
        match (part, first(index) == letter) {
            (Part::Positions(other), true) if *other == share => {}
            (Part::Positions(other), true) => {
                return Err(format!("operands have different positions: {share} and {other}"));
            }
            (Part::Whole, false) => {}
            (_, true) => return Err(format!("one operand has positions {share}, another has other parts")),
            (_, false) => return Err(format!("{} on positions {share} needs all of its other operands", row.name)),
        }
    }
    Ok(if merges { Held::Unmerged(share) } else { Held::Positions(share) })
}

/// Whether these parts, one of each card of a group, are all positions once.
pub(crate) fn complete(mut shares: Vec<PositionShare>) -> bool {
    shares.sort_unstable();
    let all = shares.len() as u64;
    shares.iter().zip(0..).all(|(share, first)| PositionShare::new(first, all) == Some(*share))
}

#[cfg(test)]
mod tests {
    use super::super::value::Span;
    use super::*;
    use sailplan_ir::{Op, Scores, TensorId};

    const ATTENTION: Op = Op::Attention { heads: 2, kv_heads: 2, head_dim: 4, scores: Scores::PLAIN };
    const APPEND: Op = Op::KvAppend { head_dim: 4 };

    fn share(first: u64, of: u64) -> PositionShare {
        PositionShare::new(first, of).unwrap()
    }

    fn held(first: u64, of: u64) -> Part {
        Part::Positions(share(first, of))
    }

    fn made(op: Op, parts: &[Part]) -> Result<Held, String> {
        let node = Node { op, inputs: vec![TensorId(0); parts.len()], output: TensorId(1) };
        let first = parts.iter().find_map(|part| if let Part::Positions(share) = part { Some(*share) } else { None });
        result(&node, 0, (first.unwrap(), parts))
    }

    #[track_caller]
    fn refused(op: Op, parts: &[Part], reason: &str) {
        assert_eq!(made(op, parts).unwrap_err(), reason);
    }

    #[test]
    fn caches_keep_their_positions_and_attention_is_unmerged() {
        assert_eq!(made(APPEND, &[held(1, 3), Part::Whole]), Ok(Held::Positions(share(1, 3))));
        assert_eq!(made(ATTENTION, &[Part::Whole, held(1, 3), held(1, 3)]), Ok(Held::Unmerged(share(1, 3))));
    }

    #[test]
    fn other_parts_do_not_fit() {
        let cut = Part::Cut(1, Span { start: 0, end: 4 });
        let other = "operands have different positions: 0 of 2 and 1 of 2";
        refused(ATTENTION, &[Part::Whole, held(0, 2), held(1, 2)], other);
        let values = "one operand has positions 0 of 2, another has other parts";
        refused(ATTENTION, &[Part::Whole, held(0, 2), Part::Whole], values);
        refused(ATTENTION, &[Part::Whole, held(0, 2), cut], values);
        let queries = "attention on positions 0 of 2 needs all of its other operands";
        refused(ATTENTION, &[cut, held(0, 2), held(0, 2)], queries);
        let rows = "kv_append on positions 0 of 2 needs all of its other operands";
        refused(APPEND, &[held(0, 2), cut], rows);
        refused(APPEND, &[held(0, 2), held(0, 2)], rows);
        refused(Op::Linear, &[held(0, 2), Part::Whole], "linear needs all positions");
        refused(Op::Add, &[held(0, 2), held(0, 2)], "add needs all positions");
        let node = Node { op: ATTENTION, inputs: vec![TensorId(0); 3], output: TensorId(1) };
        let skipping = result(&node, 1, (share(0, 2), &[Part::Whole, held(0, 2), held(0, 2)]));
        assert_eq!(skipping.unwrap_err(), "attention needs all positions");
    }

    #[test]
    fn each_position_is_there_once() {
        assert!(complete(vec![share(1, 3), share(0, 3), share(2, 3)]));
        assert!(complete(vec![share(0, 1)]));
        for wrong in [vec![share(0, 2), share(0, 2)], vec![share(0, 3), share(1, 3)], vec![share(0, 2), share(1, 3)]] {
            assert!(!complete(wrong));
        }
    }
}
