//! What an operator makes of a part of a step's rows. Every operand with the letter of the rows must have the same part, the
//! others must be whole, and the operator must be one of those that may be cut along that letter: each row for itself,
//! wherever it stands. Whatever reads positions is none of them.

use super::kernel::Part;
use super::value::Held;
use sailplan_ir::{Node, Operand, RowShare};

/// How the result is held, of operands of which one has this part of the rows at least.
pub(crate) fn result(node: &Node, skip: u64, (share, parts): (RowShare, &[Part])) -> Result<Held, String> {
    let row = node.op.row();
    let first = |operand| row.letters(operand).chars().next();
    let cut = parts.iter().position(|part| matches!(part, Part::Rows(_)));
    let letter = cut.and_then(|index| first(Operand::Input(index)));
    if letter.is_none_or(|letter| !row.split.contains(letter)) || first(Operand::Output) != letter || skip > 0 {
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
