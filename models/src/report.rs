//! How problems are worded: strings from a file made safe to print, and long lists cut.

use sailplan_ir::{Diagnostic, Diagnostics};

/// Most problems reported for one file.
const MOST: usize = 24;
const LONGEST: usize = 80;

/// The first problems, and how many more there are.
pub(crate) fn shortened(mut problems: Diagnostics) -> Diagnostics {
    let more = problems.0.len().saturating_sub(MOST);
    if more > 0 {
        problems.0.truncate(MOST);
        let place = problems.0.first().and_then(|first| first.place.clone());
        let file = place.map_or(String::new(), |place| place.file);
        let problem = Diagnostic::new(format!("{more} more problems of this file are not shown"));
        problems.push(problem.hint("mend the first ones and try again").at(file, sailplan_ir::At::Whole));
    }
    problems
}

/// A name from a file: what cannot be printed is escaped, what is long is cut.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().take(LONGEST) {
        match c {
            '"' | '\'' | '\\' => text.push(c),
            _ => text.extend(c.escape_debug()),
        }
    }
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}
