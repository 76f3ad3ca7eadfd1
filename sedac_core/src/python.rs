//! The Python module `sedac_core._core`: conversions and documentation, no logic.

mod arrays;
mod controller;
mod decisions;
mod functions;
mod layer_config;
mod run;

use pyo3::exceptions::{PyIndexError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;

/// Below this many risks, some ten microseconds of work, the interpreter's lock is kept: a busy
/// Python thread that takes it may keep it for 5 ms, 500 times the work.
const DETACH_FROM: usize = 32_768;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Checkpoint { .. } | Error::RouteIndex { .. } => PyIndexError::new_err(error.to_string()),
            // With an error number, OSError becomes FileNotFoundError and its siblings.
            Error::Io { path, source } => match source.raw_os_error() {
                Some(number) => PyOSError::new_err((number, source.to_string(), path.display().to_string())),
                None => PyOSError::new_err(format!("{}: {source}", path.display())),
            },
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

/// Runs batch work of `size` risks, without the interpreter's lock where that pays.
fn detached<T: Send>(py: Python<'_>, size: usize, work: impl FnOnce() -> T + Send) -> T {
    if size >= DETACH_FROM { py.detach(work) } else { work() }
}

/// Cross-layer early exit: the compiled implementation.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::controller::CascadeController;
    #[pymodule_export]
    use super::decisions::{ExitArrays, ExitDecision};
    #[pymodule_export]
    use super::functions::{
        WeightFit, entropy, fit_weights, quantile, soft_exit_ratio, softmax, solve_confidence_targets,
    };
    #[pymodule_export]
    use super::layer_config::LayerConfig;
    #[pymodule_export]
    use super::run::CascadeRun;
}
