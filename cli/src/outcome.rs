//! How a command ends: exit 0 done, 1 a difference, a violation or no plan, 2 an error.

use sailplan_executor::{ReplayError, SimulationError};
use sailplan_ir::{At, Diagnostic, Diagnostics};
use sailplan_planner::{NoPlan, PlaceError, Refusal};
use std::process::ExitCode;

/// A command that did its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Nothing to report.
    Clean,
    /// A difference or a violation, already printed.
    Found,
}

impl Ended {
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::SUCCESS,
            Self::Found => ExitCode::from(1),
        }
    }
}

/// A command that could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something is wrong with an input.
    #[error(transparent)]
    Input(#[from] Diagnostics),
    /// The demands cannot hold together.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// As `NoPlan`, with the reasons worked out.
    #[error("no plan")]
    Refused(Box<Refusal>),
    /// The replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// sailplan contradicts itself.
    #[error("{0}\nThis is a bug in sailplan; please report it with the command and its inputs.")]
    Bug(String),
}

impl From<Diagnostic> for Failure {
    fn from(problem: Diagnostic) -> Self {
        Self::Input(problem.into())
    }
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::NoPlan(_) | Self::Refused(_) => ExitCode::from(1),
            _ => ExitCode::from(2),
        }
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, doing: &str, error: &std::io::Error) -> Self {
        let diagnostic = Diagnostic::new(format!("cannot {doing}: {error}")).at(path.display().to_string(), At::Whole);
        Self::Input(diagnostic.into())
    }
}

/// A verified plan can be simulated.
impl From<SimulationError> for Failure {
    fn from(error: SimulationError) -> Self {
        Self::Bug(error.to_string())
    }
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::NoPlan(reasons) => Self::NoPlan(reasons),
            PlaceError::Pins(problems) => Self::Input(problems),
            other => Self::Bug(other.to_string()),
        }
    }
}
