//! SEDAC: cross-layer early exit for transformers.
//!
//! Probes at a few checkpoint layers give each token a risk (lower is more certain). A
//! [`Controller`] turns risk into confidence, accumulates it over the checkpoints with a decay,
//! and says how much of the MLP work after that layer may be skipped.
//!
//! For checkpoint `i` with threshold `tau_i`, weight `w_i` and confidence target `c_i`:
//!
//! ```text
//! conf_i = clamp((tau_i - r_i) / tau_i, 0, 1)
//! C_i    = gamma * C_(i-1) + w_i * conf_i,   C_0 = 0
//! exit   at the first i with C_i >= c_i; it latches
//! ratio  = f(max of C since the exit),       f(C) = tanh(2C - 1) / 2 + 1/2
//! ```
//!
//! Everything outside the `python` module knows nothing of Python.
#![deny(missing_docs)]

pub mod calibration;
pub mod config;
pub mod controller;
pub mod decay;
pub mod environment;
pub mod error;
pub mod fit;
pub mod kernel;
pub mod math;
pub mod parallel;
pub mod persist;
pub mod routes;
pub mod run;
pub mod snapshot;
pub mod stats;

#[cfg(feature = "python")]
mod python;

pub use config::{LayerConfig, Mode, Options, Settings};
pub use controller::Controller;
pub use error::{Error, Result};
pub use kernel::ExitSlices;
pub use run::Run;
