//! Progress on stderr for work that takes more than a second: one line that is overwritten on a terminal, a line every
//! few seconds elsewhere.
#![expect(clippy::disallowed_types, reason = "says how long the work has taken so far")]

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nothing is shown before this.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two lines where lines cannot be overwritten.
const APART: Duration = Duration::from_secs(5);

/// A running piece of work.
pub(crate) struct Progress {
    started: Instant,
    shown: Cell<Option<Instant>>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), shown: Cell::new(None), terminal: std::io::stderr().is_terminal() }
    }

    /// Shows where the work is, when it is time to.
    pub(crate) fn at(&self, what: &str) {
        let now = Instant::now();
        let apart = if self.terminal { Duration::from_millis(100) } else { APART };
        let due = self.shown.get().is_none_or(|last| now - last >= apart);
        if now - self.started < QUIET || !due {
            return;
        }
        self.shown.set(Some(now));
        let seconds = (now - self.started).as_secs();
        let mut stderr = std::io::stderr();
        let _ = match self.terminal {
            true => write!(stderr, "\r\x1b[K{what} ({seconds} s)"),
            false => writeln!(stderr, "{what} ({seconds} s)"),
        };
        let _ = stderr.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown.get().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
