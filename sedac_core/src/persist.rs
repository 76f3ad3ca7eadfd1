//! Saving and loading a controller as JSON.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Settings;
use crate::controller::Controller;
use crate::error::{Error, Result};
use crate::snapshot::RouteState;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    settings: Settings,
    states: Vec<RouteState>,
}

/// Writes settings, thresholds and targets; not the sample windows, outcomes or counters.
///
/// The file appears whole or not at all: it is written beside its place and then renamed.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn save(controller: &Controller, path: &Path) -> Result<()> {
    let snapshot = controller.snapshot();
    let settings = (*snapshot.settings).clone();
    let saved = Saved { version: VERSION, settings, states: snapshot.states.clone() };
    let text = serde_json::to_string_pretty(&saved).map_err(|error| format_error(path, error))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = fs::write(&part, text + "\n").and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        // Nothing may be there to remove; the write's own error is the one that matters.
        let _ = fs::remove_file(&part);
        Error::Io { path: path.to_owned(), source }
    })
}

/// Takes over the controller that was saved in `path`. Runs that have begun keep what they began
/// with; windows, outcomes and counters start afresh.
///
/// # Errors
/// [`Error::Io`], [`Error::FileVersion`], [`Error::FileFormat`]; then nothing has changed.
pub fn load(controller: &Controller, path: &Path) -> Result<()> {
    let text = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| format_error(path, error))?;
    let found = value.get("version");
    if found.and_then(Value::as_u64) != Some(u64::from(VERSION)) {
        let found = found.map_or_else(|| "none".into(), Value::to_string);
        return Err(Error::FileVersion { path: path.to_owned(), found, expected: VERSION });
    }
    let saved: Saved = serde_json::from_value(value).map_err(|error| format_error(path, error))?;
    check(&saved).map_err(|reason| format_error(path, reason))?;
    controller.replace(saved.settings, saved.states);
    Ok(())
}

fn check(saved: &Saved) -> std::result::Result<(), String> {
    let Saved { settings, states, .. } = saved;
    if settings.routes.is_empty() || states.len() != settings.routes.len() {
        return Err(format!("{} states for {} routes", states.len(), settings.routes.len()));
    }
    settings.check().and_then(|()| settings.check_reachable()).map_err(|error| error.to_string())?;
    let unweighted =
        |route: &crate::config::Route| route.layers.iter().any(|l| l.confidence_weight.is_none());
    if settings.routes.iter().any(unweighted) {
        return Err("a layer has no confidence_weight".into());
    }
    states.iter().try_for_each(|state| check_state(state, settings.checkpoints()))
}

fn check_state(state: &RouteState, checkpoints: usize) -> std::result::Result<(), String> {
    for (name, values) in
        [("thresholds", &state.thresholds), ("confidence_targets", &state.confidence_targets)]
    {
        if values.len() != checkpoints {
            return Err(format!("{} {name} for {checkpoints} checkpoints", values.len()));
        }
        let usable = |value: &f64| (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(value);
        if let Some(value) = values.iter().find(|value| !usable(value)) {
            return Err(format!("{name} holds {value}; they must be finite and above 0"));
        }
    }
    Ok(())
}

fn format_error(path: &Path, reason: impl ToString) -> Error {
    Error::FileFormat { path: path.to_owned(), reason: reason.to_string() }
}
