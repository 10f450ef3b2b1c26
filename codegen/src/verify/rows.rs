//! What an operator makes of a part of a step's rows. Every operand with the letter of the rows must have the same part, the
//! others must be whole, and the operator must be one of those that may be cut along that letter: each row for itself,
//! wherever it stands. Whatever reads positions is none of them.

use super::kernel::Part;
use super::value::Held;
use sailplan_ir::{Node, Operand, RowShare};

/// How the result is held, of operands of which one has this part of the rows at least. The product that a router reads may be
/// cut along them as well.
pub(crate) fn result(
    (node, routes): (&Node, bool),
    skip: u64,
    (share, parts): (RowShare, &[Part]),
) -> Result<Held, String> {
    let row = node.op.row();
    let first = |operand| row.letters(operand).chars().next();
    let cut = parts.iter().position(|part| matches!(part, Part::Rows(_)));
    let letter = cut.and_then(|index| first(Operand::Input(index)));
    if letter.is_none_or(|letter| !routes && !row.split.contains(letter))
        || first(Operand::Output) != letter
        || skip > 0
    {
        return Err(format!("{} needs all rows", row.name));
    }
    for (index, part) in parts.iter().enumerate() {
        match (part, first(Operand::Input(index)) == letter) {
            (Part::Rows(other), true) if *other == share => {}
            (Part::Rows(other), true) => return Err(format!("operands have different rows: {share} and {other}")),
            (Part::Whole, false) => {}
            (_, true) => return Err(format!("one operand has rows {share}, another has other parts")),
            (_, false) => return Err(format!("{} on rows {share} needs all of its other operands", row.name)),
        }
    }
    Ok(Held::Rows(share))
}

#[cfg(test)]
mod tests {
    use super::super::value::Span;
    use super::*;
    use sailplan_ir::{Constant, Op, Pairs, Scores, TensorId};

    fn share(start: u64, end: u64, of: u64) -> Part {
        Part::Rows(RowShare::new(start, end, of).unwrap())
    }

    fn made(op: Op, parts: &[Part]) -> Result<Held, String> {
        let node = Node { op, inputs: vec![TensorId(0); parts.len()], output: TensorId(1) };
        let first = parts.iter().find_map(|part| if let Part::Rows(share) = part { Some(*share) } else { None });
        result((&node, false), 0, (first.unwrap(), parts))
    }

    #[track_caller]
    fn refused(op: Op, parts: &[Part], reason: &str) {
        assert_eq!(made(op, parts).unwrap_err(), reason);
    }

    const NORM: Op = Op::RmsNorm { epsilon: Constant(1e-5) };

    #[test]
    fn norms_and_sums_keep_their_rows() {
        let quarter = RowShare::new(1, 2, 4).unwrap();
        assert_eq!(made(NORM, &[share(1, 2, 4), Part::Whole]), Ok(Held::Rows(quarter)));
        assert_eq!(made(Op::Add, &[share(1, 2, 4), share(2, 4, 8)]), Ok(Held::Rows(quarter)));
    }

    #[test]
    fn other_parts_do_not_fit() {
        refused(Op::Add, &[share(0, 1, 4), share(1, 2, 4)], "operands have different rows: 0..1 of 4 and 1..2 of 4");
        refused(Op::Add, &[share(0, 1, 3), Part::Whole], "one operand has rows 0..1 of 3, another has other parts");
        let columns = Part::Cut(1, Span { start: 0, end: 4 });
        refused(Op::Add, &[columns, share(0, 1, 3)], "one operand has rows 0..1 of 3, another has other parts");
        let gain = Part::Cut(0, Span { start: 0, end: 4 });
        refused(NORM, &[share(0, 1, 3), gain], "rms_norm on rows 0..1 of 3 needs all of its other operands");
    }

    /// What reads positions, and what no one has shown to be worth it.
    #[test]
    fn other_operators_need_all_rows() {
        let rope = Op::Rope { head_dim: 4, rotary_dim: 4, base: Constant(1e4), pairs: Pairs::Adjacent };
        let attention = Op::Attention { heads: 2, kv_heads: 2, head_dim: 4, scores: Scores::PLAIN };
        refused(rope, &[share(0, 1, 2)], "rope needs all rows");
        refused(attention, &[share(0, 1, 2), Part::Whole, Part::Whole], "attention needs all rows");
        refused(Op::KvAppend { head_dim: 4 }, &[Part::Whole, share(0, 1, 2)], "kv_append needs all rows");
        refused(Op::LastToken, &[share(0, 1, 2)], "last_token needs all rows");
        refused(Op::Linear, &[share(0, 1, 2), Part::Whole], "linear needs all rows");
        let router = Node { op: Op::Linear, inputs: vec![TensorId(0); 2], output: TensorId(1) };
        let half = RowShare::new(0, 1, 2).unwrap();
        let routed = |parts: &[Part]| result((&router, true), 0, (half, parts));
        assert_eq!(routed(&[share(0, 1, 2), Part::Whole]), Ok(Held::Rows(half)));
        assert_eq!(routed(&[Part::Whole, share(0, 1, 2)]).unwrap_err(), "linear needs all rows");
        let node = Node { op: Op::Add, inputs: vec![TensorId(0); 2], output: TensorId(1) };
        let part = share(0, 1, 2);
        assert_eq!(result((&node, false), 1, (half, &[part, part])).unwrap_err(), "add needs all rows");
    }
}
